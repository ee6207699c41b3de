"""Directions of exact fields: closed forms, and the crossovers of the spiral."""

import functools
import math

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.analysis import (
    Curve,
    NoiseLevel,
    alignment,
    arm_resolution,
    effective_dimension,
    first_outward_level,
    speciation,
    turning_rate,
)
from tests.problems import close, f64

SPIRAL = sf.datasets.spiral()
POINTS, LABELS = SPIRAL.distribution.points, SPIRAL.distribution.labels
COVARIANCE = torch.cov(POINTS.T, correction=0)
FIELD = sf.ExactField(sf.VE(), sf.distributions.PointSet(POINTS, LABELS))
RHO = 10 ** (3 * torch.linspace(0, 1, 256, dtype=torch.float64) - 2)
LAMBDA = f64([2.0, 0.1])


def lattice(half: float, side: int = 30) -> Tensor:
    axis = torch.linspace(-half, half, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def meeting(field: sf.fields.Field, points: Tensor, y: Tensor, rho: Tensor) -> NoiseLevel:
    centre, near = alignment(field, points, y, rho)
    return Curve(rho, near.value - centre.value).crossing(0.0)


def lecture_time(level: NoiseLevel) -> float:
    """t of the diffusion lecture, rho = 10^(3 t - 2)."""
    return (math.log10(level.rho) + 2) / 3


def gaussian(process: sf.processes.Process) -> sf.ExactField:
    one = sf.GaussianMixture(f64([1.0]), f64([[0.3, -0.2]]), torch.diag(LAMBDA)[None])
    return sf.ExactField(process, one)


def test_turning_rate_of_a_gaussian_is_the_closed_form(process: sf.processes.Process) -> None:
    """Its directions are (C + rho^2)^-1 (mean - y): each angle is an arctangent."""
    ends = process.log_snr(f64([process.t_min, process.t_max]))
    rho = torch.exp(-torch.linspace(*ends.tolist(), 14, dtype=torch.float64)[2:-2] / 2)
    y = lattice(1.5, 7) + 0.01
    got = turning_rate(gaussian(process), y, rho)
    way = (f64([0.3, -0.2]) - y)[:, None] / (LAMBDA + rho[:, None] ** 2)
    angle = torch.atan2(way[..., 1], way[..., 0])
    turn = torch.remainder(angle.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    t = f64([NoiseLevel(float(r)).t(process) for r in rho])
    assert close(got.value, turn.abs().mean(0) / t.diff().abs(), rtol=1e-7)


def test_levels_of_data_twice_as_large_are_twice_as_large() -> None:
    rho, y = RHO[::4], lattice(1.5, 15)
    doubled = sf.distributions.PointSet(2 * POINTS, LABELS)
    large = sf.ExactField(sf.VE(sigma_max=20.0), doubled)
    for a, b in (
        (meeting(FIELD, POINTS, y, rho), meeting(large, 2 * POINTS, 2 * y, 2 * rho)),
        (arm_resolution(0.7, 0.4), arm_resolution(1.4, 0.8)),
    ):
        assert b.rho == pytest.approx(2 * a.rho, rel=1e-8)


def test_curves_over_the_noise_level_do_not_depend_on_the_process() -> None:
    """The turning rate is per unit of the process's time, and so is compared times that time."""
    rho, y = torch.logspace(-1.5, 0.5, 30, dtype=torch.float64), lattice(1.2, 9)
    curves = []
    for process in (sf.VE(), sf.VP(), sf.EDM(), sf.Linear(), sf.processes.Tabulated.ddpm()):
        field = sf.ExactField(process, sf.distributions.PointSet(POINTS))
        t = process.time_of(rho)
        centre, near = alignment(field, POINTS, y, rho)
        turned = turning_rate(field, y, rho).value * t.diff().abs()
        curves.append(torch.cat([centre.value, near.value, turned]))
        curves[-1] = torch.cat([curves[-1], effective_dimension(field, rho, 300).value])
    for other in curves[1:]:
        assert close(other, curves[0], rtol=1e-6)


def test_turning_rate_and_alignment_of_the_spiral_change_near_lecture_time_0_4() -> None:
    """The lecture's "as t approaches 0.4": directions turn from the mean to the data there."""
    peak = turning_rate(FIELD, lattice(2.0), RHO)
    assert lecture_time(peak.peak()) == pytest.approx(0.398, abs=0.008)
    top = float(peak.value.max())
    at = [float(peak.value[round(255 * t)]) for t in (0.45, 0.35)]
    assert top > 7 * max(at)
    cross = meeting(FIELD, POINTS, lattice(1.5), RHO)
    assert lecture_time(cross) == pytest.approx(0.382, abs=0.004)


def test_directions_at_speciation_point_at_the_mean() -> None:
    """So the change near 0.4 is not speciation."""
    rho = speciation(COVARIANCE).rho * f64([1.0, 0.999])
    for half in (1.5, 2.0):
        centre, near = alignment(FIELD, POINTS, lattice(half), rho)
        assert float(centre.value[0]) > 0.99
        assert float(near.value[0]) < 0.9


@functools.cache
def measured(turns: float, points: int, radius: float) -> tuple[float, float]:
    """Mean over rays of (first outward level / closed form), and its standard deviation."""
    want = arm_resolution(radius, 1 / turns).rho
    spiral = sf.distributions.PointSet(sf.datasets.spiral(points, turns).distribution.points)
    field = sf.ExactField(sf.EDM(t_min=1e-4), spiral)
    rho = want * torch.linspace(2.0, 0.5, 61, dtype=torch.float64)
    share = first_outward_level(field, radius, 1 / turns, rho) / want
    assert not share.isnan().any()
    return float(share.mean()), float(share.std())


@pytest.mark.parametrize(("turns", "points"), [(2.5, 100), (4.0, 200), (6.0, 400), (8.0, 800)])
@pytest.mark.parametrize("radius", [0.55, 0.7, 0.85])
def test_first_outward_level_is_the_closed_form(turns: float, points: int, radius: float) -> None:
    assert measured(turns, points, radius)[0] == pytest.approx(1.0, abs=0.05)


def test_closed_form_is_approached_with_the_number_of_arms() -> None:
    """r / d = 1.75, 2.8, 5.6: the deviation falls, and so does its scatter over rays."""
    off, wide = zip(
        *[measured(*how, 0.7) for how in ((2.5, 100), (4.0, 200), (8.0, 800))], strict=True
    )
    gaps = [abs(o - 1) for o in off]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.005
    assert wide[0] > wide[1] > wide[2]


def test_closed_form_does_not_hold_for_one_arm() -> None:
    assert measured(1.5, 100, 0.55)[0] > 1.1
    with pytest.raises(ValueError, match="inside the first arm"):
        arm_resolution(0.03, 0.4)


def test_first_outward_level_is_nan_where_directions_stay_inwards() -> None:
    """The field of a round Gaussian points inwards at every level."""
    field = sf.ExactField(sf.EDM(), sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), 1.0))
    assert first_outward_level(field, 0.7, 0.4, f64([1.0, 0.5, 0.1])).isnan().all()
