r"""Compute the exact field of a distribution under a process, to compare learned fields with.

    E[eps | x_t],    E[x_0 | x_t],    tr Cov(x_0 | x_t)

come from `distribution.posterior` at (alpha, sigma) of the time. The variance is the lower bound
of the training loss of any network.

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
from sdeflow.fields.field import Field
from sdeflow.fields.prediction import Prediction, Row, encode
from sdeflow.processes.process import Coefficients, Scalar


@dataclass(frozen=True, eq=False, repr=False)
class ExactField(Field):
    """The exact field of a distribution whose posterior is known.

    Args:
        process: how the data are noised.
        distribution: a `GaussianMixture`, a `PointSet`, a `PiecewiseConstant` density, or your own
            `Distribution` with a posterior.

    Raises:
        TypeError: distribution is not a `Distribution`, or process not a `Process`.
        ValueError: the distribution has no posterior in closed form.
    """

    distribution: Distribution

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.distribution, Dataset):
            raise TypeError(
                "distribution must be a Distribution, got a Dataset; pass its .distribution"
            )
        if not isinstance(self.distribution, Distribution):
            raise TypeError(
                "distribution must be a Distribution, such as GaussianMixture, got "
                f"{type(self.distribution).__name__}"
            )
        if not self.distribution.has_posterior:
            raise ValueError(
                f"{self.distribution} has no posterior in closed form, or one that is too slow; "
                "learn the field with sf.fit, or shrink the picture if it is one"
            )

    def __repr__(self) -> str:
        return f"exact field of {type(self.process).__name__} over {self.distribution}"

    @property
    def dim(self) -> int:
        return self.distribution.dim

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """See `Field`: noise, which is defined at every t."""
        return Prediction.NOISE.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`: E[eps | x_t]; faster where all particles have the same time."""
        if t.ndim == 0 and not t.requires_grad:
            self._check_noise(c.sigma)
            return self.distribution.noise_mean(float(c.alpha), float(c.sigma), like)
        c = c.along(like)
        return lambda x: self.posterior(x, c).noise

    def split(self, x: Tensor, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """See `Field`; neither is computed from the other, so neither loses digits."""
        t = self.process.at(t, check_cloud(x, dim=self.dim))
        known = self.posterior(x, self.process(t).along(x))
        return known.data, known.noise

    def predict(self, row: Prediction, x: Tensor, t: Tensor | float) -> Tensor:
        """See `Field`; rows that contain x_0 are computed from `split`, which loses no digits."""
        if row not in (Prediction.DATA, Prediction.VELOCITY, Prediction.V):
            return super().predict(row, x, t)
        known = self.split(x, t)
        return encode(row.row(self.process(self.process.at(t, x)).along(x)), *known)

    def posterior(self, x: Tensor, c: Coefficients) -> Posterior:
        """E[x_0 | x_t], E[eps | x_t] and tr Cov(x_0 | x_t) at x_t = x (n, d)."""
        # By default torch would round floats to float32.
        alpha, sigma = (torch.as_tensor(v, dtype=x.dtype, device=x.device) for v in c[:2])
        self._check_noise(sigma)
        return self.distribution.posterior(x, alpha, sigma)

    def _check_noise(self, sigma: Tensor | float) -> None:
        """Refuse a density that is not smooth where there is no noise: its score is infinite."""
        least = float(sigma.min()) if isinstance(sigma, Tensor) else sigma
        if least == 0.0 and self.distribution.narrowest() == 0.0:
            raise ValueError(
                f"where sigma is 0, {self.distribution} has no score, because its density is not "
                "smooth; give the process a larger t_min"
            )

    def given(self, label: int) -> ExactField:
        """The exact field of the data that carry this label.

        Raises:
            ValueError: there is no such label.
        """
        return ExactField(self.process, self.distribution.given(label))

    def sample(self, n: int, seed: int) -> Tensor:
        """n draws (n, d) of x_0."""
        return self.distribution.sample(n, seed)

    def log_prob(self, x: Tensor, t: Tensor | float) -> Tensor:
        """ln p_t(x), (n,) for x (n, d); t () or (n,).

        Raises:
            TypeError, ValueError: x is not a finite cloud of this dimension, or t is out of range.
        """
        c = self.process(self.process.at(t, check_cloud(x, dim=self.dim)))
        return self.distribution.log_prob(x, c.alpha, c.sigma)

    def density(self, grid: Grid, t: float | None) -> Density:
        """The exact cell masses of x_t, or of x_0 where t is None.

        Raises:
            ValueError: t is out of range, the grid has another dimension, or more than 1e-4 of the
                mass lies outside it.
        """
        check_kind(grid, Grid, "grid")
        return self.distribution.on_grid(grid, *self._noise_at(t))

    def _noise_at(self, t: float | None) -> tuple[float, float]:
        if t is None:
            return 1.0, 0.0
        now = torch.tensor(check_finite(t, "t"), dtype=torch.float64)
        c = self.process(self.process.at(now, torch.zeros(1, 1, dtype=torch.float64)))
        return float(c.alpha), float(c.sigma)
