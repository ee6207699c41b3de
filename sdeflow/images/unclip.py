r"""Draw pictures from text by `UnCLIP`: a text network, a prior and a decoder.

    model = sf.images.UnCLIP.load("runs/unclip")
    x = model.pictures(["a seven with a hat"], scale=2, seed=0)

    text -> v (contrastive model) -> u (prior) -> picture (decoder: reverse SDE conditioned on u)

Source: Ramesh et al. 2022 (unCLIP), section 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from sdeflow._validation import SdeflowError, check_file, check_kind, shown
from sdeflow.fields.film import FilmNetwork
from sdeflow.fields.learned import LearnedField
from sdeflow.images.clip import ContrastiveModel
from sdeflow.images.prior import STEPS, LinearPrior, Prior, check_teller, guided_sample, unit
from sdeflow.provenance import write_files
from sdeflow.training.checkpoint import describe, load
from sdeflow.training.tensor_file import encoded, read

FILES = ("clip.safetensors", "prior.safetensors", "linear.safetensors", "decoder.safetensors")
"""The files of a saved model."""


@dataclass(frozen=True, eq=False, repr=False)
class Decoder:
    """A sampler of pictures, given their embeddings.

    Args:
        field: a learned field of pictures, from -1 to 1, conditioned on embeddings times
            sqrt(dim).
    """

    field: LearnedField

    def __post_init__(self) -> None:
        check_teller(self.field, "field")

    def __repr__(self) -> str:
        return f"decoder of {self.dim} dimensions: {self.field}"

    @property
    def dim(self) -> int:
        """The dimension of the embeddings."""
        return check_teller(self.field, "field")

    def pictures(
        self,
        embeddings: Tensor,
        scale: float = 2.0,
        seed: int = 0,
        *,
        against: Tensor | None = None,
        steps: int = STEPS,
    ) -> Tensor:
        """Draw pictures x (n, d), from -1 to 1, for embeddings, unit vectors (n, dim).

        Args:
            embeddings: the embeddings of the pictures.
            scale: guidance scale; 1 is no guidance.
            seed: seed of the noise, which is different in each row.
            against: unit vectors (1 or n, dim) that guidance leads away from; by default it leads
                away from the unconditioned field.
            steps: steps of ancestral sampling.
        """
        root = math.sqrt(self.dim)
        u = root * unit(embeddings, "embeddings", self.dim)
        other = None
        if against is not None:
            other = root * unit(against, "against", self.dim)
            if len(other) not in (1, len(u)):
                raise ValueError(f"against must have one row, or {len(u)}, got {len(other)}")
        return guided_sample(self.field, u, other, scale, seed, steps).clamp(-1.0, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class UnCLIP:
    """A model that draws pictures from text.

    Args:
        clip: the model that embeds texts and pictures.
        prior: the map from the embedding of a text to that of a picture; None to decode the
            embedding of the text itself.
        decoder: the sampler of pictures given their embeddings.
        linear: the least-squares prior for comparison: `dataclasses.replace(model,
            prior=model.linear)` draws with it.
    """

    clip: ContrastiveModel
    prior: Prior | LinearPrior | None
    decoder: Decoder
    linear: LinearPrior | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        check_kind(self.clip, ContrastiveModel, "clip")
        check_kind(self.decoder, Decoder, "decoder")
        for name, kinds in (("prior", (Prior, LinearPrior)), ("linear", (LinearPrior,))):
            part = getattr(self, name)
            if part is not None and not isinstance(part, kinds):
                wanted = " or ".join(f"a {kind.__name__}" for kind in kinds)
                raise TypeError(f"{name} must be {wanted}, or None, got {shown(part)}")
        parts = {"prior": self.prior, "decoder": self.decoder, "linear": self.linear}
        for name, part in parts.items():
            if part is not None and part.dim != self.clip.dim:
                raise ValueError(
                    f"{name} has {part.dim} dimensions, but the contrastive model has "
                    f"{self.clip.dim}; train them together"
                )

    def __repr__(self) -> str:
        return f"unCLIP: pictures of {self.shape} from words, {self.prior or 'no prior'}"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a picture: (channels, height, width)."""
        return tuple(self.decoder.field.shape or (self.decoder.field.dim or 0,))

    def embeddings(self, prompts: Sequence[str], scale: float = 2.0, seed: int = 0) -> Tensor:
        """The embeddings of pictures, unit vectors (n, dim), that the prior draws for prompts."""
        v = self.clip.embed_text(prompts)
        return v if self.prior is None else self.prior.embeddings(v, scale, seed)

    def pictures(
        self,
        prompts: Sequence[str],
        scale: float = 2.0,
        seed: int = 0,
        *,
        prior_scale: float = 2.0,
        against: str | None = None,
    ) -> Tensor:
        """Draw one picture for each prompt, x (n, d), from -1 to 1.

            x = model.pictures(8 * ["a seven with a hat"], scale=2, seed=0)      # eight of them

        Args:
            prompts: texts of words of the vocabulary; repeat a text for several pictures.
            scale: guidance scale of the decoder; 1 is no guidance.
            seed: seed of all noise.
            prior_scale: guidance scale of the prior.
            against: a text that guidance leads away from (a negative prompt), for a scale other
                than 1; by default it leads away from the unconditioned field.

        Raises:
            TypeError, ValueError: prompts are no list of texts; a word is not in the vocabulary;
                a scale is no number.
        """
        u = self.embeddings(prompts, prior_scale, seed)
        other = None
        if against is not None:
            other = self.embeddings([against], prior_scale, seed)
        return self.decoder.pictures(u, scale, seed, against=other)

    def save(self, folder: str | Path) -> None:
        """Write the parts to a folder, each a safetensors file; nothing in them can be executed.

        Raises:
            ValueError: the model has not both a diffusion prior and a linear one.
            OSError: the folder cannot be written.
        """
        folder = check_file(folder, "folder")
        if not isinstance(self.prior, Prior) or self.linear is None:
            raise ValueError("a saved model needs a Prior as prior and a LinearPrior as linear")
        map_ = {"weight": self.linear.weight, "bias": self.linear.bias}
        parts = (
            self.clip.to_bytes(),
            field_bytes(self.prior.field),
            encoded(map_, {"kind": "linear prior"}),
            field_bytes(self.decoder.field),
        )
        write_files({folder / name: part for name, part in zip(FILES, parts, strict=True)})

    @staticmethod
    def load(folder: str | Path) -> UnCLIP:
        """Read a model that `save` wrote.

        Raises:
            SdeflowError: a file is missing, truncated, altered, or of another kind.
        """
        folder = check_file(folder, "folder")
        clip, prior, linear, decoder = (folder / name for name in FILES)
        tensors, about = read(linear)
        if about.get("kind") != "linear prior":
            raise SdeflowError(f"{linear} holds a {about.get('kind')}, not a linear prior")
        try:
            return UnCLIP(
                ContrastiveModel.load(clip),
                Prior(load(prior)),
                Decoder(load(decoder)),
                LinearPrior(tensors["weight"], tensors["bias"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SdeflowError(f"the parts in {folder} do not fit each other: {error}") from None


def field_bytes(field: LearnedField) -> bytes:
    """The content of a field's file, as of `training.save`, without the rows of its table."""
    network = field.network
    assert isinstance(network, FilmNetwork)
    assert network.table is not None
    bare = replace(field, network=network.holding(network.table[:1]), label=None)
    return encoded(bare.network.state_dict(), {"kind": "field", "field": describe(bare)})
