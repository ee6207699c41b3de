r"""Run a scheduler of diffusers as a solver, on any field and any times.

    solve = solver(scheduler)
    end = solve(sf.reverse(field, 0.0), x, times, seed)

A scheduler steps x / scale, with its own table of noise levels: scale = sqrt(alpha^2 + sigma^2)
for schedulers of the kind of DDPM, alpha for Karras', alpha + sigma for flow matching. `solver`
sets the table to the noise levels of the given times and passes the prediction that the scheduler
expects, so that schedulers and our own solvers can be compared on one field. diffusers itself is
not imported here. For a pipeline, see `from_diffusers`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sdeflow.fields.field import Field, check_score
from sdeflow.integrations.scheduled import check_variance
from sdeflow.processes.process import Process
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE

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
    """Set the levels, and clear the predictions of earlier steps."""
    scheduler.sigmas, scheduler.lower_order_nums = levels, 0
    scheduler.model_outputs = [None] * len(scheduler.model_outputs)
    if hasattr(scheduler, "timestep_list"):
        scheduler.timestep_list = [None] * len(scheduler.timestep_list)
    if hasattr(scheduler, "last_sample"):
        scheduler.last_sample = None
    if hasattr(scheduler, "order_list"):
        scheduler.order_list = scheduler.get_order_list(len(levels) - 1)


def _with_noise_in_a_window(scheduler: Any, levels: Tensor) -> None:
    # SA-Solver draws noise where `tau_func` of its own timestep is not 0.
    _multistep(scheduler, levels)
    own = torch.sqrt(1 / scheduler.alphas_cumprod.to(levels) - 1)
    scheduler.timesteps = torch.searchsorted(own, levels[:-1]).clamp(max=len(own) - 1)


def _ancestral(scheduler: Any, levels: Tensor) -> None:
    # Entry k of the table is the level from which k steps are left; the last step ends at entry 0.
    kept = 1 / (1 + levels.flip(0) ** 2)
    scheduler.alphas_cumprod = kept
    scheduler.one = scheduler.final_alpha_cumprod = kept[0]
    scheduler.register_to_config(num_train_timesteps=len(levels) - 1)
    scheduler.timesteps = torch.arange(len(levels) - 1, 0, -1)


def _karras(scheduler: Any, levels: Tensor) -> None:
    scheduler.sigmas, scheduler.is_scale_input_called = levels, True


def _two_stages(scheduler: Any, levels: Tensor) -> None:
    # Levels other than the first and the last occur twice: at the end of a step, and at a start.
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
    """Each level but the last, followed by its geometric mean with the next level."""
    return torch.stack([levels[:-1], torch.sqrt(levels[:-1] * levels[1:])], 1).flatten()


def _starts(process: Process, times: Tensor) -> Tensor:
    return times[:-1]


def _both_ends(process: Process, times: Tensor) -> Tensor:
    return times.repeat_interleave(2)[1:-1]


def _starts_and_middles(process: Process, times: Tensor) -> Tensor:
    middles = process.time_of(_with_middles(process.noise_level(times))[1::2])
    return torch.stack([times[:-1], middles], 1).flatten()


class _Kind(NamedTuple):
    """What schedulers of one kind have in common.

    Attributes:
        scale: (alpha, sigma) -> the factor by which they divide x.
        prediction: (eps, x / scale, alpha / scale, sigma / scale) -> the prediction they expect.
        set_levels: writes the noise levels (K + 1,) into a scheduler.
        times: (process, times) -> the times at which they evaluate the field.
        draws: whether they draw noise.
    """

    scale: Callable[[Tensor, Tensor], Tensor]
    prediction: Callable[[Tensor, Tensor, float, float], Tensor]
    set_levels: Callable[[Any, Tensor], None]
    times: Callable[[Process, Tensor], Tensor] = _starts
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
    """A solver that makes the steps of a scheduler of diffusers.

    The noise levels of the steps are those of the given times; the scheduler's own timesteps and
    table are not used. The Euler schedulers and DPMSolverMultistep compute a step in float32.

    Args:
        scheduler: DPMSolverMultistep, DPMSolverSinglestep, UniPCMultistep, DEISMultistep,
            SASolver, DDPM, DDIM, IPNDM, EulerDiscrete, EulerAncestralDiscrete, HeunDiscrete,
            KDPM2Discrete or FlowMatchEulerDiscrete, with prediction_type "epsilon" where it has
            one.

    Raises:
        ValueError: the scheduler expects another prediction, clips or thresholds its samples, or
            needs a variance that the network predicts.
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
            "the scheduler gets the noise that the field predicts: make it with "
            "prediction_type='epsilon', without thresholding and clip_sample"
        )
    check_variance(config)


def _run(scheduler: Any, kind: _Kind, field: Field, x: Tensor, times: Tensor, seed: int) -> Tensor:
    """The cloud at the last time, by the scheduler's steps."""
    _reset(scheduler, kind, field.process.noise_level(times))
    if kind.draws or scheduler.config.get("algorithm_type", "").startswith("sde"):
        check_score(field, "a scheduler that draws noise")
    takes = "generator" in inspect.signature(scheduler.step).parameters
    given = {"generator": torch.Generator().manual_seed(seed)} if takes else {}
    when = kind.times(field.process, times)
    c, ends = field.process(when), field.process(times[[0, -1]])
    size, first, last = kind.scale(c.alpha, c.sigma), *kind.scale(ends.alpha, ends.sigma).tolist()
    y = x / first
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps):
            scale = float(size[k])
            eps = field.noise((y * scale).to(x), float(when[k]))
            out = kind.prediction(eps, y, float(c.alpha[k]) / scale, float(c.sigma[k]) / scale)
            y = scheduler.step(out, t, y, **given).prev_sample.to(x)
    if float(ends.sigma[-1]) == 0 and not bool(y.isfinite().all()):
        raise ValueError(
            f"{type(scheduler).__name__} divides by the last level, which is 0 at t = "
            f"{float(times[-1]):g}; give times that end where sigma is positive"
        )
    return y * last


def _reset(scheduler: Any, kind: _Kind, levels: Tensor) -> None:
    """Set the noise levels (K + 1,) of a new copy of a scheduler."""
    steps = len(levels) - 1
    if hasattr(scheduler, "order_list"):
        scheduler.set_timesteps(steps)  # may change which order the last steps have
    # Labels of the steps; the field is evaluated at our own times.
    scheduler.timesteps = torch.arange(float(steps)).flip(0)
    scheduler.num_inference_steps = steps
    scheduler._step_index, scheduler._begin_index = None, 0
    kind.set_levels(scheduler, levels)
