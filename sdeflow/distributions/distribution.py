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

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate, blocked
from sdeflow._validation import in_words
from sdeflow.density import Density, Grid
from sdeflow.distributions.arguments import Noise as Noise


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

    def __repr__(self) -> str:
        """In words."""
        n, d = self.data.shape
        variance = in_words(self.data_variance)
        return f"posterior of {n} points in {d} dimensions, data variance {variance}"


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

    def widest(self) -> float:
        """The standard deviation along the first principal axis (length), from 4,096 draws."""
        covariance = torch.cov(self.sample(4096, seed=0).double().T).reshape(self.dim, self.dim)
        variances = torch.linalg.eigvalsh(covariance)
        return max(float(variances.max()) ** 0.5, self.std())

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

    def posterior(self, x: Tensor, alpha: Noise, sigma: Noise) -> Posterior:
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
