"""Noise levels as times of every process, and what is read off a curve over them."""

import math

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow.analysis import Curve, NoiseLevel
from tests.problems import f64

RHO = torch.logspace(-2, 1, 256, dtype=torch.float64)


def test_noise_level_and_time_are_inverse_for_every_process(process: sf.processes.Process) -> None:
    for t in np.linspace(process.t_min, process.t_max, 7):
        level = NoiseLevel.of(process, t)
        assert level.t(process) == pytest.approx(t, rel=1e-8)
        c = process(f64(t))
        assert level.log_snr == pytest.approx(float(process.log_snr(f64(t))), abs=1e-10)
        assert level.rho == pytest.approx(float(c.sigma / c.alpha), rel=1e-12)


@pytest.mark.parametrize("rho", [0.02, 0.1585, 1.0, 8.0])
def test_named_times_are_those_of_processes(rho: float) -> None:
    level = NoiseLevel(rho)
    lecture_time = (math.log10(rho) + 2) / 3  # of the diffusion lecture: rho = 10^(3 t - 2)
    assert lecture_time == pytest.approx(level.t(sf.VE()), rel=1e-12)
    assert level.flow_time == pytest.approx(level.t(sf.Linear()), rel=1e-12)
    assert level.alpha_bar == pytest.approx(
        float(sf.VP()(f64(level.t(sf.VP()))).alpha ** 2), rel=1e-9
    )
    # dx = -x dt + sqrt(2) dW has mean e^-t x_0 and variance 1 - e^-2t.
    left = math.exp(-level.ou_time)
    assert math.sqrt(1 - left**2) / left == pytest.approx(rho, rel=1e-12)


def test_a_level_outside_of_the_process_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        NoiseLevel(1e-6).t(sf.VE())
    with pytest.raises(ValueError, match="rho"):
        NoiseLevel(0.0)


@pytest.mark.parametrize("flip", [False, True])
def test_peak_and_crossing_are_interpolated_between_levels(flip: bool) -> None:
    rho = torch.logspace(-2, 1, 40, dtype=torch.float64)
    rho = rho.flip(0) if flip else rho
    u = torch.log(rho)
    assert Curve(rho, -((u + 1.3) ** 2)).peak().rho == pytest.approx(math.exp(-1.3), rel=1e-10)
    line = Curve(rho, 2 * u + 1)
    assert line.crossing(0.3).rho == pytest.approx(math.exp(-0.35), rel=1e-10)
    # Of two crossings, the one at the larger noise.
    twice = Curve(rho, (u + 1) * (u + 2))
    assert twice.crossing(0.0).rho == pytest.approx(math.exp(-1), rel=1e-2)


def test_bad_curves_and_missing_features_are_refused() -> None:
    curve = Curve(RHO, RHO)
    with pytest.raises(ValueError, match="take a wider range of levels"):
        curve.peak()
    with pytest.raises(ValueError, match="does not reach 11"):
        curve.crossing(11.0)
    with pytest.raises(ValueError, match="one value for each of its 2 levels"):
        Curve(f64([0.1, 0.2]), f64([1.0]))
    with pytest.raises(ValueError, match="rho must be positive"):
        Curve(f64([-0.1, 0.2]), f64([1.0, 2.0]))
    assert Curve([0.1, 0.4], [1.0, 3.0]).crossing(2.0).rho == pytest.approx(0.2)
    for t in (2.0, -1.0):
        with pytest.raises(ValueError, match="lies outside"):
            NoiseLevel.of(sf.VP(), t)


def test_levels_and_curves_print_themselves_in_words() -> None:
    assert repr(NoiseLevel(0.5)) == "noise level 0.5"
    assert repr(Curve(RHO, 2 * RHO)) == (
        "curve over 256 noise levels from 0.01 to 10, values from 0.02 to 20"
    )
