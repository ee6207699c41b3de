"""Adaptive methods: the unit of x, the origin of x, trial stages, the number of steps."""

import math

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from tests.problems import lopsided, randn

F64 = torch.float64
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
TURN = torch.tensor([[0.0, -3.0], [3.0, 0.0]], dtype=F64)


def whirl(unit: float = 1.0, origin: float = 0.0) -> sf.SDE:
    """x' = sin(turned x), in units of `unit` about `origin`."""
    return sf.SDE(
        lambda x, t: unit * torch.sin((x - origin) / unit @ TURN.to(x.dtype)), None, 0.0, 3.0
    )


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
@pytest.mark.parametrize("unit", [2.0**-30, 2.0**30])
def test_unit_of_the_cloud_does_not_matter(method, unit):
    x, run = randn(50, 2), sf.ODESolver(method)
    one, other = run.solve(whirl(), x), run.solve(whirl(unit), x * unit)
    assert one.nfe == other.nfe
    assert torch.equal(one.x, other.x / unit)  # powers of two are exact


def test_unit_of_one_particle_does_not_matter():
    """Of the oscillator, from (1, 0) and from the origin under a force."""
    x = torch.tensor([[1.0, 0.0]], dtype=F64)
    ends = []
    for unit in (2.0**-30, 1.0, 2.0**30):

        def drift(x: Tensor, t: Tensor, unit: float = unit) -> Tensor:
            return torch.stack([x[:, 1], unit * torch.cos(2 * t) - x[:, 0]], 1)

        ends.append(
            [
                sf.ODESolver().solve(sf.SDE(drift, None, 0.0, 20.0), y * unit).x[-1] / unit
                for y in (x, 0 * x)
            ]
        )
    assert torch.equal(torch.stack(ends[0]), torch.stack(ends[1]))
    assert torch.equal(torch.stack(ends[0]), torch.stack(ends[2]))
    resonant = (math.cos(20) - math.cos(40)) / 3
    assert float(ends[1][1][0, 0]) == pytest.approx(resonant, abs=1e-3)


@pytest.mark.parametrize("origin", [300.0, 1e6])
def test_origin_of_the_cloud_does_not_matter(origin):
    x, run = randn(50, 2), sf.ODESolver()
    one, other = run.solve(whirl(), x), run.solve(whirl(1.0, origin), x + origin)
    assert (other.x[-1] - origin - one.x[-1]).abs().max() < 1e-3


def test_tolerance_of_ones_own_is_absolute():
    """1e-5 is nothing to a cloud of 1, and all to one of 1e-9."""
    run, x = sf.ODESolver(atol=1e-5), randn(50, 2)
    assert run.solve(whirl(1e-9), 1e-9 * x).nfe < run.solve(whirl(), x).nfe / 3
    assert repr(run) == "torchdiffeq dopri5, rtol 1e-05, atol 1e-05"
    assert repr(sf.ODESolver()).endswith("rtol 1e-05, atol the cloud's width times rtol")


@pytest.mark.parametrize("process", [sf.VP(), sf.EDM(), sf.Linear()], ids=repr)
def test_tolerance_follows_a_cloud_that_shrinks(process):
    """From sigma(t_max), 80 for EDM, to the width of the data: errors are relative to that."""
    flow = sf.reverse(sf.ExactField(process, lopsided()), 0.0)
    x = process.prior(30, 2, 0, F64)
    fine = sf.ODESolver("dopri8", rtol=1e-9).solve(flow, x).x[-1]
    assert (sf.ODESolver().solve(flow, x).x[-1] - fine).square().mean().sqrt() < 2e-4


def test_cloud_that_shrinks_to_a_point_costs_little():
    """To a rounding of its distance from the origin, which no tolerance can resolve."""
    for dtype in (F64, torch.float32):
        path = sf.ODESolver().solve(
            sf.SDE(lambda x, t: 3 * (1 - x), None, 0.0, 20.0), randn(50, 2).to(dtype)
        )
        assert path.nfe < 600
        assert (path.x[-1] - 1).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [F64, torch.float32, torch.float16, torch.bfloat16])
def test_cloud_at_rest_at_the_origin_is_moved(dtype):
    """x' = t^2 from 0, where neither x nor its drift has a size."""
    path = sf.ODESolver().solve(
        sf.SDE(lambda x, t: (t**2).expand_as(x), None, 0.0, 3.0), torch.zeros(2, 2, dtype=dtype)
    )
    assert path.x[-1].double() - 9 == pytest.approx(0, abs=40 * torch.finfo(dtype).eps)


def test_predictor_and_corrector_know_no_unit():
    """implicit_adams iterates to a tolerance, which was 1e-9 whatever the unit."""
    x, run = randn(9, 2), sf.ODESolver("implicit_adams", 300)
    one, other = run.solve(whirl(), x), run.solve(whirl(2.0**-40), x * 2.0**-40)
    assert one.nfe == other.nfe
    assert torch.equal(one.x, other.x * 2.0**40)


# ------------------------------------------------------------------------------------ trial stages


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("tolerances", [{}, {"atol": 1e-5}])
def test_trial_stage_outside_of_the_domain_is_rejected(method, tolerances):
    """x' = -sqrt(x): (1 - t / 2)^2, while trial stages fall below 0."""
    sde = sf.SDE(lambda x, t: -torch.sqrt(x), None, 0.0, 1.99)
    path = sf.ODESolver(method, **tolerances).solve(sde, torch.ones(5, 1, dtype=F64), save=5)
    assert path.x[:, 0, 0].tolist() == pytest.approx(((1 - path.t / 2) ** 2).tolist(), abs=2e-3)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_drift_without_a_value_on_the_path_is_refused_at_its_time(method):
    sde = sf.SDE(lambda x, t: -x * torch.sqrt(0.7 - t), None, 0.0, 1.0)
    with pytest.raises(sf.SdeflowError, match=r"in 5 of 5 particles.* t = 0\.7;") as caught:
        sf.ODESolver(method).solve(sde, randn(5, 1), save=[0.0, 0.3, 1.0])
    path = caught.value.path
    right = torch.exp(-(0.7**1.5 - (0.7 - path.t).clamp_min(0) ** 1.5) / 1.5)
    assert path.t.tolist() == pytest.approx([0.0, 0.3, 0.7])
    assert path.x[:, 0, 0].allclose(path.x[0, 0, 0] * right, rtol=1e-2)


def test_drift_without_a_value_at_the_start_is_refused():
    sde = sf.SDE(lambda x, t: torch.sqrt(x), None, 0.0, 1.0)
    x = torch.tensor([[1.0], [-1.0]], dtype=F64)
    with pytest.raises(sf.SdeflowError, match=r"in 1 of 2 .* particle 1, at t = 0;"):
        sf.ODESolver().solve(sde, x)


def test_max_steps_counts_the_whole_run():
    """However many states are saved."""
    sde, x = sf.SDE(lambda x, t: -3 * x, None, 0.0, 20.0), randn(5, 1)
    for save in (2, 41):
        with pytest.raises(sf.SdeflowError, match=r"max_steps = 7 .* raise max_steps") as caught:
            sf.ODESolver(max_steps=7).solve(sde, x, save)
        assert float(caught.value.path.t[-1]) < 2
    needed = (sf.ODESolver().solve(sde, x).nfe - 1) // 6
    assert sf.ODESolver(max_steps=needed).solve(sde, x, 41).status == "finished"
    with pytest.raises(sf.SdeflowError, match="max_steps"):
        sf.ODESolver(max_steps=needed - 1).solve(sde, x, 41)


def test_advice_fits_the_type_of_the_cloud():
    sde = sf.SDE(lambda x, t: x**2, None, 0.0, 2.0)
    with pytest.raises(sf.SdeflowError) as caught:
        sf.ODESolver().solve(sde, torch.ones(2, 1, dtype=F64))
    assert "float64" not in str(caught.value)


def test_assertion_of_the_users_own_is_his():
    def drift(x: Tensor, t: Tensor) -> Tensor:
        assert t < 0.5, "too late"
        return -x

    with pytest.raises(AssertionError, match="too late"):
        sf.ODESolver().solve(sf.SDE(drift, None, 0.0, 1.0), randn(5, 1))
