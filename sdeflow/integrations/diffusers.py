r"""Run a scheduler of diffusers as a solver, on any field and any times.

`from_diffusers`, of `pipelines`, goes the other way: a pipeline's denoiser becomes a field.

A scheduler works on x / scale, with its own table of levels: scale = sqrt(alpha^2 + sigma^2) for
DDPM's descendants, alpha for Karras', alpha + sigma for flow matching. `solver` sets the table to
the levels of the given times and hands the scheduler what it expects of the field, so that
schedulers and our own solvers can be compared on one field. diffusers itself is not imported here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sdeflow.fields.field import Field, check_score
from sdeflow.integrations.pipelines import from_diffusers
from sdeflow.processes.process import Process
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE

__all__ = ["Solver", "from_diffusers", "solver"]

Solver = Callable[[SDE, Tensor, Tensor, int], Tensor]
"""(sde, x (n, d), times (K + 1,), seed) -> the cloud at the last time, (n, d)."""


def _preserving(alpha: Tensor, sigma: Tensor) -> Tensor:
    return torch.sqrt(alpha**2 + sigma**2)


def _comoving(alpha: Tensor, sigma: Tensor) -> Tensor:
    return alpha


def _straight(alpha: Tensor, sigma: Tensor) -> Tensor:
    return alpha + sigma


def _noise(eps: Tensor, y: Tensor, alpha: float, sigma: float) -> Tensor:
    return eps


def _v(eps: Tensor, y: Tensor, alpha: float, sigma: float) -> Tensor:
    return (eps - sigma * y) / alpha


def _velocity(eps: Tensor, y: Tensor, alpha: float, sigma: float) -> Tensor:
    return (eps - y) / alpha


def _multistep(scheduler: Any, levels: Tensor) -> None:
    """Empty the memory of earlier steps."""
    scheduler.sigmas, scheduler.lower_order_nums = levels, 0
    scheduler.model_outputs = [None] * len(scheduler.model_outputs)
    if hasattr(scheduler, "timestep_list"):
        scheduler.timestep_list = [None] * len(scheduler.timestep_list)
    if hasattr(scheduler, "last_sample"):
        scheduler.last_sample = None
    if hasattr(scheduler, "order_list"):
        scheduler.order_list = scheduler.get_order_list(len(levels) - 1)


def _with_noise_in_a_window(scheduler: Any, levels: Tensor) -> None:
    """SA-Solver draws noise where `tau_func` of its own timestep says so."""
    _multistep(scheduler, levels)
    own = torch.sqrt(1 / scheduler.alphas_cumprod.to(levels) - 1)
    scheduler.timesteps = torch.searchsorted(own, levels[:-1]).clamp(max=len(own) - 1)


def _ancestral(scheduler: Any, levels: Tensor) -> None:
    """Entry k of the table is the level that k steps are left from; the last ends at entry 0."""
    kept = 1 / (1 + levels.flip(0) ** 2)
    scheduler.alphas_cumprod = kept
    scheduler.one = scheduler.final_alpha_cumprod = kept[0]
    scheduler.register_to_config(num_train_timesteps=len(levels) - 1)
    scheduler.timesteps = torch.arange(len(levels) - 1, 0, -1)


def _karras(scheduler: Any, levels: Tensor) -> None:
    scheduler.sigmas, scheduler.is_scale_input_called = levels, True


def _two_stages(scheduler: Any, levels: Tensor) -> None:
    """A level but the first and the last stands twice: a step ends there, and the next begins."""
    scheduler.sigmas = levels.repeat_interleave(2)[1:-1]
    scheduler.sigmas_interpol = _with_middles(levels)
    scheduler.sample = scheduler.dt = scheduler.prev_derivative = None
    scheduler.timesteps = torch.arange(2 * len(levels) - 2.0).flip(0)


def _adams(scheduler: Any, levels: Tensor) -> None:
    scheduler.alphas = 1 / torch.sqrt(1 + levels**2)
    scheduler.betas, scheduler.ets = levels * scheduler.alphas, []


def _flow(scheduler: Any, levels: Tensor) -> None:
    scheduler.sigmas = levels / (1 + levels)


def _with_middles(levels: Tensor) -> Tensor:
    """Each level but the last, and after it the geometric mean with the next."""
    return torch.stack([levels[:-1], torch.sqrt(levels[:-1] * levels[1:])], 1).flatten()


def _starts(process: Process, times: Tensor) -> Tensor:
    return times[:-1]


def _both_ends(process: Process, times: Tensor) -> Tensor:
    return times.repeat_interleave(2)[1:-1]


def _starts_and_middles(process: Process, times: Tensor) -> Tensor:
    middles = process.time_of(_with_middles(process.noise_level(times))[1::2])
    return torch.stack([times[:-1], middles], 1).flatten()


class _Kind(NamedTuple):
    """How schedulers of a kind see a field: the scale of x, what they are told, their levels."""

    scale: Callable[[Tensor, Tensor], Tensor]
    told: Callable[[Tensor, Tensor, float, float], Tensor]
    place: Callable[[Any, Tensor], None]
    asked: Callable[[Process, Tensor], Tensor] = _starts
    draws: bool = False


_MULTISTEP = _Kind(_preserving, _noise, _multistep)
_KARRAS = _Kind(_comoving, _noise, _karras)
_KINDS = {
    "DPMSolverMultistepScheduler": _MULTISTEP,
    "DPMSolverSinglestepScheduler": _MULTISTEP,
    "UniPCMultistepScheduler": _MULTISTEP,
    "DEISMultistepScheduler": _MULTISTEP,
    "SASolverScheduler": _Kind(_preserving, _noise, _with_noise_in_a_window, draws=True),
    "DDPMScheduler": _Kind(_preserving, _noise, _ancestral, draws=True),
    "DDIMScheduler": _Kind(_preserving, _noise, _ancestral),
    "IPNDMScheduler": _Kind(_preserving, _v, _adams),
    "EulerDiscreteScheduler": _KARRAS,
    "EulerAncestralDiscreteScheduler": _KARRAS._replace(draws=True),
    "HeunDiscreteScheduler": _Kind(_comoving, _noise, _two_stages, _both_ends),
    "KDPM2DiscreteScheduler": _Kind(_comoving, _noise, _two_stages, _starts_and_middles),
    "FlowMatchEulerDiscreteScheduler": _Kind(_straight, _velocity, _flow),
}


def solver(scheduler: Any) -> Solver:
    """A solver that steps as a scheduler of diffusers does.

    The levels of its steps are those of the times; its own timesteps and its table are not used.
    The Euler schedulers and DPMSolverMultistep compute a step in float32.

    Args:
        scheduler: DPMSolverMultistep, DPMSolverSinglestep, UniPCMultistep, DEISMultistep,
            SASolver, DDPM, DDIM, IPNDM, EulerDiscrete, EulerAncestralDiscrete, HeunDiscrete,
            KDPM2Discrete or FlowMatchEulerDiscrete, with prediction_type "epsilon" where it has
            one.

    Raises:
        TypeError: it is another scheduler.
        ValueError: it expects another prediction, clips or thresholds its samples, or asks the
            network for its variance.
    """
    names = [one.__name__ for one in type(scheduler).__mro__]
    kind = next((_KINDS[name] for name in names if name in _KINDS), None)
    if kind is None:
        known = ", ".join(name.removesuffix("Scheduler") for name in _KINDS)
        raise TypeError(f"the levels of {names[0]} cannot be set; use one of {known}")
    _check(scheduler.config)

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        if not isinstance(sde, FieldSDE):
            raise TypeError("a scheduler needs the SDE of a field, such as sf.reverse(field)")
        return _run(copy.deepcopy(scheduler), kind, sde.field, x, sde.check_times(times), seed)

    return solve


def _check(config: Any) -> None:
    said, alters = config.get("prediction_type", "epsilon"), ("thresholding", "clip_sample")
    if said != "epsilon" or any(config.get(name) for name in alters):
        raise ValueError(
            "the scheduler must have prediction_type='epsilon', and neither thresholding nor "
            "clip_sample; the field gives the noise itself"
        )
    if str(config.get("variance_type")).startswith("learned"):
        raise ValueError("a field has no variance to give; use variance_type='fixed_small'")


def _run(scheduler: Any, kind: _Kind, field: Field, x: Tensor, times: Tensor, seed: int) -> Tensor:
    """Step from the first time to the last."""
    _reset(scheduler, kind, field.process.noise_level(times))
    if kind.draws or scheduler.config.get("algorithm_type", "").startswith("sde"):
        check_score(field, "a scheduler that draws noise")
    takes = "generator" in inspect.signature(scheduler.step).parameters
    given = {"generator": torch.Generator().manual_seed(seed)} if takes else {}
    when = kind.asked(field.process, times)
    c, ends = field.process(when), field.process(times[[0, -1]])
    size, first, last = kind.scale(c.alpha, c.sigma), *kind.scale(ends.alpha, ends.sigma).tolist()
    y = x / first
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps):
            scale = float(size[k])
            eps = field.noise((y * scale).to(x), float(when[k]))
            told = kind.told(eps, y, float(c.alpha[k]) / scale, float(c.sigma[k]) / scale)
            y = scheduler.step(told, t, y, **given).prev_sample.to(x)
    if float(ends.sigma[-1]) == 0 and not bool(y.isfinite().all()):
        raise ValueError(
            f"{type(scheduler).__name__} divides by the last level, which is 0 at t = "
            f"{float(times[-1]):g}; give times that end where sigma is positive"
        )
    return y * last


def _reset(scheduler: Any, kind: _Kind, levels: Tensor) -> None:
    """Set the levels (K + 1,) of a scheduler that has not stepped."""
    steps = len(levels) - 1
    if hasattr(scheduler, "order_list"):
        scheduler.set_timesteps(steps)  # may change which order the last steps have
    # Names of the steps; the field is asked at our own times.
    scheduler.timesteps = torch.arange(float(steps)).flip(0)
    scheduler.num_inference_steps = steps
    scheduler._step_index, scheduler._begin_index = None, 0
    kind.place(scheduler, levels)
