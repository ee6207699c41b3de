r"""Ask a distribution of data for draws, moments, its density and its posterior.

With x = alpha x_0 + sigma eps, where x_0 is a draw and eps ~ N(0, I) is noise:

    sample(n, seed)              exact draws of x_0; `sample_labelled` also gives their labels
    log_prob(x, alpha, sigma)    ln p(x)
    posterior(x, alpha, sigma)   E[x_0 | x], E[eps | x] and tr Cov(x_0 | x)
    on_grid(grid, alpha, sigma)  the mass of p(x) in each cell of a grid

By default alpha = 1 and sigma = 0, the data without noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate, blocked
from sdeflow._wording import in_words
from sdeflow.density import Density, Grid
from sdeflow.distributions.arguments import Noise as Noise
from sdeflow.distributions.arguments import check_place


class Posterior(NamedTuple):
    """The conditional means of x_0 and eps, and the conditional variance of x_0, given x_t.

    Attributes:
        data: (n, d) E[x_0 | x_t].
        noise: (n, d) E[eps | x_t].
        data_variance: (n,) tr Cov(x_0 | x_t).
    """

    data: Tensor
    noise: Tensor
    data_variance: Tensor

    def __repr__(self) -> str:
        n, d = self.data.shape
        variance = in_words(self.data_variance)
        return f"posterior of {n} points in {d} dimensions, data variance {variance}"


class Distribution(ABC):
    """A probability distribution of data, with exact draws.

    The first k of n draws are, bit for bit, the draws of a call with n = k. Draws from two
    distributions with the same seed are correlated, because they use the same random numbers; take
    two seeds. A density or posterior that has no closed form raises a ValueError.
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
        """n exact draws (n, d), and their labels (n,), whole numbers."""

    @abstractmethod
    def moved(self, shift: Tensor, scale: float | Tensor) -> Distribution:
        """The distribution of scale^-1 (x - shift).

        Args:
            shift: (d,).
            scale: a positive number, or an invertible matrix (d, d). Where a matrix would lead to
                a distribution of another kind, it is refused with a ValueError.
        """

    def sample(self, n: int, seed: int) -> Tensor:
        """n exact draws (n, d); the first k of them are the draws of a call with n = k."""
        return self.sample_labelled(n, seed)[0]

    @property
    def has_posterior(self) -> bool:
        """Whether `posterior` is known, as an `ExactField` needs."""
        return False

    @property
    def has_density(self) -> bool:
        """Whether the data themselves have a density in closed form."""
        return self.has_posterior

    def narrowest(self) -> float:
        """The standard deviation of the narrowest part (length); 0 for points and sharp edges."""
        return 0.0

    def to(
        self, where: torch.device | str | torch.dtype, dtype: torch.dtype | None = None
    ) -> Distribution:
        """The distribution on another device, or in another floating-point type.

            mixture.to("cuda"), mixture.to(torch.float64), mixture.to("cuda", torch.float64)

        A mixture and a set of points draw on their device. Every other distribution draws on the
        CPU in float64 and is refused here. `log_prob` and `posterior` take clouds of any device
        and answer there, wherever the distribution lies.
        """
        check_place(where, dtype)
        raise ValueError(
            f"{self} draws on the CPU in float64; move its draws, .sample(n, seed).to(...)"
        )

    def log_prob(self, x: Tensor, alpha: Noise = 1.0, sigma: Noise = 0.0) -> Tensor:
        """ln p(x) of x = alpha x_0 + sigma eps, (n,) for x (n, d); alpha, sigma () or (n,)."""
        raise ValueError(
            f"{self} has no density in closed form; estimate it with Density.from_samples"
        )

    def posterior(self, x: Tensor, alpha: Noise, sigma: Noise) -> Posterior:
        """The `Posterior` given x = alpha x_0 + sigma eps (n, d); alpha, sigma () or (n,)."""
        raise ValueError(f"{self} has no posterior in closed form; train a field with sf.fit")

    def noise_mean(self, alpha: float, sigma: float, like: Tensor) -> Evaluate:
        """The function x (n, d) -> E[eps | x] (n, d), for clouds of the type and device of `like`.

        Whatever does not depend on x is computed once, and a particle has the same bits in a cloud
        of any size.
        """
        a, s = (torch.tensor(v, dtype=torch.float64, device=like.device) for v in (alpha, sigma))
        return partial(blocked(lambda x: self.posterior(x, a, s).noise, like.device), ())

    def on_grid(
        self, grid: Grid, alpha: float = 1.0, sigma: float = 0.0, *, missing: float = 1e-4
    ) -> Density:
        """The density of alpha x_0 + sigma eps as exact cell masses.

        More mass than `missing` outside the grid raises a ValueError.
        """
        raise ValueError(
            f"{self} has no density in closed form; estimate it with Density.from_samples"
        )

    def given(self, label: int) -> Distribution:
        """The distribution of the data with this label."""
        raise ValueError(f"{self} has no labels; given is for labelled data")
