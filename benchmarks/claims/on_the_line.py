"""Average over distributions on the line by quadrature, without sampling noise (R1, R3)."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.claims.smooth_spiral import PRESERVING
from sdeflow._blocks import Evaluate
from sdeflow.analysis.elbo import Bound, elbo, learned_variance, small_variance
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.field import Field
from sdeflow.fields.prediction import Prediction, Row
from sdeflow.processes.process import Coefficients, Scalar
from sdeflow.processes.time_grids import log_snr_times
from sdeflow.random_streams import Stream, random_generator

AXIS = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]


def line(weights: list[float], means: list[float], widths: list[float]) -> GaussianMixture:
    """A mixture of Gaussians on the line."""
    w, mu, s = (torch.tensor(v, dtype=torch.float64) for v in (weights, means, widths))
    return GaussianMixture(w, mu[:, None], s[:, None, None] ** 2)


def random_line(seed: int) -> GaussianMixture:
    """Three Gaussians on the line, drawn at random."""
    g = random_generator(seed, Stream.PROBE)
    return line(*(g.uniform(low, high, 3).tolist() for low, high in ((1, 3), (-2, 2), (0.1, 0.4))))


@functools.lru_cache(maxsize=4096)
def expected_variance(data: GaussianMixture, t: float) -> float:
    """E Var(x_0 | x_t) of a distribution on the line, by quadrature."""
    c = PRESERVING(torch.tensor(t, dtype=torch.float64))
    x = (4 * c.alpha + 8 * c.sigma) * AXIS
    p = data.noised(c.alpha, c.sigma).log_prob(x).exp()
    variance = data.posterior(x, c.alpha, c.sigma).data_variance
    return float(torch.trapezoid(p * variance, x[:, 0]))


@dataclass(frozen=True, eq=False)
class TypicalField(Field):
    """A field whose x0_hat always errs by the root mean square error of an exact field.

    The evidence bound is linear in |x_0|^2 and |x_0 - x0_hat|^2. So the bound of this field at one
    point, whose square is the mean square of `source`, is the mean bound over `source`, without
    sampling noise.
    """

    source: GaussianMixture

    @property
    def point(self) -> Tensor:
        """The point (1, 1) whose square is the mean square of `source`."""
        return (self.source.covariance() + self.source.mean() ** 2).sqrt()

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        """The row of x_0."""
        return Prediction.DATA.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """The point minus the error at t, wherever x is."""
        mean = self.point - math.sqrt(expected_variance(self.source, float(t)))
        return lambda x: mean.expand_as(x)


@functools.lru_cache(maxsize=64)
def exact_bound(seed: int, steps: int, learned: bool) -> tuple[Bound, float]:
    """The mean bound on `random_line` with the small or the learned variance, and mean ln p."""
    data = random_line(seed)
    field, times, x = TypicalField(PRESERVING, data), log_snr_times(PRESERVING, steps), 4 * AXIS
    log_p = data.log_prob(x)
    v = (
        learned_variance(field, field.point, times)
        if learned
        else small_variance(PRESERVING, times)
    )
    mean = float(torch.trapezoid(log_p.exp() * log_p, x[:, 0]))
    return elbo(field, field.point, times, v), mean
