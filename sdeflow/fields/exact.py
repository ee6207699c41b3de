r"""Compute the exact field of a distribution under a process, the standard for learned fields.

    E[eps | x_t],    E[x_0 | x_t],    tr Cov(x_0 | x_t)

are `distribution.posterior` at alpha(t) and sigma(t). The mean of the variance over x_t is the
least mean squared error with which any network can predict x_0.

See docs/theory.md, (3.3), (3.5) to (3.7) and (3.9).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate
from sdeflow._validation import check_cloud, check_finite, check_kind
from sdeflow.density import Density, Grid
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.distribution import Distribution, Posterior
from sdeflow.fields.field import Field, answered
from sdeflow.fields.prediction import Prediction, Row, encode
from sdeflow.processes.process import Coefficients, Scalar


@dataclass(frozen=True, eq=False, repr=False)
class ExactField(Field):
    """The exact field of a distribution whose posterior is known.

    Args:
        process: how the data are noised.
        distribution: a `GaussianMixture`, a `PointSet`, a `PiecewiseConstant` density, or your own
            `Distribution` with a posterior.
    """

    distribution: Distribution

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.distribution, Dataset):
            raise TypeError(
                "distribution must be a Distribution, got a Dataset; pass its .distribution"
            )
        check_kind(self.distribution, Distribution, "distribution", "make a GaussianMixture")
        if not self.distribution.has_posterior:
            raise ValueError(
                f"{self.distribution} has no posterior in closed form, or too slow a one; train a "
                "field with sf.fit, or shrink the picture if it is one"
            )

    def __repr__(self) -> str:
        return f"exact field of {type(self.process).__name__} over {self.distribution}"

    @property
    def dim(self) -> int:
        return self.distribution.dim

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row (0, 1) of the noise, which gives all other predictions at every t."""
        return Prediction.NOISE.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        if t.ndim == 0 and not t.requires_grad:
            self._check_noise(c.sigma)
            return self.distribution.noise_mean(float(c.alpha), float(c.sigma), like)
        c = c.along(like)
        return lambda x: self.posterior(x, c).noise

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        t = self.process.at(t, check_cloud(x, dim=self.dim))
        known = self.posterior(x, self.process(t).along(x))
        return answered(known.data, x), answered(known.noise, x)

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        # By `split`, because x_0 would lose digits if it were computed from the noise.
        if row not in (Prediction.DATA, Prediction.VELOCITY, Prediction.V):
            return super().predict(row, x, t)
        known = self.split(x, t)
        c = self.process(self.process.at(t, x)).along(x)
        return answered(encode(row.row(c), *known), x)

    def posterior(self, x: Tensor, c: Coefficients) -> Posterior:
        """E[x_0 | x_t], E[eps | x_t] and tr Cov(x_0 | x_t) at x_t = x (n, d), c = process(t)."""
        # torch would round plain floats to float32.
        alpha, sigma = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in c[:2])
        self._check_noise(sigma)
        return self.distribution.posterior(x, alpha, sigma)

    def _check_noise(self, sigma: Tensor | float) -> None:
        """Refuse sigma = 0 if the density of the data is not smooth: the score is infinite."""
        least = float(sigma.min()) if isinstance(sigma, Tensor) else sigma
        if least == 0.0 and self.distribution.narrowest() == 0.0:
            raise ValueError(
                f"{self.distribution} has no score where sigma is 0, because its density is not "
                "smooth; give the process a larger t_min"
            )

    def given(self, label: int) -> ExactField:
        """The exact field of the data with this label."""
        return ExactField(self.process, self.distribution.given(label))

    def sample(self, n: int, seed: int) -> Tensor:
        """n exact draws (n, d) of x_0."""
        return self.distribution.sample(n, seed)

    def log_prob(self, x: Tensor, t: Tensor | float) -> Tensor:
        """ln p_t(x), (n,) for x (n, d); t () or (n,) in [t_min, t_max]."""
        c = self.process(self.process.at(t, check_cloud(x, dim=self.dim)))
        return self.distribution.log_prob(x, c.alpha, c.sigma)

    def density(self, grid: Grid, t: float | None) -> Density:
        """The density of x_t, or of x_0 if t is None, as exact cell masses.

        If more than 1e-4 of the mass lies outside the grid, a ValueError says so.
        """
        check_kind(grid, Grid, "grid")
        return self.distribution.on_grid(grid, *self._noise_at(t))

    def _noise_at(self, t: float | None) -> tuple[float, float]:
        if t is None:
            return 1.0, 0.0
        now = torch.tensor(check_finite(t, "t"), dtype=torch.float64)
        c = self.process(self.process.at(now, torch.zeros(1, 1, dtype=torch.float64)))
        return float(c.alpha), float(c.sigma)
