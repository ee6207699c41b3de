r"""Draw pictures from words: `UnCLIP`, a text tower, a prior and a decoder.

    model = sf.images.UnCLIP.load("runs/unclip")
    x = model.pictures(["a seven with a hat"], scale=2, seed=0)

    text -> v (contrastive model) -> u (prior) -> picture (decoder: the reverse SDE, told u)

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
"""Of a saved model."""


@dataclass(frozen=True, eq=False, repr=False)
class Decoder:
    """Pictures, sampled given their embeddings.

    Args:
        field: of pictures, from -1 to 1, told embeddings times sqrt(dim).

    Raises:
        TypeError, ValueError: field is no such field.
    """

    field: LearnedField

    def __post_init__(self) -> None:
        """Refuse a field that is told nothing."""
        check_teller(self.field, "field")

    def __repr__(self) -> str:
        """In words."""
        return f"decoder of {self.dim} dimensions: {self.field}"

    @property
    def dim(self) -> int:
        """Of the embeddings."""
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
        """Pictures x (n, d), from -1 to 1, for unit vectors (n, dim).

        Args:
            scale: of guidance; 1 is none.
            seed: of the noise; row i draws its own.
            against: unit vectors (1 or n, dim) that guidance leads away from; by default from a
                field that is told nothing.
            steps: of ancestral sampling.

        Raises:
            TypeError, ValueError: embeddings are of another dimension; a number out of range.
        """
        root = math.sqrt(self.dim)
        u = root * unit(embeddings, "embeddings", self.dim)
        other = None
        if against is not None:
            other = root * unit(against, "against", self.dim)
            if len(other) not in (1, len(u)):
                raise ValueError(f"against must be one row, or {len(u)}, got {len(other)}")
        return guided_sample(self.field, u, other, scale, seed, steps).clamp(-1.0, 1.0)


@dataclass(frozen=True, eq=False, repr=False)
class UnCLIP:
    """Pictures from words.

    Args:
        clip: embeds texts, and pictures.
        prior: makes the embedding of a picture from that of a text; None: that of the text itself
            is decoded, to see what a prior is for.
        decoder: makes the picture.
        linear: the least-squares prior, kept for comparison: `dataclasses.replace(model,
            prior=model.linear)` draws with it.

    Raises:
        TypeError, ValueError: a part is of another kind or dimension.
    """

    clip: ContrastiveModel
    prior: Prior | LinearPrior | None
    decoder: Decoder
    linear: LinearPrior | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not fit."""
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
                    f"{name} is of {part.dim} dimensions, the contrastive model of "
                    f"{self.clip.dim}; they must be trained together"
                )

    def __repr__(self) -> str:
        """In words."""
        return f"unCLIP: pictures of {self.shape} from words, {self.prior or 'no prior'}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture: (channels, height, width)."""
        return tuple(self.decoder.field.shape or (self.decoder.field.dim or 0,))

    def embeddings(self, prompts: Sequence[str], scale: float = 2.0, seed: int = 0) -> Tensor:
        """What the decoder is told: unit vectors (n, dim), by the prior.

        Raises:
            TypeError, ValueError: see `pictures`.
        """
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
        """One picture for each prompt, x (n, d), from -1 to 1.

            x = model.pictures(8 * ["a seven with a hat"], scale=2, seed=0)      # eight of them

        Args:
            prompts: texts of known words; the same text several times gives several pictures.
            scale: of the decoder's guidance; 1 is none.
            seed: of all noise.
            prior_scale: of the prior's guidance.
            against: a text that guidance leads away from (a negative prompt); by default away
                from a picture of which nothing is known. It needs a scale other than 1.

        Raises:
            TypeError, ValueError: prompts are no list of texts; a word is not known, and the
                message names those near it; a scale is no number.
        """
        u = self.embeddings(prompts, prior_scale, seed)
        other = None
        if against is not None:
            other = self.embeddings([against], prior_scale, seed)
        return self.decoder.pictures(u, scale, seed, against=other)

    def save(self, folder: str | Path) -> None:
        """Write the parts to a folder, each a safetensors file; nothing in them can be executed.

        Raises:
            ValueError: the model has no diffusion prior, or no linear one beside it.
            OSError: the folder cannot be written.
        """
        folder = check_file(folder, "folder")
        if not isinstance(self.prior, Prior) or self.linear is None:
            raise ValueError("a saved model has a Prior and a LinearPrior beside it; give both")
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
    """A field as `training.save` writes it, but for the rows of its table."""
    network = field.network
    assert isinstance(network, FilmNetwork)
    assert network.table is not None
    bare = replace(field, network=network.holding(network.table[:1]), label=None)
    return encoded(bare.network.state_dict(), {"kind": "field", "field": describe(bare)})
