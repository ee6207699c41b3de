"""Critical noise levels against closed forms, conservation laws, and the spiral's own numbers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.analysis import (
    NoiseLevel,
    class_purity,
    effective_dimension,
    inverse_participation_ratio,
    speciation,
)
from tests.problems import close, f64, randn

SPIRAL = sf.datasets.spiral()
POINTS, LABELS = SPIRAL.distribution.points, SPIRAL.distribution.labels
COVARIANCE = torch.cov(POINTS.T, correction=0)
FIELD = sf.ExactField(sf.VE(), sf.distributions.PointSet(POINTS, LABELS))
RHO = 10 ** (3 * torch.linspace(0, 1, 256, dtype=torch.float64) - 2)
LAMBDA = f64([2.0, 0.1])


def lecture_time(level: NoiseLevel) -> float:
    """t of the diffusion lecture, rho = 10^(3 t - 2)."""
    return (math.log10(level.rho) + 2) / 3


def gaussian(process: sf.processes.Process) -> sf.ExactField:
    one = sf.GaussianMixture(f64([1.0]), f64([[0.3, -0.2]]), torch.diag(LAMBDA)[None])
    return sf.ExactField(process, one)


def test_effective_dimension_of_a_gaussian_is_the_closed_form() -> None:
    """tr C / (C + rho^2): two directions, then one, then none."""
    rho = torch.logspace(-2, 1, 20, dtype=torch.float64)
    got = effective_dimension(gaussian(sf.VE()), rho, n=10)
    assert close(got.value, (LAMBDA / (LAMBDA + rho[:, None] ** 2)).sum(1), rtol=1e-10)


def test_integral_of_the_effective_dimension_is_the_information() -> None:
    """-dI / d ln rho from 0 to ln m: no level is left out or counted twice."""
    rho = torch.logspace(-4, 2, 120, dtype=torch.float64)
    field = sf.ExactField(sf.EDM(t_min=1e-4, t_max=100.0), sf.distributions.PointSet(POINTS))
    got = effective_dimension(field, rho, n=4000)
    area = float(torch.trapezoid(got.value, torch.log(rho)))
    assert area == pytest.approx(math.log(100), rel=0.02)


def test_weights_of_two_points_are_a_logistic_curve() -> None:
    """E[w^2 + (1 - w)^2], w = 1 / (1 + e^-2u), u = (a / rho)^2 + (a / rho) z: by quadrature."""
    a, rho = 0.7, f64([0.2, 0.5, 1.0, 3.0])
    points, labels = f64([[a, 0.0], [-a, 0.0]]), torch.tensor([0, 1])
    field = sf.ExactField(sf.EDM(), sf.distributions.PointSet(points, labels))
    z, weight = np.polynomial.hermite_e.hermegauss(120)
    s = a / rho.numpy()[:, None]
    w = 1 / (1 + np.exp(-2 * (s**2 + s * z)))
    want = ((w**2 + (1 - w) ** 2) @ weight) / math.sqrt(2 * math.pi)
    n = 40_000
    for got in (inverse_participation_ratio(field, rho, n), class_purity(field, rho, n)):
        assert np.abs(got.value.numpy() - want).max() < 4 * 0.25 / math.sqrt(n)
    alike = sf.ExactField(sf.EDM(), sf.distributions.PointSet(points, torch.tensor([0, 0])))
    assert close(class_purity(alike, rho, 100).value, torch.ones(4).double())


def test_purity_in_pure_noise_is_that_of_the_shares() -> None:
    rho = f64([0.01, 1e4])
    field = sf.ExactField(sf.EDM(t_max=1e5), sf.distributions.PointSet(POINTS, LABELS))
    assert float(inverse_participation_ratio(field, rho, 500).value[1]) == pytest.approx(
        1 / 100, rel=1e-3
    )
    purity = class_purity(field, rho, 500).value
    assert float(purity[1]) == pytest.approx(0.3**2 + 0.3**2 + 0.4**2, rel=1e-3)
    with pytest.raises(ValueError, match="labels"):
        class_purity(sf.ExactField(sf.EDM(), sf.distributions.PointSet(POINTS)), rho)


def test_levels_of_data_twice_as_large_are_twice_as_large() -> None:
    """Scaled by two, the same draws give the same curves: a few of them are enough."""
    rho, n = RHO[::4], 500
    small, doubled = FIELD, sf.distributions.PointSet(2 * POINTS, LABELS)
    large = sf.ExactField(sf.VE(sigma_max=20.0), doubled)
    for a, b in (
        (effective_dimension(small, rho, n).peak(), effective_dimension(large, 2 * rho, n).peak()),
        (class_purity(small, rho, n).crossing(0.7), class_purity(large, 2 * rho, n).crossing(0.7)),
        (
            inverse_participation_ratio(small, rho, n).crossing(0.5),
            inverse_participation_ratio(large, 2 * rho, n).crossing(0.5),
        ),
        (speciation(COVARIANCE), speciation(4 * COVARIANCE)),
    ):
        assert b.rho == pytest.approx(2 * a.rho, rel=1e-8)


def test_four_levels_of_the_spiral() -> None:
    """Of the exact field, as times of the lecture (docs/sources.md, N6)."""
    rho = RHO[::4]
    spectral = speciation(COVARIANCE)
    purity = class_purity(FIELD, rho)
    chance = 0.34
    arms = effective_dimension(FIELD, rho)
    collapse = inverse_participation_ratio(FIELD, rho).crossing(0.5)
    assert lecture_time(spectral) == pytest.approx(0.563, abs=1e-3)
    assert lecture_time(purity.crossing((1 + chance) / 2)) == pytest.approx(0.431, abs=0.005)
    assert lecture_time(arms.peak()) == pytest.approx(0.403, abs=0.005)
    assert float(arms.value.max()) == pytest.approx(1.68, abs=0.05)
    assert lecture_time(collapse) == pytest.approx(0.242, abs=0.005)


def test_levels_of_collapse_do_not_depend_on_the_place_of_the_data() -> None:
    """Far from the origin too, where squares of coordinates lose the distances."""
    points, rho = randn(20, 2), f64([1.0, 0.3, 0.1])
    labels = torch.arange(20) % 2

    def curves(place: float) -> list[Tensor]:
        data = sf.distributions.PointSet(points + place, labels=labels)
        field = sf.ExactField(sf.VE(), data)
        return [ask(field, rho, 200).value for ask in (inverse_participation_ratio, class_purity)]

    for near, far in zip(curves(0.0), curves(1e7), strict=True):
        assert torch.allclose(near, far, rtol=1e-5, atol=0.0)
