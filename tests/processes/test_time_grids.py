"""Time grids: strictly monotone, inside the interval, at its ends; else refused in a sentence."""

import math

import pytest
import torch

import sdeflow as sf
from sdeflow.processes import Cosine, SubVP, karras_times, log_snr_times, uniform_times
from tests.problems import close, f64

NEAR_ONE = [1 - 1e-7, 1 - 1e-9, 1 - 1e-12]


def falls_through(process: sf.processes.Process, times: torch.Tensor) -> bool:
    """Strictly, from t_max to t_min."""
    ends = (float(times[0]), float(times[-1])) == (process.t_max, process.t_min)
    return ends and bool((times.diff() < 0).all())


@pytest.mark.parametrize("grid", [log_snr_times, karras_times])
@pytest.mark.parametrize("t_max", NEAR_ONE)
@pytest.mark.parametrize("kind", [Cosine, sf.Linear])
@pytest.mark.parametrize("steps", [1, 50, 1000])
def test_grids_stay_inside_an_interval_that_ends_near_one(kind, t_max, grid, steps: int) -> None:
    """Where alpha falls to 1 - t_max: the times lay beyond t_max, or did not move."""
    process = kind(t_max=t_max)
    assert falls_through(process, grid(process, steps))


@pytest.mark.parametrize("t_max", NEAR_ONE)
def test_cosine_keeps_its_digits_near_one(t_max: float) -> None:
    """alpha = sin(pi / 2 (1 - t) / (1 + s)) / cos u_0, which is linear in 1 - t there."""
    process = Cosine(t_max=t_max)
    left = math.pi / 2 * (1 - t_max) / (1 + process.s)
    start = math.pi / 2 * process.s / (1 + process.s)
    assert float(process(t_max).alpha) == pytest.approx(left / math.cos(start), rel=1e-12, abs=0)
    rho = process.noise_level(t_max)
    assert float(process.time_of(rho)) == pytest.approx(t_max, rel=1e-15)


def test_forward_of_cosine_near_one_ends_normal() -> None:
    """1.39 for t_max = 1, where 22 of 50 steps had no length; 3.6e7 for 1 - 1e-9."""
    process = Cosine(t_max=1 - 1e-9)
    x = torch.zeros(4000, 1, dtype=torch.float64)
    end = sf.SDESolver("heun", 400).solve(sf.forward(process), x).x[-1]
    assert float(end.std()) == pytest.approx(1.0, abs=0.05)
    with pytest.raises(ValueError, match="alpha must be positive"):
        Cosine(t_max=1.0)


@pytest.mark.parametrize("zero", [sf.EDM(t_min=0.0), sf.Linear(t_min=0.0), SubVP(t_min=0.0)])
def test_grids_reach_zero_noise(zero: sf.processes.Process) -> None:
    """They were NaN. Log SNR is infinite there, so the SDEs' own grid is that of Karras."""
    field = sf.ExactField(zero, sf.GaussianMixture.isotropic(f64([[0.5]]), 0.4))
    x = zero.prior(2000, 1, 0, torch.float64)
    assert falls_through(zero, karras_times(zero, 40))
    for sde in (sf.reverse(field), sf.reverse(field, 0.0), sf.ancestral(field)):
        assert torch.equal(sde.times(9), karras_times(zero, 9))
    c = zero(zero.t_max)
    runs = [
        sf.SDESolver("euler", 60).solve(sf.reverse(field), x),
        sf.ODESolver("heun2", 30).solve(sf.sdes.comoving(field), x / c.alpha),
        sf.ODESolver("dopri5").solve(sf.reverse(field, 0.0), x),
    ]
    for path in runs:
        assert float(path.x[-1].std()) == pytest.approx(0.4, abs=0.04)
    data = field.sample(2000, 1).double()
    end = sf.SDESolver("heun", 60).solve(sf.forward(zero), data).x[-1]
    assert float(end.std()) == pytest.approx(math.hypot(0.4 * c.alpha, c.sigma), rel=0.05)


@pytest.mark.parametrize("zero", [sf.EDM(t_min=0.0), sf.Linear(t_min=0.0), SubVP(t_min=0.0)])
def test_log_snr_is_refused_where_it_is_infinite(zero: sf.processes.Process) -> None:
    with pytest.raises(ValueError, match="where sigma is 0; use karras_times"):
        log_snr_times(zero, 4)
    with pytest.raises(ValueError, match="log SNR is infinite at t_min = 0"):
        sf.training.uniform_log_snr(zero, f64([0.5]))


def test_grids_that_float64_does_not_hold_are_refused() -> None:
    for grid in (
        lambda: karras_times(sf.Linear(t_max=1 - 1e-14), 1000),
        lambda: log_snr_times(sf.Linear(t_max=1 - 1e-15), 1000),
        lambda: uniform_times(1.0, 1.0 + 1e-15, 50),
        lambda: uniform_times(1.0, 1.0, 5),
    ):
        with pytest.raises(ValueError, match="some would have no length; take fewer steps"):
            grid()


def test_levels_of_the_brownian_frame_are_uniform_in_log_snr(process) -> None:
    field = sf.ExactField(process, sf.GaussianMixture.isotropic(f64([[0.5]]), 0.4))
    levels = sf.sdes.comoving(field).times(12)
    assert close(levels, process.noise_level(log_snr_times(process, 12)), 1e-9)
    assert (levels[0], levels[-1]) == tuple(
        process.noise_level(f64([process.t_max, process.t_min]))
    )


@pytest.mark.parametrize("grid", [log_snr_times, karras_times])
@pytest.mark.parametrize("wrong", [sf.VP, None, "VP"])
def test_grids_refuse_what_is_no_process(grid, wrong) -> None:
    with pytest.raises(TypeError, match="process must be a Process, got"):
        grid(wrong, 5)
    with pytest.raises(TypeError, match="t_start must be a number"):
        uniform_times("0", 1.0, 5)  # type: ignore[arg-type]
