"""The rows of docs/conventions.md: other packages' numbers equal ours, to rounding.

flow_matching and torchcfm are no dependencies: their rows are compared with the formulas of their
documentation. k-diffusion is compared where it is installed.
"""

import numpy as np
import pytest
import torch

import sdeflow as sf
from benchmarks.solvers.peers import k_diffusion
from sdeflow.fields import Prediction
from sdeflow.integrations import DDPM, Denoiser, FlowMatching

F64 = torch.float64
ROWS = {"epsilon": Prediction.NOISE, "sample": Prediction.DATA, "v_prediction": Prediction.V}
diffusers = pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(16, 3, 4, 4, generator=draw, dtype=F64) for _ in range(2))
    return x0, eps


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("kind", ["DDPMScheduler", "DDIMScheduler", "PNDMScheduler"])
def test_a_table_of_diffusers_noises_as_here(kind: str, schedule: str, pair) -> None:
    """Timestep k is t = k + 1, and x_k = alpha x_0 + sigma eps."""
    scheduler = getattr(diffusers, kind)(beta_schedule=schedule)
    process = DDPM.from_scheduler(scheduler).process
    x0, eps = pair
    assert process.t_max == scheduler.config.num_train_timesteps == 1000
    for k in (0, 1, 500, 999):
        c = process(torch.tensor(k + 1.0, dtype=F64))
        theirs = scheduler.add_noise(x0, eps, torch.full((len(x0),), k))
        assert torch.allclose(c.alpha * x0 + c.sigma * eps, theirs, atol=2e-7)


@pytest.mark.parametrize("kind", ROWS)
def test_the_rows_of_diffusers_are_ours(kind: str, pair) -> None:
    """Given what the network says, DDIM's step to clean data finds the x_0 that our row means."""
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=False)
    scheduler.set_timesteps(1000)
    convention = DDPM.from_scheduler(scheduler)
    x0, eps = pair
    c = convention.process(torch.tensor(501.0, dtype=F64))
    a, b = convention.predicts.row(c)
    said = scheduler.step(a * x0 + b * eps, 500, c.alpha * x0 + c.sigma * eps)
    assert int(convention.time(torch.tensor(501.0))) == 500
    assert convention.predicts is ROWS[kind]
    assert torch.allclose(said.pred_original_sample, x0, atol=1e-5)


def test_euler_of_diffusers_holds_x_over_alpha(pair) -> None:
    """And gives the network x, by scale_model_input."""
    scheduler = diffusers.EulerDiscreteScheduler()
    scheduler.set_timesteps(20)
    process = DDPM.from_scheduler(scheduler).process
    x0, eps = pair
    for k, sigma in zip(scheduler.timesteps[:3], scheduler.sigmas[:3], strict=True):
        c = process(k.to(F64) + 1)
        assert float(c.sigma / c.alpha) == pytest.approx(float(sigma), rel=1e-4)
        held = (c.alpha * x0 + c.sigma * eps) / c.alpha
        seen = scheduler.scale_model_input(held, k)
        assert torch.allclose(seen, c.alpha * held, rtol=1e-4, atol=1e-4)
        scheduler.step(eps, k, held)


def test_flow_matching_of_diffusers_is_linear_at_a_thousandth(pair) -> None:
    """Timestep 1000 s: x = (1 - s) x_0 + s eps; the network gives eps - x_0, our velocity."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(10)
    convention = FlowMatching(data_at=0, scale=1000)
    x0, eps = pair
    k = scheduler.timesteps[4:5]
    t = k.to(F64) / 1000
    assert torch.equal(convention.time(t).float(), k)
    c = convention.process(t)
    theirs = scheduler.scale_noise(x0, k.expand(len(x0)), eps)
    assert torch.allclose(c.alpha * x0 + c.sigma * eps, theirs, atol=1e-6)
    assert np.diff(scheduler.timesteps.numpy()).max() < 0
    a, b = convention.predicts.row(c)
    assert convention.factor * float(a) == pytest.approx(-1)
    assert convention.factor * float(b) == pytest.approx(1)
    scheduler.set_begin_index(4)
    stepped = scheduler.step(eps - x0, k[0], theirs).prev_sample
    s = float(scheduler.sigmas[5])
    assert torch.allclose(stepped, (1 - s) * x0 + s * eps, atol=1e-5)


def test_lipman_torchcfm_and_flow_matching_run_the_other_way(pair) -> None:
    """x_s = s x_1 + (1 - s) x_0 with x_1 data, x_0 noise, velocity x_1 - x_0."""
    convention = FlowMatching(data_at=1)
    data, noise = pair
    t = torch.tensor(0.3, dtype=F64)
    s = convention.time(t)
    assert float(s) == pytest.approx(0.7)
    c = convention.process(t)
    assert torch.allclose(c.alpha * data + c.sigma * noise, s * data + (1 - s) * noise)
    a, b = convention.predicts.row(c)
    assert torch.allclose(convention.factor * (a * data + b * noise), data - noise)


def test_edm_s_time_is_its_noise_level(pair) -> None:
    """And Karras' grid is k-diffusion's, without its last level 0."""
    process = Denoiser().process
    assert (process.t_min, process.t_max) == (0.002, 80.0)
    c = process(torch.tensor(3.0, dtype=F64))
    assert (float(c.alpha), float(c.sigma)) == (1.0, 3.0)
    if k_diffusion.SKIPPED:
        pytest.skip(k_diffusion.SKIPPED)
    theirs = k_diffusion.sampling.get_sigmas_karras(18, 0.002, 80.0)
    ours = sf.processes.karras_times(process, 17)
    assert float(theirs[-1]) == 0
    assert torch.allclose(theirs[:-1].double(), ours, rtol=1e-4)


def test_song_s_processes_have_his_times() -> None:
    """VP at t = 0.5: ln alpha = -t^2 (b1 - b0) / 4 - t b0 / 2."""
    c = sf.VP()(torch.tensor(0.5, dtype=F64))
    assert float(c.alpha) == pytest.approx(np.exp(-0.25 * 19.9 / 4 - 0.5 * 0.1 / 2))
    c = sf.VE()(torch.tensor(0.5, dtype=F64))
    assert float(c.sigma) == pytest.approx((0.01 * 10.0) ** 0.5)


def test_guidance_is_off_at_one_here_and_at_zero_in_ho_and_salimans() -> None:
    assert sf.fields.scale_from_strength(0.0) == 1.0
