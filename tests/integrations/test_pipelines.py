"""A pipeline's chain and ours are one chain; what is no pipeline is refused in one sentence.

The chains are compared at every state, relative to the largest coordinate of that state, or to 1
where that is smaller. Both compute in float32.
"""

import ast
import copy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow import integrations
from sdeflow.fields import Prediction
from sdeflow.integrations import from_diffusers
from sdeflow.solvers.brownian import Brownian
from tests.refusals import faults

reason = "pipelines are those of diffusers and transformers: pip install 'sdeflow[images]'"
diffusers = pytest.importorskip("diffusers", reason=reason)
transformers = pytest.importorskip("transformers", reason=reason)
tiny = pytest.importorskip("tests.integrations.tiny_pipelines", reason=reason)
ddpm = pytest.importorskip("diffusers.schedulers.scheduling_ddpm", reason=reason)

CLOSE = 5e-6
SIZE = {"height": 16, "width": 16}
CLIP = {"height": 32, "width": 32, "frames": 9}
SLOW = pytest.mark.slow


def chain(pipe: object, field: sf.LearnedField, x: Tensor, **call: object) -> Tensor:
    """The states (K, n, d) of the pipeline's own chain from x."""
    seen = []

    def keep(_: object, k: int, t: object, given: dict) -> dict:
        seen.append(given["latents"].flatten(1).clone())
        return given

    start = x.reshape(len(x), *field.shape).clone()
    pipe(**call, latents=start, output_type="latent", callback_on_step_end=keep)
    return torch.stack(seen)


def apart(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    size = theirs.abs().amax((1, 2)).clamp_min(1)
    return float(((ours - theirs).abs().amax((1, 2)) / size).max())


class Rows:
    """Counts the calls of a module, and keeps its outputs."""

    def __init__(self, module: nn.Module) -> None:
        self.calls: list[int] = []
        self.hook = module.register_forward_hook(self._count)

    def _count(self, module: nn.Module, given: object, out: tuple) -> None:
        self.calls.append(len(out[0]))

    def take(self) -> list[int]:
        taken, self.calls = self.calls, []
        return taken


def painted(steps: int, made: object, scale: float, eta: float, monkeypatch) -> tuple:
    """Chains of Stable Diffusion, theirs and ours, and the rows of each call of the UNet."""
    pipe, n = tiny.stable_diffusion(made), 2
    field, times = from_diffusers(pipe, tiny.PROMPT, tiny.NEGATIVE, **SIZE, steps=steps)
    x, rows = field.start(n, 7), Rows(pipe.unet)
    noise = Brownian(3, n, field.dim, times=times)
    drawn = iter(noise(k, k + 1).reshape(n, *field.shape) for k in range(steps))
    monkeypatch.setattr(ddpm, "randn_tensor", lambda *_, **__: next(drawn))
    theirs = chain(
        pipe, field, x, prompt=[tiny.PROMPT] * n, negative_prompt=[tiny.NEGATIVE] * n, **SIZE,
        num_inference_steps=steps, guidance_scale=scale,
    )  # fmt: skip
    asked = rows.take()
    wanted = sf.GuidedField(field.given(0), field, scale)
    solver = sf.SDESolver("euler", times=times, seed=3)
    ours = solver.solve(sf.ancestral(wanted, eta), x, save=len(times)).x[1:]
    rows.hook.remove()
    return ours, theirs, rows.calls, asked


@pytest.mark.parametrize("steps", [10, pytest.param(50, marks=SLOW)])
@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("kind", ["DDIM", "DDPM"])
def test_stable_diffusion_passes_the_same_states(kind, predicts, steps, monkeypatch):
    """Prompt, negative prompt, scale 7.5; DDIM as Stable Diffusion ships it, and DDPM."""
    own = tiny.DDIM if kind == "DDIM" else {**tiny.PLAIN, "timestep_spacing": "leading"}
    made = tiny.scheduler(kind, prediction_type=predicts, **own)
    ours, theirs, calls, asked = painted(steps, made, 7.5, float(kind == "DDPM"), monkeypatch)
    assert apart(ours, theirs) < CLOSE
    assert calls == asked == [4] * steps


def test_guidance_and_prompts_are_felt(monkeypatch):
    """Or parity would hold of a network that does not read its prompts."""
    made = tiny.scheduler("DDIM", **tiny.DDIM)
    guided, plain = (painted(10, made, w, 0.0, monkeypatch)[0] for w in (7.5, 1.0))
    assert apart(guided, plain) > 0.1


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("DDIM", {"timestep_spacing": "trailing", **tiny.PLAIN}),
        ("EulerDiscrete", {"timestep_spacing": "trailing"}),
        ("EulerDiscrete", {"use_karras_sigmas": True}),
        ("DPMSolverMultistep", {"solver_order": 1}),
        ("UniPCMultistep", {"solver_order": 1, "disable_corrector": list(range(99))}),
    ],
)
def test_schedulers_of_first_order_are_ddim_on_their_own_times(name, config, monkeypatch):
    """Each ends at clean data, t = 0; Euler's states are those of x / alpha."""
    made = tiny.scheduler(name, **config)
    pipe, n = tiny.stable_diffusion(made), 2
    field, times = from_diffusers(pipe, tiny.PROMPT, tiny.NEGATIVE, **SIZE, steps=10)
    assert times[-1] == 0
    x = field.start(n, 7)
    first = field.process(times[0])
    lab = float((first.alpha if name == "EulerDiscrete" else 1.0) * made.init_noise_sigma)
    theirs = chain(
        pipe, field, x / lab, prompt=[tiny.PROMPT] * n, negative_prompt=[tiny.NEGATIVE] * n,
        num_inference_steps=10, guidance_scale=7.5, **SIZE,
    )[-1:]  # fmt: skip
    wanted = sf.GuidedField(field.given(0), field, 7.5)
    ours = sf.ODESolver("euler", times=times).solve(sf.ancestral(wanted, 0.0), x).x[-1:]
    assert apart(ours, theirs) < (3e-3 if "Euler" not in name and config else 1e-4)


@pytest.mark.parametrize(
    ("shift", "scale", "steps"),
    [
        *((1.0, 6.0, 10), (3.0, 6.0, 10), (8.0, 6.0, 10), (8.0, 1.0, 10)),
        pytest.param(8.0, 6.0, 50, marks=SLOW),
    ],
)
def test_wan_passes_the_same_states(shift, scale, steps):
    """FlowMatchEuler; it calls its network twice a step, we once on twice the rows."""
    pipe = tiny.wan(tiny.scheduler("FlowMatchEulerDiscrete", shift=shift))
    good, bad = tiny.embeddings(2).split(1)
    field, times = from_diffusers(pipe, good, bad, **CLIP, steps=steps)
    x, rows = field.start(1, 7), Rows(pipe.transformer)
    theirs = chain(
        pipe, field, x, prompt_embeds=good, negative_prompt_embeds=bad, height=32, width=32,
        num_frames=9, num_inference_steps=steps, guidance_scale=scale,
    )  # fmt: skip
    asked = rows.take()
    flow = sf.reverse(sf.GuidedField(field.given(0), field, scale), 0.0)
    ours = sf.ODESolver("euler", times=times).solve(flow, x, save=steps + 1).x[1:]
    rows.hook.remove()
    assert apart(ours, theirs) < CLOSE
    guided = scale > 1
    assert (asked, rows.calls) == ([1] * steps * (1 + guided), [1 + guided] * steps)


def test_wan_is_told_the_whole_timesteps_of_unipc():
    """WAN ships UniPC, whose int64 timesteps are no thousandth of its levels."""
    made = tiny.scheduler(
        "UniPCMultistep", prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0,
        solver_order=1, disable_corrector=list(range(99)),
    )  # fmt: skip
    pipe = tiny.wan(made)
    good, bad = tiny.embeddings(2).split(1)
    field, times = from_diffusers(pipe, good, bad, **CLIP, steps=10)
    x = field.start(1, 7)
    theirs = chain(
        pipe, field, x, prompt_embeds=good, negative_prompt_embeds=bad, height=32, width=32,
        num_frames=9, num_inference_steps=10, guidance_scale=5.0,
    )  # fmt: skip
    flow = sf.ancestral(sf.GuidedField(field.given(0), field, 5.0), 0.0)
    ours = sf.ODESolver("euler", times=times).solve(flow, x, save=11).x[1:]
    assert apart(ours, theirs) < CLOSE


def solvers(times: Tensor) -> dict:
    """Ways from the start to clean latents, none of them the pipeline's own."""
    ode, noisy = sf.ODESolver, sf.SDESolver("euler", times=times, seed=0)
    return {
        "heun2": lambda f, x: ode("heun2", times=times).solve(sf.reverse(f, 0.0), x),
        "dopri5": lambda f, x: ode("dopri5", rtol=1e-2, atol=1e-2).solve(sf.reverse(f, 0.0), x),
        "multistep": lambda f, x: ode("euler", times=times).solve(sf.multistep(f, 0.0), x),
        "own grid": lambda f, x: ode("euler", steps=12).solve(sf.multistep(f, 0.0), x),
        "eta = 1": lambda f, x: noisy.solve(sf.ancestral(f), x),
        "eta = 1, multistep": lambda f, x: noisy.solve(sf.multistep(f, 1.0), x),
    }  # fmt: skip


@pytest.mark.parametrize("name", solvers(torch.tensor([1.0, 0.0])))
@pytest.mark.filterwarnings("ignore:the steps of this guided flow:UserWarning")
def test_other_samplers_run_on_the_same_field(name):
    """A flow ends where the pipeline ends, up to its steps; noise leaves the size."""
    made = tiny.scheduler("DDIM", prediction_type="v_prediction", **tiny.PLAIN)
    pipe = tiny.stable_diffusion(made)
    field, times = from_diffusers(pipe, tiny.PROMPT, tiny.NEGATIVE, **SIZE, steps=20)
    wanted, x = sf.GuidedField(field.given(0), field, 2.0), field.start(2, 0)
    ends = sf.ODESolver("euler", times=times).solve(sf.ancestral(wanted, 0.0), x).x[-1]
    path = solvers(times)[name](wanted, x)
    size = ends.square().mean().sqrt()
    off = (path.x[-1] - ends).square().mean().sqrt() / size
    assert path.t[-1] == 0
    assert off < 0.35 if "eta" not in name else 0.5 < path.x[-1].std() / ends.std() < 2


# ---------------------------------------------------------------- what the field gives, and takes


@pytest.fixture(scope="module")
def made() -> tuple:
    """A pipeline, its field of two prompts, and its times."""
    pipe = tiny.stable_diffusion()
    field, times = from_diffusers(pipe, [tiny.PROMPT, "a horse"], tiny.NEGATIVE, **SIZE, steps=10)
    return pipe, field, times


def test_field_is_the_network_of_the_pipeline(made):
    """Row by row, label by label; a row does not depend on the others."""
    pipe, field, times = made
    x, t = field.start(3, 0), float(times[4])
    texts = [tiny.PROMPT, "a horse", tiny.NEGATIVE]
    each = field.given(torch.tensor([1, 0, 2]))
    out = each.predict(Prediction.NOISE, x, t)
    for k, label in enumerate((1, 0, 2)):
        embedded = pipe.encode_prompt(texts[label], "cpu", 1, False)[0]
        z = x[k].reshape(1, 4, 8, 8)
        with torch.no_grad():
            alone = pipe.unet(z, t - 1, encoder_hidden_states=embedded).sample.flatten(1)
        assert torch.allclose(out[k : k + 1], alone, atol=2e-5)
    assert torch.equal(field.noise(x, t), field.given(2).noise(x, t))
    assert field.labels == 2
    assert field.shape == (4, 8, 8)
    assert field.dim == 256


def test_negative_prompts_are_further_prompts(made):
    """Guidance away from prompt 1 is that of a field whose negative prompt it is."""
    pipe, field, times = made
    other, _ = from_diffusers(pipe, tiny.PROMPT, "a horse", **SIZE, steps=10)
    x, t = field.start(2, 0), float(times[4])
    one = sf.GuidedField(field.given(0), field.given(1), 5.0).noise(x, t)
    two = sf.GuidedField(other.given(0), other, 5.0).noise(x, t)
    assert torch.allclose(one, two, atol=1e-4)


def test_start_is_unit_noise_that_does_not_depend_on_n(made):
    _, field, _ = made
    x = field.start(400, 5)
    assert torch.equal(x[:3], field.start(3, 5))
    top = float(field.process(field.process.t_max).sigma)
    assert torch.allclose(x * top, field.process.prior(400, 256, 5), rtol=1e-6)
    assert field.start(2, 5, torch.float64).dtype == torch.float64


def test_pictures_are_those_of_the_pipeline(made):
    pipe, field, times = made
    x = field.start(2, 1)
    call = {"prompt": [tiny.PROMPT] * 2, "guidance_scale": 1.0, "num_inference_steps": 10}
    start = x.reshape(2, 4, 8, 8)
    theirs = pipe(**call, **SIZE, latents=start.clone(), output_type="np").images
    ddim = sf.ancestral(field.given(0), 0.0)
    path = sf.ODESolver("euler", times=times).solve(ddim, x)
    ours = field.images(path)
    assert ours.shape == (2, 16, 16, 3)
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.array_equal(field.images(path.x[-1]), ours)


def test_safety_checker_of_the_pipeline_is_asked(made):
    pipe, field, _ = made
    flagged = copy.copy(pipe)
    flagged.run_safety_checker = lambda x, device, kind: (torch.zeros_like(x), [True] * len(x))
    checked, _ = from_diffusers(flagged, "a horse", **SIZE, steps=10)
    assert checked.images(field.start(2, 0)).max() == 0


def test_videos_are_those_of_the_pipeline():
    pipe = tiny.wan()
    good, bad = tiny.embeddings(2).split(1)
    field, times = from_diffusers(pipe, good, bad, **CLIP, steps=4)
    x = field.start(1, 1)
    call = {"prompt_embeds": good, "guidance_scale": 1.0, "num_inference_steps": 4}
    size = {"height": 32, "width": 32, "num_frames": 9}
    start = x.reshape(1, *field.shape)
    theirs = pipe(**call, **size, latents=start.clone(), output_type="np").frames
    path = sf.ODESolver("euler", times=times).solve(sf.reverse(field.given(0), 0.0), x)
    ours = field.images(path)
    assert ours.shape == (1, 9, 32, 32, 3)
    assert np.abs(ours - theirs).max() < 1e-5


@pytest.mark.parametrize("kind", ["pictures", "videos"])
def test_latents_are_the_encoder_s(kind, made):
    if kind == "pictures":
        pipe, field, _ = made
        shape = 2, 16, 16, 3
    else:
        pipe = tiny.wan()
        field, _ = from_diffusers(pipe, *tiny.embeddings(2).split(1), **CLIP, steps=4)
        shape = 1, 9, 32, 32, 3
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    x = field.latents(images)
    channels = 2 * torch.from_numpy(images).movedim(-1, 1) - 1
    with torch.no_grad():
        z = pipe.vae.encode(channels).latent_dist.mode()
    config = pipe.vae.config
    if kind == "pictures":
        z = z * config.scaling_factor
    else:
        mean, std = (
            torch.tensor(config[f"latents_{k}"])[:, None, None, None] for k in ("mean", "std")
        )
        z = (z - mean) / std
    assert torch.allclose(x, z.flatten(1), atol=1e-6)


def test_a_picture_may_be_the_start(made):
    """Image to image: noised to a later time, and denoised from there."""
    _, field, times = made
    picture = np.random.default_rng(0).random((1, 16, 16, 3))
    x0, left = field.latents(picture), times[times <= 302]
    x = field.process.perturb(x0, left[0], field.start(1, 0))
    end = sf.ODESolver("euler", times=left).solve(sf.ancestral(field.given(0), 0.0), x).x[-1]
    assert field.images(end).shape == picture.shape


def test_prompts_of_wan_have_as_many_tokens_as_its_pipeline_gives_them():
    """512, where its `encode_prompt` has 226 by default."""
    pipe = tiny.wan_that_reads()
    field, _ = from_diffusers(pipe, ["a tree"], "a horse", **CLIP, steps=4)
    seen: list[Tensor] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda m, a, given: seen.append(given["encoder_hidden_states"]), with_kwargs=True
    )
    pipe("a tree", "a horse", 32, 32, 9, num_inference_steps=1, output_type="latent")
    hook.remove()
    assert torch.allclose(field.network.prompts, torch.cat(seen), atol=1e-6)
    assert field.network.prompts.shape == (2, 512, 32)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_state_keeps_its_own_precision(kind):
    """A network in half precision rounds its own work and neither times nor states."""
    parts = {name: copy.deepcopy(part).to(kind) for name, part in tiny._parts().items()}
    wide, narrow = tiny.stable_diffusion(), tiny.stable_diffusion(**parts)
    (one, times), (two, same) = (
        from_diffusers(pipe, tiny.PROMPT, tiny.NEGATIVE, **SIZE, steps=10)
        for pipe in (wide, narrow)
    )
    assert torch.equal(times, same)
    x = one.start(2, 0)
    a, b = (
        sf.ODESolver("euler", times=times).solve(sf.ancestral(field.given(0), 0.0), x).x[-1]
        for field in (one, two)
    )
    assert b.dtype == torch.float32
    assert two.network.prompts.dtype == kind
    assert apart(b[None], a[None]) < (0.1 if kind == torch.bfloat16 else 1e-5)
    assert two.images(b).dtype == np.float32


def test_zero_terminal_snr_is_sampled_from_pure_noise():
    """alpha-bar of the last entry is 0: v says what to do there, epsilon does not."""
    given = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", **tiny.PLAIN}
    pipe = tiny.stable_diffusion(tiny.scheduler("DDIM", prediction_type="v_prediction", **given))
    field, times = from_diffusers(pipe, tiny.PROMPT, **SIZE, steps=10)
    x = field.start(2, 7)
    theirs = chain(
        pipe,
        field,
        x,
        prompt=[tiny.PROMPT] * 2,
        guidance_scale=1.0,
        num_inference_steps=10,
        **SIZE,
    )
    ddim = sf.ancestral(field.given(0), 0.0)
    ours = sf.ODESolver("euler", times=times).solve(ddim, x, save=11).x[1:]
    assert apart(ours, theirs) < CLOSE
    bad = tiny.stable_diffusion(tiny.scheduler("DDIM", **given))
    with pytest.raises(ValueError, match="v_prediction or sample"):
        from_diffusers(bad, tiny.PROMPT, **SIZE)


def test_pipeline_is_not_changed():
    pipe = tiny.stable_diffusion()
    pipe.scheduler.set_timesteps(7)
    before = pipe.scheduler.timesteps.clone()
    from_diffusers(pipe, "a tree", **SIZE, steps=10)
    assert torch.equal(pipe.scheduler.timesteps, before)


@pytest.mark.parametrize("name", ["HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete"])
def test_schedulers_of_two_stages_have_the_times_of_their_steps(name):
    """Their timesteps hold the second stages too."""
    pipes = (tiny.stable_diffusion(tiny.scheduler(kind)) for kind in ("EulerDiscrete", name))
    one, two = (from_diffusers(pipe, "a tree", **SIZE, steps=10)[1] for pipe in pipes)
    assert torch.allclose(one, two)


def test_sizes_are_the_pipeline_s_own_unless_given():
    assert from_diffusers(tiny.stable_diffusion(), "a tree")[0].shape == (4, 8, 8)
    wide = from_diffusers(tiny.stable_diffusion(), "a tree", width=32, steps=4)[0]
    assert wide.shape == (4, 8, 16)
    video = from_diffusers(tiny.wan(), *tiny.embeddings(2).split(1), steps=4)[0]
    assert video.shape == (16, 21, 60, 104)


# ------------------------------------------------------------------------------ what is refused


def sd(given: object = "a tree", negative: object = "", **size: object) -> object:
    return from_diffusers(tiny.stable_diffusion(), given, negative, **{**SIZE, **size})


def with_scheduler(name: str, **config: object) -> object:
    return from_diffusers(tiny.stable_diffusion(tiny.scheduler(name, **config)), "a tree", **SIZE)


def video(**size: object) -> object:
    return from_diffusers(tiny.wan(), *tiny.embeddings(2).split(1), **{**CLIP, **size})


def wan22() -> object:
    parts = tiny._wan_parts()
    pipe = tiny.wan(transformer_2=parts["transformer"], boundary_ratio=0.9)
    return from_diffusers(pipe, *tiny.embeddings(2).split(1), **CLIP)


def inpainting() -> object:
    unet = copy.copy(tiny._parts()["unet"])
    unet.register_to_config(in_channels=9)
    pipe = tiny.stable_diffusion()
    pipe.unet = unet
    return from_diffusers(pipe, "a tree", **SIZE)


SOME = torch.zeros(1, 77, 32)
MISTAKES = {
    "another pipeline": (lambda: from_diffusers(SimpleNamespace(unet=None), "a"), "WanPipeline"),
    "a name": (lambda: from_diffusers("stabilityai/sd", "a"), "from_pretrained"),
    "None": (lambda: from_diffusers(None, "a"), "pipe must be a StableDiffusionPipeline"),
    "no prompt": (lambda: sd([]), "prompts are empty"),
    "no text": (lambda: sd([1, 2]), "prompts must be texts"),
    "None as prompt": (lambda: sd(None), "prompts must be texts"),
    "negatives": (lambda: sd(["a", "b"], ["c", "d"]), "as further prompts"),
    "embedding of rank 1": (lambda: sd(torch.zeros(32)), "(m, tokens, width)"),
    "embedding of another width": (lambda: sd(torch.zeros(1, 77, 30)), "of width 32"),
    "embedding of ids": (lambda: sd(torch.zeros(1, 77, 32).long()), "torch.int64"),
    "two negative embeddings": (lambda: sd(SOME, torch.zeros(2, 77, 32)), "(1, 77, 32)"),
    "fewer tokens": (lambda: sd(SOME, torch.zeros(1, 70, 32)), "(1, 77, 32)"),
    "labels of two for three": (
        lambda: sd(["a", "b"])[0].given(torch.tensor([0, 1])).noise(torch.zeros(3, 256), 500.0),
        "2 labels for 3 particles",
    ),
    "a prompt that is not there": (lambda: sd(["a", "b"])[0].given(3), "label must be 0 to 1"),
    "no encoder": (
        lambda: from_diffusers(tiny.wan(), "a tree", **CLIP),
        "has no text encoder",
    ),
    "height": (lambda: sd(height=17), "height must be a multiple of 2"),
    "width of a video": (lambda: video(width=40), "width must be a multiple of 16"),
    "frames": (lambda: video(frames=8), "1 more than a multiple of 4"),
    "frames of a picture": (lambda: sd(frames=9), "frames is for pipelines of videos"),
    "a float": (lambda: sd(height=16.0), "height must be a whole number"),
    "steps 0": (lambda: sd(steps=0), "steps must be at least 1"),
    "steps 1001": (lambda: sd(steps=1001), "steps must be 1 to 1000"),
    "steps 1000": (lambda: sd(steps=1000), "uses timestep 1000 of a table of 1000"),
    "steps 2": (lambda: sd(steps=2), "trailing"),
    "no table": (lambda: with_scheduler("EDMEuler"), "has no table of noise levels"),
    "clipping": (
        lambda: with_scheduler("DDPM", clip_sample=False, thresholding=True),
        "clip_sample",
    ),
    "learned variance": (
        lambda: with_scheduler("DDPM", clip_sample=False, variance_type="learned"),
        "a variance that the network predicts",
    ),
    "dynamic shift": (
        lambda: with_scheduler("FlowMatchEulerDiscrete", use_dynamic_shifting=True),
        "use_dynamic_shifting",
    ),
    "WAN 2.2": (wan22, "use WAN 2.1"),
    "inpainting": (inpainting, "in_channels = 9"),
    "latents of another size": (
        lambda: sd()[0].images(torch.zeros(2, 300)),
        "a cloud of them is (n, 256)",
    ),
    "latents with a shape": (lambda: sd()[0].images(torch.zeros(2, 4, 8, 8)), "flatten(1)"),
    "8-bit pictures": (lambda: sd()[0].latents(np.full((1, 16, 16, 3), 255)), "divide 8-bit"),
    "larger pictures": (
        lambda: sd()[0].latents(np.zeros((1, 32, 32, 3))),
        "height= and width=",
    ),
    "no picture": (lambda: sd()[0].latents("tree.png"), "array of numbers"),
    "pictures without colours": (lambda: sd()[0].latents(np.zeros((16, 16))), "(n, height"),
    "start without seed": (lambda: sd()[0].start(2, None), "seed must be a whole number"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_mistake_is_refused_in_one_sentence(call, expected):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert not faults(error.value), faults(error.value)
    assert expected in str(error.value)


def test_without_diffusers_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("sdeflow.integrations.pipelines.find_spec", lambda name: None)
    with pytest.raises(TypeError, match=r"pip install 'sdeflow\[images\]'"):
        from_diffusers(None, "a tree")


def test_diffusers_is_not_imported():
    """Pipelines are known by the names of their classes; `import sdeflow` stays quick."""
    for file in Path(integrations.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"diffusers", "transformers"}, file
