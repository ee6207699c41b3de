r"""Map the embedding of a text to that of a picture: by diffusion, or by least squares.

    Prior:        u ~ p(u | v), sampled by the reverse SDE of a field in the space of embeddings
    LinearPrior:  u = W v + b, the best linear approximation of the mean of p(u | v)

u and v are unit vectors (n, dim) of a picture and of its caption. They differ, because a caption
omits details and because of the gap between the two networks: v is no embedding of a picture. The
linear map has no spread, while the prior draws a new embedding for each seed. Fields use vectors
times sqrt(dim), so that coordinates are of size one.

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
"""The process of priors and decoders."""
STEPS = 25
"""Number of steps of ancestral sampling, at the times of Karras."""


def unit(vectors: Tensor, name: str, dim: int) -> Tensor:
    """Scale vectors (n, dim) to length one, and refuse a zero vector."""
    vectors = check_cloud(vectors, name, dim)
    zero = (~vectors.any(1)).nonzero()
    if len(zero):
        raise ValueError(f"{name} must be nonzero vectors, but row {int(zero[0])} is zero")
    return F.normalize(vectors, dim=1)


def guided_sample(
    field: LearnedField,
    told: Tensor,
    against: Tensor | None,
    scale: float,
    seed: int,
    steps: int,
) -> Tensor:
    """Sample particles (n, d) of a field conditioned on vectors `told` (n, k), with guidance.

    Guidance leads away from the field conditioned on `against` (1 or n, k), or on nothing.
    """
    other = field.given(None) if against is None else field.told(against)
    wanted = GuidedField(field.told(told), other, check_finite(scale, "scale"))
    times = karras_times(field.process, check_int(steps, "steps"))
    dim = field.dim
    assert dim is not None
    start = field.process.prior(len(told), dim, check_seed(seed), device=told.device)
    solver = SDESolver("euler", times=times, seed=seed)
    return solver.solve(ancestral(wanted), start, save=1).x[-1]


def check_teller(field: LearnedField, name: str) -> int:
    """The dimension of the vectors that a field is conditioned on; refuse one without."""
    check_kind(field, LearnedField, name)
    table = getattr(field.network, "table", None)
    if not isinstance(table, Tensor) or field.dim is None:
        raise ValueError(f"{name} must have a network with a table of vectors, as UNet(table=...)")
    return table.shape[-1]


@dataclass(frozen=True, eq=False, repr=False)
class Prior:
    """A sampler of embeddings of pictures, given embeddings of texts.

    Args:
        field: a learned field of embeddings times sqrt(dim), conditioned on vectors of the same
            dimension.
    """

    field: LearnedField

    def __post_init__(self) -> None:
        width = check_teller(self.field, "field")
        if width != self.field.dim:
            raise ValueError(
                "a prior's field must be conditioned on vectors of its own dimension "
                f"{self.field.dim}, got {width}"
            )

    def __repr__(self) -> str:
        return f"prior in {self.dim} dimensions: {self.field}"

    @property
    def dim(self) -> int:
        """The dimension of the embeddings."""
        assert self.field.dim is not None
        return self.field.dim

    def embeddings(
        self, text: Tensor, scale: float = 2.0, seed: int = 0, *, steps: int = STEPS
    ) -> Tensor:
        """Embeddings of pictures, unit vectors (n, dim), for embeddings of texts (n, dim).

        Args:
            text: embeddings of texts.
            scale: guidance scale; 1 is no guidance.
            seed: seed of the noise, which is different in each row.
            steps: steps of ancestral sampling.
        """
        root = math.sqrt(self.dim)
        v = root * unit(text, "text", self.dim)
        return F.normalize(guided_sample(self.field, v, None, scale, seed, steps), dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class LinearPrior:
    """The linear map u = W v + b from the embedding of a text to that of a picture.

    Args:
        weight: (dim, dim) W.
        bias: (dim,) b.
    """

    weight: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        if len(check_cloud(self.weight, "weight")) != self.weight.shape[1]:
            raise ValueError(f"weight must be square, got {tuple(self.weight.shape)}")
        if not isinstance(self.bias, Tensor) or self.bias.shape != (self.dim,):
            raise ValueError(f"bias must be ({self.dim},), a number for each row of weight")

    def __repr__(self) -> str:
        return f"linear prior in {self.dim} dimensions"

    @property
    def dim(self) -> int:
        """The dimension of the embeddings."""
        return len(self.weight)

    def embeddings(self, text: Tensor, scale: float = 1.0, seed: int = 0) -> Tensor:
        """Embeddings of pictures, unit vectors (n, dim), for those of texts (n, dim).

        `scale` and `seed`, arguments of `Prior.embeddings`, are ignored.
        """
        v = unit(text, "text", self.dim)
        return F.normalize(v @ self.weight.T.to(v) + self.bias.to(v), dim=1)


def fit_linear_prior(u: Tensor, v: Tensor) -> LinearPrior:
    """Fit the least-squares map from texts v (m, dim) to pictures u (m, dim), m > dim."""
    u = check_cloud(u, "u")
    v = check_cloud(v, "v", u.shape[1])
    if len(u) != len(v):
        raise ValueError(f"u and v must be pairs, got {len(u)} and {len(v)} rows")
    if len(u) <= u.shape[1]:
        raise ValueError(f"{len(u)} pairs do not fix a map of dimension {u.shape[1]}; give more")
    v = v.to(u.device, torch.float64)
    known = torch.cat([v, torch.ones_like(v[:, :1])], 1)
    # The last bits of gelsy, the default, differ from process to process; a GPU has only gels.
    driver = "gelsd" if u.device.type == "cpu" else None
    found = torch.linalg.lstsq(known, u.double(), driver=driver).solution
    return LinearPrior(found[:-1].T.contiguous().to(u.dtype), found[-1].to(u.dtype))
