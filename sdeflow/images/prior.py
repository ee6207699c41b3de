r"""Make the embedding of a picture from that of a text: by diffusion, or by least squares.

    Prior:        u ~ p(u | v), sampled by the reverse SDE of a field in the space of embeddings
    LinearPrior:  u = W v + b, the mean of p(u | v) among linear maps

u and v are unit vectors (n, dim). A picture and its caption lie apart, by what captions leave out
and by the gap between the two towers, so that v itself is no embedding of a picture. The linear
map is as accurate where one word means one thing; it has no spread, while the prior draws a new
picture for each seed. Both are scaled by sqrt(dim), so that coordinates are of size one.

Source: Ramesh et al. 2022 (unCLIP), section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sdeflow._validation import check_cloud, check_finite, check_int, check_kind, check_seed
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.processes.schedules import EDM
from sdeflow.processes.time_grids import karras_times
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

PROCESS = EDM(t_min=0.01, t_max=20.0)
"""Of priors and decoders."""
STEPS = 25
"""Of ancestral sampling, at Karras' times."""


def unit(vectors: Tensor, name: str, dim: int) -> Tensor:
    """Return vectors (n, dim) at length one; ValueError if one is zero."""
    vectors = check_cloud(vectors, name, dim)
    if not vectors.any(1).all():
        raise ValueError(
            f"{name} must have a direction, but row {int((~vectors.any(1)).nonzero()[0])} is zero"
        )
    return F.normalize(vectors, dim=1)


def guided_sample(
    field: LearnedField,
    told: Tensor,
    against: Tensor | None,
    scale: float,
    seed: int,
    steps: int,
) -> Tensor:
    """Particles (n, d) of a field that is told vectors (n, k), at data.

    It is guided away from the same field told `against` (1 or n, k), or told nothing.
    """
    other = field.given(None) if against is None else field.told(against)
    wanted = GuidedField(field.told(told), other, check_finite(scale, "scale"))
    times = karras_times(field.process, check_int(steps, "steps"))
    dim = field.dim
    assert dim is not None
    start = field.process.prior(len(told), dim, check_seed(seed))
    solver = SDESolver("euler", times=times, seed=seed)
    return solver.solve(ancestral(wanted), start, save=1).x[-1]


def check_teller(field: LearnedField, name: str) -> int:
    """The width of the vectors that a field is told; refuse one that is told none."""
    check_kind(field, LearnedField, name)
    table = getattr(field.network, "table", None)
    if not isinstance(table, Tensor) or field.dim is None:
        raise ValueError(f"{name} must have a network with a table, as UNet(table=...) makes one")
    return table.shape[-1]


@dataclass(frozen=True, eq=False, repr=False)
class Prior:
    """Embeddings of pictures, sampled given those of texts.

    Args:
        field: in the space of embeddings times sqrt(dim), told vectors of the same dimension.

    Raises:
        TypeError, ValueError: field is no such field.
    """

    field: LearnedField

    def __post_init__(self) -> None:
        """Refuse a field of something else."""
        width = check_teller(self.field, "field")
        if width != self.field.dim:
            raise ValueError(
                f"a prior's field is told what it gives, got width {width} and {self.field.dim}"
            )

    def __repr__(self) -> str:
        """In words."""
        return f"prior in {self.dim} dimensions: {self.field}"

    @property
    def dim(self) -> int:
        """Of the embeddings."""
        assert self.field.dim is not None
        return self.field.dim

    def embeddings(
        self, text: Tensor, scale: float = 2.0, seed: int = 0, *, steps: int = STEPS
    ) -> Tensor:
        """Embeddings of pictures, unit vectors (n, dim), for embeddings of texts (n, dim).

        Args:
            scale: of guidance; 1 is none.
            seed: of the noise; row i draws its own.
            steps: of ancestral sampling.

        Raises:
            TypeError, ValueError: text is no cloud of this dimension; a number out of range.
        """
        root = math.sqrt(self.dim)
        v = root * unit(text, "text", self.dim)
        return F.normalize(guided_sample(self.field, v, None, scale, seed, steps), dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class LinearPrior:
    """The embedding of a picture as a linear function of that of its text.

    Args:
        weight: (dim, dim) W.
        bias: (dim,) b.

    Raises:
        TypeError, ValueError: they do not fit each other.
    """

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no affine map."""
        if len(check_cloud(self.weight, "weight")) != self.weight.shape[1]:
            raise ValueError(f"weight must be square, got {tuple(self.weight.shape)}")
        if not isinstance(self.bias, Tensor) or self.bias.shape != (self.dim,):
            raise ValueError(f"bias must be ({self.dim},), a number for each row of weight")

    def __repr__(self) -> str:
        """In words."""
        return f"linear prior in {self.dim} dimensions"

    @property
    def dim(self) -> int:
        """Of the embeddings."""
        return len(self.weight)

    def embeddings(self, text: Tensor, scale: float = 1.0, seed: int = 0) -> Tensor:
        """Embeddings of pictures, unit vectors (n, dim), for those of texts (n, dim).

        It has no spread and no guidance: scale and seed change nothing.

        Raises:
            TypeError, ValueError: text is no cloud of this dimension.
        """
        v = unit(text, "text", self.dim)
        return F.normalize(v @ self.weight.T.to(v) + self.bias.to(v), dim=1)


def fit_linear_prior(u: Tensor, v: Tensor) -> LinearPrior:
    """The least-squares map from texts v (m, dim) to pictures u (m, dim).

    Raises:
        TypeError, ValueError: u and v are no pairs; there are fewer than dim + 1.
    """
    u = check_cloud(u, "u")
    v = check_cloud(v, "v", u.shape[1])
    if len(u) != len(v):
        raise ValueError(f"u and v must be pairs, got {len(u)} and {len(v)} rows")
    if len(u) <= u.shape[1]:
        raise ValueError(f"{len(u)} pairs do not fix a map of dimension {u.shape[1]}; give more")
    ones = torch.ones(len(v), 1, dtype=torch.float64)
    found = torch.linalg.lstsq(torch.cat([v.double(), ones], 1), u.double()).solution
    return LinearPrior(found[:-1].T.contiguous().to(u.dtype), found[-1].to(u.dtype))
