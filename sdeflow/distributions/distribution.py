r"""What every distribution answers: draws, moments, and, where it is known exactly, its posterior.

    sample(n, seed)             exact draws, and with `sample_labelled` the part each came from
    log_prob(x, alpha, sigma)   ln p of alpha x_0 + sigma eps
    posterior(x, alpha, sigma)  E[x_0 | x], E[eps | x] and tr Cov(x_0 | x) at x = alpha x_0 + sigma eps
    on_grid(grid, alpha, sigma) the cell masses of alpha x_0 + sigma eps

alpha and sigma are 1 and 0 where they are left out: the data themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate, blocked
from sdeflow.density import Density, Grid

Noise = float | Tensor
"""alpha or sigma: one number, or one for each particle (n,)."""


class Posterior(NamedTuple):
    """What x_t says about (x_0, eps): their conditional means, and how sure it is.

    Attributes:
        data: (n, d) E[x_0 | x_t].
        noise: (n, d) E[eps | x_t].
        data_variance: (n,) tr Cov(x_0 | x_t).
    """

    data: Tensor
    noise: Tensor
    data_variance: Tensor


class Distribution(ABC):
    """A probability distribution of data with exact draws.

    Draws are keyed: the first k of n are the draw of size k, bit for bit. Where the density or the
    posterior has no closed form, asking for it raises a ValueError.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """d, the number of coordinates."""

    @abstractmethod
    def mean(self) -> Tensor:
        """E[x], (d,) in float64."""

    @abstractmethod
    def std(self) -> float:
        """sqrt(tr Cov / d), the root-mean-square spread per coordinate (length)."""

    @abstractmethod
    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n exact draws (n, d), and the number (n,) of the part that each came from."""

    @abstractmethod
    def moved(self, shift: Tensor, scale: float) -> Distribution:
        """The distribution of (x - shift) / scale; shift (d,), scale positive."""

    def sample(self, n: int, seed: int) -> Tensor:
        """n exact draws (n, d); the first k of them are the draw of size k."""
        return self.sample_labelled(n, seed)[0]

    @property
    def has_posterior(self) -> bool:
        """Whether `posterior`, and so an `ExactField`, can be had."""
        return False

    @property
    def has_density(self) -> bool:
        """Whether the data themselves have a density in closed form."""
        return self.has_posterior

    def narrowest(self) -> float:
        """The standard deviation of the narrowest feature (length); 0 for points and edges."""
        return 0.0

    def log_prob(self, x: Tensor, alpha: Noise = 1.0, sigma: Noise = 0.0) -> Tensor:
        """ln p(x) of alpha x_0 + sigma eps, (n,) for x (n, d)."""
        raise ValueError(f"{self} has no density in closed form")

    def posterior(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Posterior:
        """What x = alpha x_0 + sigma eps says about (x_0, eps); alpha, sigma () or (n,)."""
        raise ValueError(f"{self} has no posterior in closed form")

    def noise_mean(self, alpha: float, sigma: float, like: Tensor) -> Evaluate:
        """x -> E[eps | x] at one noise level, for clouds like this one.

        What does not depend on x is worked out beforehand, and particle i gets the same bits in a
        cloud of any size.
        """
        a, s = (torch.tensor(v, dtype=torch.float64, device=like.device) for v in (alpha, sigma))
        return partial(blocked(lambda x: self.posterior(x, a, s).noise), ())

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        """The cell masses of alpha x_0 + sigma eps; `missing` may lie outside the grid."""
        raise ValueError(f"{self} has no density in closed form")

    def given(self, label: int) -> Distribution:
        """The distribution of the part with this label."""
        raise ValueError(f"{self} has no labels")
