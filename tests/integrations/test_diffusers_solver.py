"""Schedulers of diffusers on our fields: DDIM at first order, and their own orders above."""

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow.integrations.diffusers import solver
from sdeflow.processes.time_grids import angle_times, karras_times, log_snr_times
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


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (lambda: diffusers.DDIMScheduler(clip_sample=False), "euler"),
        (lambda: diffusers.EulerDiscreteScheduler(), "euler"),
        (lambda: diffusers.DPMSolverSinglestepScheduler(solver_order=1, **PLUS), "euler"),
        (lambda: diffusers.HeunDiscreteScheduler(), "heun2"),
    ],
    ids=["DDIM", "Euler", "DPM++ 1S", "Heun"],
)
def test_schedulers_in_other_coordinates_are_our_methods(make, method):
    """Euler and Heun in x / alpha over sigma / alpha; the Euler scheduler in float32."""
    process = sf.EDM(t_min=0.01, t_max=20.0)
    field = sf.ExactField(process, eight())
    x, times = process.prior(20, 2, 0, F64), log_snr_times(process, 7)
    ours = sf.ODESolver(method, times=times).solve(sf.sdes.comoving(field), x).x[-1]
    theirs = solver(make())(sf.reverse(field), x, times, 0)
    assert (ours - theirs).abs().max() < 2e-7 * x.abs().max()


@pytest.mark.parametrize(
    "make",
    [
        lambda: diffusers.DDPMScheduler(clip_sample=False),
        lambda: diffusers.EulerAncestralDiscreteScheduler(),
        lambda: diffusers.HeunDiscreteScheduler(),
        lambda: diffusers.KDPM2DiscreteScheduler(),
        lambda: diffusers.IPNDMScheduler(),
        lambda: diffusers.FlowMatchEulerDiscreteScheduler(),
        lambda: diffusers.DPMSolverSinglestepScheduler(
            solver_order=3, lower_order_final=True, **PLUS
        ),
    ],
    ids=["DDPM", "ancestral", "Heun", "KDPM2", "IPNDM", "flow", "DPM++ 3S"],
)
def test_process_does_not_matter_to_a_scheduler(make):
    """At equal levels the cloud x / alpha is the same under every process."""
    edm, vp = sf.EDM(t_min=0.05, t_max=20.0), sf.VP(t_min=1e-4)
    levels = edm.noise_level(log_snr_times(edm, 7))
    y, ends = edm.prior(20, 2, 0, F64), []
    for process in (edm, vp):
        times = process.time_of(levels)
        alpha = process(times).alpha
        field = sf.ExactField(process, eight())
        end = solver(make())(sf.reverse(field), y * float(alpha[0]), times, 3)
        ends.append(end / float(alpha[-1]))
    assert (ends[0] - ends[1]).abs().max() < 2e-6


def test_ddpm_is_the_ancestral_euler_scheduler():
    """From the same normals, to the last level and not to clean data."""
    process = sf.EDM(t_min=0.05, t_max=20.0)
    field, times = sf.ExactField(process, eight()), log_snr_times(process, 7)
    x = process.prior(20, 2, 0, F64)
    a, b = (
        solver(make)(sf.reverse(field), x, times, 1)
        for make in (
            diffusers.DDPMScheduler(clip_sample=False),
            diffusers.EulerAncestralDiscreteScheduler(),
        )
    )
    assert (a - b).abs().max() < 2e-7 * x.abs().max()


def test_sa_solver_draws_noise_in_its_window():
    """Its default: noise between its timesteps 200 and 800, the probability flow elsewhere."""
    field = sf.ExactField(sf.EDM(t_min=0.01, t_max=20.0), eight())
    x, process = field.process.prior(9, 2, 0, F64), field.process
    sa = solver(diffusers.SASolverScheduler())
    for levels, noisy in (([20.0, 10.0, 5.0], True), ([0.2, 0.1, 0.05, 0.01], False)):
        times = process.time_of(torch.tensor(levels, dtype=F64))
        a, b = (sa(sf.reverse(field), x, times, seed) for seed in (0, 1))
        assert torch.equal(a, b) is not noisy


def test_last_level_of_zero_is_refused_where_a_scheduler_divides_by_it():
    process = sf.EDM(t_min=0.0, t_max=20.0)
    field, times = sf.ExactField(process, eight()), karras_times(process, 5)
    x = process.prior(5, 2, 0, F64)
    with pytest.raises(ValueError, match="sigma is positive"):
        solver(diffusers.HeunDiscreteScheduler())(sf.reverse(field), x, times, 0)
    ddim = solver(diffusers.DDIMScheduler(clip_sample=False))
    assert ddim(sf.reverse(field), x, times, 0).isfinite().all()


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
        (lambda: diffusers.PNDMScheduler(), TypeError, "use one of"),
        (lambda: diffusers.DDPMScheduler(), ValueError, "clip_sample"),
        (
            lambda: diffusers.DDPMScheduler(clip_sample=False, variance_type="learned"),
            ValueError,
            "fixed_small",
        ),
        (
            lambda: diffusers.UniPCMultistepScheduler(prediction_type="v_prediction"),
            ValueError,
            "epsilon",
        ),
    ],
    ids=["PNDM", "clipped", "learned variance", "v"],
)
def test_other_schedulers_are_refused_in_one_sentence(make, kind, says):
    with pytest.raises(kind, match=says):
        solver(make())
