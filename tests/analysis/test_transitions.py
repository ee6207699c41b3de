"""Order parameters against closed forms, conservation laws, and the spiral's own numbers."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.analysis.transitions import (
    Curve,
    NoiseLevel,
    alignment,
    arm_resolution,
    class_purity,
    effective_dimension,
    first_outward_level,
    inverse_participation_ratio,
    noiseless_law,
    speciation,
    turning_rate,
)
from sdeflow.diagnostics.coverage import class_shares, coverage, nearest, spread
from tests.problems import close, f64, lopsided

SPIRAL = sf.datasets.spiral()
POINTS, LABELS = SPIRAL.distribution.points, SPIRAL.distribution.labels
assert POINTS is not None
assert LABELS is not None
COVARIANCE = torch.cov(POINTS.T, correction=0)
LECTURE = sf.VE()  # its t is the lecture's: rho = 10^(3 t - 2)
FIELD = sf.ExactField(LECTURE, sf.distributions.PointSet(POINTS, LABELS))
RHO = 10 ** (3 * torch.linspace(0, 1, 256, dtype=torch.float64) - 2)


def lattice(half: float, side: int = 30) -> Tensor:
    axis = torch.linspace(-half, half, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def meeting(field: sf.fields.Field, points: Tensor, y: Tensor, rho: Tensor) -> NoiseLevel:
    centre, near = alignment(field, points, y, rho)
    return Curve(rho, near.value - centre.value).crossing(0.0)


# ---- clocks -------------------------------------------------------------------------------------


def test_a_level_is_the_same_on_every_clock(process: sf.processes.Process) -> None:
    for t in np.linspace(process.t_min, process.t_max, 7):
        level = NoiseLevel.of(process, t)
        assert level.t(process) == pytest.approx(t, rel=1e-8)
        c = process(f64(t))
        assert level.log_snr == pytest.approx(float(process.log_snr(f64(t))), abs=1e-10)
        assert level.rho == pytest.approx(float(c.sigma / c.alpha), rel=1e-12)


@pytest.mark.parametrize("rho", [0.02, 0.1585, 1.0, 8.0])
def test_the_named_clocks_are_processes(rho: float) -> None:
    level = NoiseLevel(rho)
    assert level.lecture_time == pytest.approx(level.t(sf.VE()), rel=1e-12)
    assert level.flow_time == pytest.approx(level.t(sf.Linear()), rel=1e-12)
    assert level.alpha_bar == pytest.approx(
        float(sf.VP()(f64(level.t(sf.VP()))).alpha ** 2), rel=1e-9
    )
    # dx = -x dt + sqrt(2) dW has mean e^-t x_0 and variance 1 - e^-2t.
    left = math.exp(-level.ou_time)
    assert math.sqrt(1 - left**2) / left == pytest.approx(rho, rel=1e-12)


def test_a_level_that_a_process_never_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        NoiseLevel(1e-6).t(sf.VE())
    with pytest.raises(ValueError, match="rho"):
        NoiseLevel(0.0)


# ---- reading a curve ----------------------------------------------------------------------------


@pytest.mark.parametrize("flip", [False, True])
def test_a_peak_and_a_crossing_are_read_between_the_levels(flip: bool) -> None:
    rho = torch.logspace(-2, 1, 40, dtype=torch.float64)
    rho = rho.flip(0) if flip else rho
    u = torch.log(rho)
    assert Curve(rho, -((u + 1.3) ** 2)).peak().rho == pytest.approx(math.exp(-1.3), rel=1e-10)
    line = Curve(rho, 2 * u + 1)
    assert line.crossing(0.3).rho == pytest.approx(math.exp(-0.35), rel=1e-10)
    # Of two crossings, the one that the sampler meets first.
    twice = Curve(rho, (u + 1) * (u + 2))
    assert twice.crossing(0.0).rho == pytest.approx(math.exp(-1), rel=1e-2)


def test_what_is_not_on_the_curve_is_refused() -> None:
    curve = Curve(RHO, RHO)
    with pytest.raises(ValueError, match="widen the levels"):
        curve.peak()
    with pytest.raises(ValueError, match="never meets 11"):
        curve.crossing(11.0)
    with pytest.raises(ValueError, match="positive rho"):
        Curve(f64([0.1, 0.2]), f64([1.0]))
    with pytest.raises(ValueError, match="positive rho"):
        Curve(f64([-0.1, 0.2]), f64([1.0, 2.0]))


# ---- exact cases --------------------------------------------------------------------------------

LAMBDA = f64([2.0, 0.1])


def gaussian(process: sf.processes.Process) -> sf.ExactField:
    law = sf.GaussianMixture(f64([1.0]), f64([[0.3, -0.2]]), torch.diag(LAMBDA)[None])
    return sf.ExactField(process, law)


def test_turnover_of_an_ellipse(process: sf.processes.Process) -> None:
    """Its arrows are (C + rho^2)^-1 (mean - y): the angle of each is an arctangent."""
    ends = process.log_snr(f64([process.t_min, process.t_max]))
    rho = torch.exp(-torch.linspace(*ends.tolist(), 14, dtype=torch.float64)[2:-2] / 2)
    y = lattice(1.5, 7) + 0.01
    got = turning_rate(gaussian(process), y, rho)
    way = (f64([0.3, -0.2]) - y)[:, None] / (LAMBDA + rho[:, None] ** 2)
    angle = torch.atan2(way[..., 1], way[..., 0])
    turn = torch.remainder(angle.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    t = f64([NoiseLevel(float(r)).t(process) for r in rho])
    assert close(got.value, turn.abs().mean(0) / t.diff().abs(), rtol=1e-7)


def test_effective_dimension_of_an_ellipse() -> None:
    """tr C / (C + rho^2): two directions, then one, then none."""
    rho = torch.logspace(-2, 1, 20, dtype=torch.float64)
    got = effective_dimension(gaussian(LECTURE), rho, n=10)
    assert close(got.value, (LAMBDA / (LAMBDA + rho[:, None] ** 2)).sum(1), rtol=1e-10)


def test_the_area_under_the_effective_dimension_is_the_information() -> None:
    """-dI / d ln rho, from none to ln m: no scale of the points is left out or counted twice."""
    rho = torch.logspace(-4, 2, 240, dtype=torch.float64)
    field = sf.ExactField(sf.EDM(t_min=1e-4, t_max=100.0), sf.distributions.PointSet(POINTS))
    got = effective_dimension(field, rho, n=8000)
    area = float(torch.trapezoid(got.value, torch.log(rho)))
    assert area == pytest.approx(math.log(100), rel=0.02)


def test_of_two_points_the_weights_are_a_logistic_curve() -> None:
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


def test_in_pure_noise_a_guess_is_as_good_as_the_shares() -> None:
    rho = f64([0.01, 1e4])
    field = sf.ExactField(sf.EDM(t_max=1e5), sf.distributions.PointSet(POINTS, LABELS))
    assert float(inverse_participation_ratio(field, rho, 500).value[1]) == pytest.approx(
        1 / 100, rel=1e-3
    )
    purity = class_purity(field, rho, 500).value
    assert float(purity[1]) == pytest.approx(0.3**2 + 0.3**2 + 0.4**2, rel=1e-3)
    with pytest.raises(ValueError, match="labels"):
        class_purity(sf.ExactField(sf.EDM(), sf.distributions.PointSet(POINTS)), rho)


# ---- a scale is a length, and belongs to the data -----------------------------------------------


def test_data_twice_as_large_have_scales_twice_as_large() -> None:
    rho, y = RHO[::4], lattice(1.5, 15)
    small, large = (
        FIELD,
        sf.ExactField(sf.VE(sigma_max=20.0), sf.distributions.PointSet(2 * POINTS, LABELS)),
    )
    for a, b in (
        (meeting(small, POINTS, y, rho), meeting(large, 2 * POINTS, 2 * y, 2 * rho)),
        (effective_dimension(small, rho).peak(), effective_dimension(large, 2 * rho).peak()),
        (class_purity(small, rho).crossing(0.7), class_purity(large, 2 * rho).crossing(0.7)),
        (
            inverse_participation_ratio(small, rho).crossing(0.5),
            inverse_participation_ratio(large, 2 * rho).crossing(0.5),
        ),
        (speciation(COVARIANCE), speciation(4 * COVARIANCE)),
        (arm_resolution(0.7, 0.4), arm_resolution(1.4, 0.8)),
    ):
        assert b.rho == pytest.approx(2 * a.rho, rel=1e-8)


def test_a_scale_does_not_depend_on_the_process() -> None:
    """Only the clock's label does; and the turnover, which is per unit of it."""
    rho, y = torch.logspace(-1.5, 0.5, 30, dtype=torch.float64), lattice(1.2, 9)
    curves = []
    for process in (sf.VE(), sf.VP(), sf.EDM(), sf.Linear(), sf.processes.Tabulated.ddpm()):
        field = sf.ExactField(process, sf.distributions.PointSet(POINTS))
        t = process.time(-2 * torch.log(rho))
        centre, near = alignment(field, POINTS, y, rho)
        turned = turning_rate(field, y, rho).value * t.diff().abs()
        curves.append(torch.cat([centre.value, near.value, turned]))
        curves[-1] = torch.cat([curves[-1], effective_dimension(field, rho, 300).value])
    for other in curves[1:]:
        assert close(other, curves[0], rtol=1e-6)


# ---- the lecture's spiral -----------------------------------------------------------------------


def test_the_scales_of_the_spiral() -> None:
    """Four scales, each in its place (exact field, lecture's t; docs/sources.md, N6)."""
    rho = RHO[::4]
    spectral = speciation(COVARIANCE)
    purity = class_purity(FIELD, rho)
    chance = 0.34
    arms = effective_dimension(FIELD, rho)
    collapse = inverse_participation_ratio(FIELD, rho).crossing(0.5)
    assert spectral.lecture_time == pytest.approx(0.563, abs=1e-3)
    assert purity.crossing((1 + chance) / 2).lecture_time == pytest.approx(0.431, abs=0.005)
    assert arms.peak().lecture_time == pytest.approx(0.403, abs=0.005)
    assert float(arms.value.max()) == pytest.approx(1.68, abs=0.05)
    assert collapse.lecture_time == pytest.approx(0.242, abs=0.005)


def test_the_phase_change_of_the_lecture() -> None:
    """ "As t approaches 0.4": the arrows turn over there, and leave the mean for the data."""
    peak = turning_rate(FIELD, lattice(2.0), RHO)
    assert peak.peak().lecture_time == pytest.approx(0.398, abs=0.008)
    top = float(peak.value.max())
    at = [float(peak.value[round(255 * t)]) for t in (0.45, 0.35)]
    assert top > 7 * max(at)
    cross = meeting(FIELD, POINTS, lattice(1.5), RHO)
    assert cross.lecture_time == pytest.approx(0.382, abs=0.004)


def test_at_the_spectral_scale_nothing_has_happened_yet() -> None:
    """The video's change is not speciation: there the arrows still point at the mean."""
    rho = speciation(COVARIANCE).rho * f64([1.0, 0.999])
    for half in (1.5, 2.0):
        centre, near = alignment(FIELD, POINTS, lattice(half), rho)
        assert float(centre.value[0]) > 0.99
        assert float(near.value[0]) < 0.9


def measured(turns: float, points: int, radius: float) -> tuple[float, float]:
    """Mean over rays of (opening / closed form), and its standard deviation."""
    want = arm_resolution(radius, 1 / turns).rho
    points_ = sf.datasets.spiral(points, turns).distribution.points
    assert points_ is not None
    field = sf.ExactField(sf.EDM(t_min=1e-4), sf.distributions.PointSet(points_))
    rho = want * torch.linspace(2.0, 0.5, 61, dtype=torch.float64)
    share = first_outward_level(field, radius, 1 / turns, rho) / want
    assert not share.isnan().any()
    return float(share.mean()), float(share.std())


@pytest.mark.parametrize(("turns", "points"), [(2.5, 100), (4.0, 200), (6.0, 400), (8.0, 800)])
@pytest.mark.parametrize("radius", [0.55, 0.7, 0.85])
def test_arms_open_where_the_closed_form_says(turns: float, points: int, radius: float) -> None:
    assert measured(turns, points, radius)[0] == pytest.approx(1.0, abs=0.05)


def test_the_closed_form_is_an_asymptote_in_the_number_of_arms() -> None:
    """r / d = 1.75, 2.8, 5.6: off by less and less, and by less from ray to ray."""
    off, wide = zip(
        *[measured(*how, 0.7) for how in ((2.5, 100), (4.0, 200), (8.0, 800))], strict=True
    )
    gaps = [abs(o - 1) for o in off]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.005
    assert wide[0] > wide[1] > wide[2]


def test_where_there_is_one_arm_the_closed_form_does_not_hold() -> None:
    assert measured(1.5, 100, 0.55)[0] > 1.1
    with pytest.raises(ValueError, match="inside the first arm"):
        arm_resolution(0.03, 0.4)


def test_arrows_that_never_turn_are_not_a_number() -> None:
    """One round Gaussian pulls inwards at every scale."""
    field = sf.ExactField(sf.EDM(), sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), 1.0))
    assert first_outward_level(field, 0.7, 0.4, f64([1.0, 0.5, 0.1])).isnan().all()


# ---- without the noise line ---------------------------------------------------------------------


def silent(times: Tensor) -> Tensor:
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
def test_without_noise_an_ellipse_shrinks_by_law(
    process: sf.processes.Process, steps: int
) -> None:
    law = sf.GaussianMixture(f64([1.0]), f64([[0.3, -0.2]]), lopsided().covariances[:1])
    field = sf.ExactField(process, law)
    start, end = (NoiseLevel.of(process, t) for t in (process.t_max, process.t_min))
    mean, covariance = noiseless_law(law.mean(), law.covariance(), start, end)
    first, last = (float(process(f64(t)).alpha) for t in (process.t_max, process.t_min))
    x = white(200, start.rho * first)
    solver = sf.SDESolver(steps=steps)
    y = solver.solve(sf.ancestral(field, variance=silent), x, save=1).x[-1] / last
    assert close(y.mean(0), mean, rtol=1e-9)
    assert close(torch.cov(y.T), covariance, rtol=1e-8)
    if steps == 40:  # with the noise line the law is the data's
        y = solver.solve(sf.ancestral(field), x, save=1).x[-1] / last
        assert not close(torch.cov(y.T), covariance, rtol=0.5)


def test_how_much_is_left_is_set_by_the_largest_noise() -> None:
    """Of the spiral's covariance: 0.047 from sigma 10 and 0.385 from 1 (docs/sources.md, N4)."""
    for rho, want in ((10.0, 0.047), (1.0, 0.385)):
        left = noiseless_law(f64([0, 0]), COVARIANCE, NoiseLevel(rho), NoiseLevel(0.01))[1]
        share = math.sqrt(float(left.trace() / COVARIANCE.trace()))
        assert share == pytest.approx(want, abs=0.002)


def test_the_measures_that_see_the_collapse_and_the_one_that_does_not() -> None:
    """No noise: everybody on the inside edge, and nearer to the curve than the good cloud is."""
    solver = sf.SDESolver(steps=64)
    x = LECTURE.prior(600, 2, 0, torch.float64)
    good = solver.solve(sf.ancestral(FIELD), x, save=1).x[-1]
    gone = solver.solve(sf.ancestral(FIELD, variance=silent), x, save=1).x[-1]
    law = noiseless_law(SPIRAL.mean, COVARIANCE, NoiseLevel(10.0), NoiseLevel(0.01))[1]
    assert spread(good, COVARIANCE) == pytest.approx(1.0, abs=0.06)
    assert spread(gone, COVARIANCE) == pytest.approx(
        math.sqrt(float(law.trace() / COVARIANCE.trace())), rel=0.15
    )
    assert coverage(good, POINTS) > 0.97
    assert coverage(gone, POINTS) < 0.12
    assert close(class_shares(good, POINTS, LABELS), f64([0.3, 0.3, 0.4]), atol=0.08)
    assert close(class_shares(gone, POINTS, LABELS), f64([1.0, 0.0, 0.0]))
    assert float(SPIRAL.distance(gone).max()) < 0.05
    assert SPIRAL.distance(gone).median() < SPIRAL.distance(good).median()


def test_the_data_themselves_are_neither_narrow_nor_missing() -> None:
    assert spread(POINTS, torch.cov(POINTS.T)) == pytest.approx(1.0, rel=1e-12)
    assert coverage(POINTS, POINTS) == 1.0
    assert coverage(POINTS[:7], POINTS) == pytest.approx(0.07)
    assert torch.equal(nearest(POINTS + 1e-3, POINTS), torch.arange(100))
    assert close(class_shares(POINTS, POINTS, LABELS), f64([0.3, 0.3, 0.4]))
    with pytest.raises(ValueError, match="labels"):
        class_shares(POINTS, POINTS, LABELS[:3])
    with pytest.raises(ValueError, match="covariance"):
        spread(POINTS, torch.eye(3))
