r"""Embed pictures and captions as nearby unit vectors by a small CLIP model, and train it.

    s = scale u v^T,    loss = (CE(rows of s) + CE(columns of s)) / 2

u (n, dim) and v (n, dim) are the unit vectors of n pictures and of their captions, and CE is the
cross-entropy with row i belonging to column i. The loss tends to log n for scale -> 0; an
untrained model with the initial scale 1 / 0.07 has a larger loss. It does not fall to zero,
because a caption that fits several pictures of a batch counts as wrong for all but one.

Source: Radford et al. 2021 (CLIP), figure 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdeflow._validation import (
    check_cloud,
    check_file,
    check_function,
    check_int,
    check_kind,
    check_positive,
    check_seed,
)
from sdeflow.fields.networks import described
from sdeflow.images.learning import Pictures, batch_of, minimise, stored
from sdeflow.images.pictures import SIDE
from sdeflow.images.towers import ImageTower, TextTower
from sdeflow.images.vocabulary import VOCABULARY, Vocabulary, check_texts
from sdeflow.provenance import write_bytes
from sdeflow.training.tensor_file import encoded

FIRST_SCALE, LARGEST_SCALE = 1 / 0.07, 100.0
ROWS = 500
"""Number of pictures, or of texts, that are embedded at once."""


def contrastive_loss(u: Tensor, v: Tensor, scale: Tensor | float) -> Tensor:
    """The symmetric cross-entropy () of n pairs of unit vectors u, v (n, dim).

        s = scale u v^T,    loss = (CE(rows of s) + CE(columns of s)) / 2

    Source: Radford et al. 2021, figure 3.
    """
    check_cloud(u, "u")
    check_cloud(v, "v", u.shape[1])
    if len(u) != len(v):
        raise ValueError(f"u and v must be pairs, got {len(u)} and {len(v)} rows")
    if not isinstance(scale, Tensor):
        check_positive(scale, "scale", zero=True)
    return _loss(u, v, scale)


def _loss(u: Tensor, v: Tensor, scale: Tensor | float) -> Tensor:
    s, own = scale * u @ v.T, torch.arange(len(u), device=u.device)
    return (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2


class ContrastiveModel(nn.Module):
    """Two networks that map a picture and its caption to nearby unit vectors.

    Pictures of any device are moved to that of the model, where its vectors lie.

    Args:
        vocabulary: the words of the captions.
        dim: dimension of the vectors.
        channels: channels of the first layer of the image network.
        width, depth, heads: sizes of the text network.
        side: side of the pictures in pixels, a multiple of 4.
        seed: seed of the initial weights.
    """

    def __init__(
        self,
        vocabulary: Vocabulary = VOCABULARY,
        *,
        dim: int = 64,
        channels: int = 32,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        side: int = SIDE,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.vocabulary = check_kind(vocabulary, Vocabulary, "vocabulary")
        sizes = {
            "dim": dim, "channels": channels, "width": width, "depth": depth, "heads": heads,
            "side": side,
        }  # fmt: skip
        self.config = {name: check_int(size, name) for name, size in sizes.items()}
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        if side % 4:
            raise ValueError(f"side must be a multiple of 4, got {side}")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(check_seed(seed))
            self.image = ImageTower(side, channels, dim)
            self.text = TextTower(vocabulary.size, vocabulary.length, width, depth, heads, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def __repr__(self) -> str:
        """In words; `str` lists the layers."""
        return described(self)

    __str__ = nn.Module.__repr__

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        return self.config["dim"]

    @property
    def scale(self) -> Tensor:
        """The inverse temperature (), at most 100."""
        return self.log_scale.clamp(max=math.log(LARGEST_SCALE)).exp()

    @torch.no_grad()
    def embed_pictures(self, x: Tensor) -> Tensor:
        """Unit vectors (n, dim) of pictures x (n, side^2), grey from -1 to 1."""
        x = check_cloud(x, "x", self.config["side"] ** 2)
        return torch.cat([self._of_pictures(part) for part in x.split(ROWS)])

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (n, dim) of texts.

        Raises:
            TypeError: texts are no list of texts.
            ValueError: a word is not in the vocabulary; the message names similar words.
        """
        texts = check_texts(texts)
        parts = [texts[i : i + ROWS] for i in range(0, len(texts), ROWS)]
        return torch.cat([self._of_texts(part) for part in parts])

    def loss(self, x: Tensor, captions: Sequence[str]) -> Tensor:
        """The loss () of pictures x (n, side^2) and their captions, for training."""
        x = check_cloud(x, "x", self.config["side"] ** 2)
        texts = check_texts(captions, "captions")
        if len(texts) != len(x):
            raise ValueError(
                f"captions must be one for each of the {len(x)} pictures, got {len(texts)}"
            )
        return _loss(self._of_pictures(x), self._of_texts(texts), self.scale)

    def _of_pictures(self, x: Tensor) -> Tensor:
        return F.normalize(self.image(x.to(self.log_scale)), dim=1)

    def _of_texts(self, texts: Sequence[str]) -> Tensor:
        tokens = self.vocabulary.tokens(texts).to(self.log_scale.device)
        return F.normalize(self.text(tokens), dim=1)

    def save(self, path: str | Path) -> None:
        """Write weights, sizes and words to one safetensors file."""
        write_bytes(check_file(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """The content of the file that `save` writes."""
        about = {
            "kind": "contrastive model",
            "config": self.config,
            "words": list(self.vocabulary.words),
            "length": self.vocabulary.length,
        }
        return encoded(self.state_dict(), about)

    @staticmethod
    def load(path: str | Path) -> ContrastiveModel:
        """Read a model that `save` wrote; it is in eval mode.

        Raises:
            SdeflowError: the file is missing, truncated, altered, or no contrastive model.
        """

        def make(about: dict) -> ContrastiveModel:
            words = Vocabulary(tuple(about["words"]), about["length"])
            return ContrastiveModel(words, **about["config"])

        return stored(path, "contrastive model", make)


def train_contrastive(
    model: ContrastiveModel,
    sample: Pictures,
    steps: int = 1500,
    seed: int = 0,
    *,
    batch: int = 128,
    rate: float = 1e-3,
    progress: bool = False,
) -> Tensor:
    """Train a model in place by AdamW; return the loss of each step (steps,).

        losses = sf.images.train_contrastive(model, sf.images.CaptionedPictures().sample)

    With the defaults it takes two to five minutes of one core. The result depends on the seed, and
    in its last bits on the number of threads.

    Args:
        model: the model.
        sample: (n, seed) -> n pictures with captions, called with a new seed at each step.
        steps: number of training steps.
        seed: seed of all random numbers.
        batch: pairs in each step.
        rate: largest learning rate, which decays as a cosine.
        progress: whether to show a progress bar.

    Raises:
        SdeflowError: the loss became NaN.
    """
    check_kind(model, ContrastiveModel, "model")
    check_function(sample, "sample", "(n, seed) -> pictures with captions")
    size = check_int(batch, "batch", 2)

    def loss(batch_seed: int) -> Tensor:
        drawn = batch_of(sample, size, batch_seed)
        return model.loss(drawn.x, drawn.captions)

    steps, seed = check_int(steps, "steps"), check_seed(seed)
    return minimise(model, loss, steps, seed, check_positive(rate, "rate"), progress=progress)
