"""Schedulers of diffusers on our fields: DDIM at first order, and their own orders above."""

import numpy as np
import pytest
import torch

import sdeflow as sf
from benchmarks.solvers.contender import Counted
from benchmarks.solvers.contenders import FLOWS
from benchmarks.solvers.problems import known, modes
from sdeflow.integrations.diffusers import solver
from sdeflow.processes.time_grids import angle_times, log_snr_times
from tests.sdes.test_multistep import eight

diffusers = pytest.importorskip("diffusers", reason="its schedulers are compared with ours")
F64 = torch.float64
PLUS = {"algorithm_type": "dpmsolver++", "final_sigmas_type": "sigma_min"}
LAST = {"final_sigmas_type": "sigma_min"}
FIRST = {"disable_corrector": range(99), **LAST}


@pytest.mark.parametrize(
    "process", [sf.VP(), sf.EDM(t_min=0.01, t_max=20.0), sf.Linear()], ids=repr
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: diffusers.DPMSolverMultistepScheduler(solver_order=1, **PLUS),
        lambda: diffusers.UniPCMultistepScheduler(solver_order=1, **FIRST),
        lambda: diffusers.DEISMultistepScheduler(solver_order=1),
    ],
    ids=["DPM++", "UniPC", "DEIS"],
)
def test_first_order_is_ddim(make, process):
    """x_s = alpha_s x0_hat + sigma_s eps_hat, on any process and any times."""
    field = sf.ExactField(process, eight())
    x, times = process.prior(20, 2, 0, F64), log_snr_times(process, 7)
    ours = sf.ODESolver("euler", times=times).solve(sf.ancestral(field, 0.0), x).x[-1]
    theirs = solver(make())(sf.reverse(field, 0.0), x, times, 0)
    assert (ours - theirs).abs().max() < 1e-6 * ours.abs().max()


@pytest.mark.parametrize(
    ("make", "want"),
    [
        (lambda: diffusers.DPMSolverMultistepScheduler(solver_order=2, **PLUS), 2),
        (lambda: diffusers.UniPCMultistepScheduler(solver_order=2, **LAST), 2),
        (lambda: diffusers.DEISMultistepScheduler(solver_order=2), 2),
    ],
    ids=["DPM++ 2M", "UniPC 2", "DEIS 2"],
)
def test_order_is_that_of_the_peer(make, want):
    """A peer that loses digits or order here would lose by our mistake."""
    field = sf.ExactField(sf.EDM(t_min=0.05, t_max=20.0), eight())
    process = field.process
    x = process.prior(10, 2, 0, F64)
    truth = sf.ODESolver("euler", times=angle_times(process, 1000)).solve(
        sf.multistep(field, 0.0, 4, 4), x
    ).x[-1]  # fmt: skip
    calls, errors = np.array([40, 80, 160]), []
    for k in calls:
        end = solver(make())(sf.reverse(field, 0.0), x, angle_times(process, int(k)), 0)
        errors.append(float((end - truth).square().mean().sqrt()))
    assert -np.polyfit(np.log(calls), np.log(errors), 1)[0] > want - 0.4


@pytest.mark.parametrize("one", FLOWS, ids=lambda c: c.name)
def test_calls_are_counted_at_the_field(one):
    """Each contender asks as often as it may; diffusers' schedulers once a step."""
    problem = known("three", modes(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]), 0.3))
    asked = [0]
    field = Counted(problem.field.process, problem.field, asked)
    sde = one.sde(problem, field, 8)
    asked[0] = 0
    x = problem.start(11, 0)
    end = one.solve(sde, x, one.times(problem, sde, one.grids[0], 8), 0)
    assert end.shape == x.shape
    assert asked[0] == 8 * 11


def test_noise_of_a_stochastic_scheduler_has_a_seed():
    field = sf.ExactField(sf.EDM(t_min=0.01, t_max=20.0), eight())
    kind = {**PLUS, "algorithm_type": "sde-dpmsolver++"}
    solve = solver(diffusers.DPMSolverMultistepScheduler(solver_order=2, **kind))
    x, times = field.process.prior(9, 2, 0, F64), log_snr_times(field.process, 6)
    a, b, c = (solve(sf.reverse(field), x, times, seed) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("make", "kind", "says"),
    [
        (lambda: diffusers.DDPMScheduler(), TypeError, "sf.ancestral"),
        (
            lambda: diffusers.UniPCMultistepScheduler(prediction_type="v_prediction"),
            ValueError,
            "epsilon",
        ),
    ],
    ids=["DDPM", "v"],
)
def test_other_schedulers_are_refused_in_one_sentence(make, kind, says):
    with pytest.raises(kind, match=says):
        solver(make())
