r"""The interface of all distributions: draws, moments, density, posterior.

    sample(n, seed)              exact draws; `sample_labelled` also gives the label of each
    log_prob(x, alpha, sigma)    ln p of x = alpha x_0 + sigma eps
    posterior(x, alpha, sigma)   E[x_0 | x], E[eps | x] and tr Cov(x_0 | x) for the same x
    on_grid(grid, alpha, sigma)  the cell masses of alpha x_0 + sigma eps

By default alpha = 1 and sigma = 0: the data without noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._blocks import Evaluate, blocked
from sdeflow._validation import check_finite, check_int, check_numbers, check_positive, check_seed
from sdeflow.density import Density, Grid

Noise = float | Tensor
"""alpha or sigma: one number, or one for each particle (n,)."""


class Posterior(NamedTuple):
    """Conditional means and variance of (x_0, eps), given x_t.

    Attributes:
        data: (n, d) E[x_0 | x_t].
        noise: (n, d) E[eps | x_t].
        data_variance: (n,) tr Cov(x_0 | x_t).
    """

    data: Tensor
    noise: Tensor
    data_variance: Tensor


def check_move(
    shift: Tensor, scale: float | Tensor, law: Distribution
) -> tuple[Tensor, float | Tensor]:
    """Return the arguments of `moved`: shift (d,), and scale as a number or a matrix (d, d).

    Raises:
        TypeError, ValueError: they are none, or the matrix has no inverse.
    """
    d = law.dim
    shift = check_numbers(shift, "shift", (d,))
    if not np.ndim(scale):
        return shift, check_positive(scale, "scale")  # type: ignore[arg-type]
    matrix = check_numbers(scale, "scale", (d, d))
    if float(torch.linalg.cond(matrix / matrix.norm(dim=1, keepdim=True))) > 1e12:
        raise ValueError("scale must be a matrix with an inverse; its rows depend on each other")
    return shift, matrix


def check_draw(n: int, seed: int) -> tuple[int, int]:
    """Return the arguments of `sample` as whole numbers."""
    return check_int(n, "n"), check_seed(seed)


def check_grid(grid: Grid) -> Grid:
    """Return the grid if it is one."""
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a Grid, got {type(grid).__name__}")
    return grid


def check_noise(alpha: Noise, sigma: Noise, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma, () or (n,) each, as tensors like the cloud x (n, d)."""
    found = []
    for value, name in ((alpha, "alpha"), (sigma, "sigma")):
        if not isinstance(value, Tensor):
            value = check_finite(value, name)
        tensor = torch.as_tensor(value, dtype=x.dtype, device=x.device)
        if tensor.shape not in ((), x.shape[:1]):
            raise ValueError(
                f"{name} must be one number or ({len(x)},), one per particle, got "
                f"{tuple(tensor.shape)}"
            )
        found.append(tensor)
    if not (torch.isfinite(found[0]).all() and (found[0] > 0).all()):
        raise ValueError("alpha must be positive and finite")
    if not (torch.isfinite(found[1]).all() and (found[1] >= 0).all()):
        raise ValueError("sigma must be zero or more and finite")
    return found[0], found[1]


def check_one_number(scale: float | Tensor, law: Distribution) -> float:
    """Return the scale if it is one number."""
    if isinstance(scale, Tensor):
        raise ValueError(f"{law} takes a scale of one number; a matrix would change its kind")
    return scale


class Distribution(ABC):
    """A probability distribution of data, with exact draws.

    The first k of n draws are, bit for bit, the draw of size k. One seed gives one stream of
    numbers, whatever the distribution: draws from two distributions with one seed are correlated,
    so take two seeds. A density or a posterior without closed form raises a ValueError.
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
        """sqrt(tr Cov / d), the root-mean-square deviation per coordinate (in units of length)."""

    @abstractmethod
    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """n exact draws (n, d) and their labels (n,), whole numbers."""

    @abstractmethod
    def moved(self, shift: Tensor, scale: float | Tensor) -> Distribution:
        """The distribution of scale^-1 (x - shift); shift (d,).

        scale is a positive number, or an invertible matrix (d, d), which turns and stretches.

        Raises:
            ValueError: a matrix would make it a distribution of another kind.
        """

    def sample(self, n: int, seed: int) -> Tensor:
        """n exact draws (n, d); the first k of them are the draw of size k."""
        return self.sample_labelled(n, seed)[0]

    @property
    def has_posterior(self) -> bool:
        """Whether `posterior` is known, and with it an `ExactField`."""
        return False

    @property
    def has_density(self) -> bool:
        """Whether the data themselves have a density in closed form."""
        return self.has_posterior

    def narrowest(self) -> float:
        """The standard deviation of the narrowest feature (length); 0 for points and for edges."""
        return 0.0

    def log_prob(self, x: Tensor, alpha: Noise = 1.0, sigma: Noise = 0.0) -> Tensor:
        """ln p(x) of alpha x_0 + sigma eps, (n,) for x (n, d)."""
        raise ValueError(f"{self} has no density in closed form")

    def posterior(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Posterior:
        """The `Posterior` of (x_0, eps) given x = alpha x_0 + sigma eps (n, d).

        alpha and sigma are () or (n,).
        """
        raise ValueError(f"{self} has no posterior in closed form")

    def noise_mean(self, alpha: float, sigma: float, like: Tensor) -> Evaluate:
        """The function x (n, d) -> E[eps | x] (n, d) at one noise level, for clouds like `like`.

        What does not depend on x is computed once, and a particle gets the same bits in a cloud of
        any size.
        """
        a, s = (torch.tensor(v, dtype=torch.float64, device=like.device) for v in (alpha, sigma))
        return partial(blocked(lambda x: self.posterior(x, a, s).noise), ())

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        """The cell masses of alpha x_0 + sigma eps; at most `missing` may lie outside the grid."""
        raise ValueError(f"{self} has no density in closed form")

    def given(self, label: int) -> Distribution:
        """The distribution of the data that carry this label."""
        raise ValueError(f"{self} has no labels")
