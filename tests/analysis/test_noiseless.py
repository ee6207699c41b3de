"""Ancestral sampling without its noise: closed forms, and the measures that show the collapse."""

import math

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.analysis import NoiseLevel, noiseless_law
from sdeflow.diagnostics import class_shares, coverage, spread
from tests.problems import close, f64, lopsided

SPIRAL = sf.datasets.spiral()
POINTS, LABELS = SPIRAL.distribution.points, SPIRAL.distribution.labels
COVARIANCE = torch.cov(POINTS.T, correction=0)
FIELD = sf.ExactField(sf.VE(), sf.distributions.PointSet(POINTS, LABELS))


def no_variance(times: Tensor) -> Tensor:
    return torch.zeros(len(times) - 1)


def white(n: int, size: float) -> Tensor:
    """A cloud whose own mean is 0 and whose own covariance is size^2 I, to rounding."""
    x = torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    x = x - x.mean(0)
    root = torch.linalg.cholesky(torch.cov(x.T))
    return size * torch.linalg.solve_triangular(root, x.T, upper=False).T


@pytest.mark.parametrize("steps", [1, 3, 40])
@pytest.mark.parametrize(
    "process", [sf.VP(), sf.VE(), sf.Linear()], ids=lambda p: type(p).__name__
)
def test_without_noise_a_gaussian_shrinks_by_the_closed_form(
    process: sf.processes.Process, steps: int
) -> None:
    gaussian = sf.GaussianMixture(f64([1.0]), f64([[0.3, -0.2]]), lopsided().covariances[:1])
    field = sf.ExactField(process, gaussian)
    start, end = (NoiseLevel.of(process, t) for t in (process.t_max, process.t_min))
    mean, covariance = noiseless_law(gaussian.mean(), gaussian.covariance(), start, end)
    first, last = (float(process(f64(t)).alpha) for t in (process.t_max, process.t_min))
    x = white(200, start.rho * first)
    solver = sf.SDESolver(steps=steps)
    y = solver.solve(sf.ancestral(field, variance=no_variance), x, save=1).x[-1] / last
    assert close(y.mean(0), mean, rtol=1e-9)
    assert close(torch.cov(y.T), covariance, rtol=1e-8)
    if steps == 40:  # with the noise the covariance is that of the data
        y = solver.solve(sf.ancestral(field), x, save=1).x[-1] / last
        assert not close(torch.cov(y.T), covariance, rtol=0.5)


def test_remaining_width_is_set_by_the_largest_noise() -> None:
    """Of the spiral's covariance: 0.047 from sigma 10 and 0.385 from 1 (docs/sources.md, N4)."""
    for rho, want in ((10.0, 0.047), (1.0, 0.385)):
        left = noiseless_law(f64([0, 0]), COVARIANCE, NoiseLevel(rho), NoiseLevel(0.01))[1]
        share = math.sqrt(float(left.trace() / COVARIANCE.trace()))
        assert share == pytest.approx(want, abs=0.002)


def test_spread_and_coverage_show_the_collapse_and_distance_to_the_curve_does_not() -> None:
    """Without noise all particles are on the inside edge, and nearer to the curve than with it."""
    solver = sf.SDESolver(steps=64)
    x = sf.VE().prior(600, 2, 0, torch.float64)
    good = solver.solve(sf.ancestral(FIELD), x, save=1).x[-1]
    gone = solver.solve(sf.ancestral(FIELD, variance=no_variance), x, save=1).x[-1]
    covariance = noiseless_law(SPIRAL.mean, COVARIANCE, NoiseLevel(10.0), NoiseLevel(0.01))[1]
    assert spread(good, COVARIANCE) == pytest.approx(1.0, abs=0.06)
    assert spread(gone, COVARIANCE) == pytest.approx(
        math.sqrt(float(covariance.trace() / COVARIANCE.trace())), rel=0.15
    )
    assert coverage(good, POINTS) > 0.97
    assert coverage(gone, POINTS) < 0.12
    assert close(class_shares(good, POINTS, LABELS), f64([0.3, 0.3, 0.4]), atol=0.08)
    assert close(class_shares(gone, POINTS, LABELS), f64([1.0, 0.0, 0.0]))
    assert float(SPIRAL.distance(gone).max()) < 0.05
    assert SPIRAL.distance(gone).median() < SPIRAL.distance(good).median()
