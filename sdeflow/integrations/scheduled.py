r"""Read the noise schedule of a scheduler of diffusers, and the times of its steps.

    alphas_cumprod     DDIM, DDPM, PNDM, Euler, DPM-Solver, ...    `Tabulated`, t = timestep + 1
    sigmas of a flow   FlowMatchEuler, UniPC with use_flow_sigmas  `Linear`, t = sigma

The last step of most schedulers ends at clean data, t = 0. Some end at the first entry of the
table, t = 1: DDIM and PNDM with set_alpha_to_one=False, others with final_sigmas_type="sigma_min".
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.integrations.conventions import DDPM, Convention, FlowMatching
from sdeflow.processes.process import SHORT, Process

TOP = 1 - 1e-7
"""The last time of a flow: at t = 1 alpha is 0, and the rate f is infinite."""
NO_DATA = 1e-14
"""alpha-bar that replaces 0 at the end of a table of zero terminal SNR."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ScheduledFlow(FlowMatching):
    """A flow whose network takes the scheduler's own timestep at each of its levels.

    UniPC rounds its timesteps to whole numbers. At other levels the network takes scale t.
    """

    levels: Tensor
    timesteps: Tensor

    def time(self, t: Tensor) -> Tensor:
        gap, k = (t.double()[..., None] - self.levels.to(t.device)).abs().min(-1)
        known = self.timesteps.to(t)[k]
        return torch.where(gap < 1e-6, known, self.scale * t)


def scheduled(scheduler: Any, steps: int) -> tuple[Convention, Process, Tensor]:
    """The convention and the process of a scheduler, and the times of its `steps` steps.

    The scheduler itself is not changed.
    """
    config = getattr(scheduler, "config", None)
    most = getattr(config, "num_train_timesteps", None)
    flow = type(scheduler).__name__.startswith("FlowMatch") or (
        getattr(config, "use_flow_sigmas", False) is True
    )
    table = getattr(scheduler, "sigmas" if flow else "alphas_cumprod", None)
    if most is None or not isinstance(table, Tensor):
        raise TypeError(
            f"{type(scheduler).__name__} has no table of noise levels; give the pipeline a "
            "scheduler with one, such as DDIMScheduler.from_config(pipe.scheduler.config)"
        )
    _check(config)
    if check_int(steps, "steps") > most:
        raise ValueError(f"steps must be 1 to {most}, as the scheduler has, got {steps}")
    own = copy.deepcopy(scheduler)
    try:
        own.set_timesteps(steps)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{type(scheduler).__name__} cannot set {steps} timesteps ({error}); give another "
            "number, or give the pipeline another scheduler"
        ) from error
    return _flow(own, most) if flow else _table(own)


def _check(config: Any) -> None:
    if config.get("clip_sample") or config.get("thresholding"):
        raise ValueError(
            "this scheduler clips the output of the network (clip_sample or thresholding), but a "
            "field is not clipped; set both to False in its config, as Stable Diffusion does"
        )
    check_variance(config)
    if config.get("use_dynamic_shifting") or config.get("invert_sigmas"):
        raise ValueError(
            "the levels of this scheduler depend on the size of the picture, or rise; set "
            "use_dynamic_shifting and invert_sigmas to False, and shift to a number"
        )


def check_variance(config: Any) -> None:
    """Refuse a scheduler that needs a variance which the network predicts."""
    if str(config.get("variance_type")).startswith("learned"):
        raise ValueError(
            "this scheduler needs a variance that the network predicts, and a field gives none; "
            "use variance_type='fixed_small'"
        )


def _table(scheduler: Any) -> tuple[Convention, Process, Tensor]:
    config, table = scheduler.config, scheduler.alphas_cumprod.double()
    if table[-1] == 0:  # zero terminal SNR
        if config.prediction_type == "epsilon":
            raise ValueError(
                "alpha-bar ends at 0, where the noise does not determine the data; with "
                "rescale_betas_zero_snr use a network that predicts v_prediction or sample"
            )
        scheduler.alphas_cumprod = torch.cat([table[:-1], table.new_tensor([NO_DATA])])
    convention = DDPM.from_scheduler(scheduler, whole=False)
    two_stages = getattr(scheduler, "order", 1) == 2
    steps = scheduler.timesteps[::2] if two_stages else scheduler.timesteps
    times = steps.double().cpu().unique().flip(0) + 1  # PNDM has one of them twice
    if times[0] > len(table):
        raise ValueError(
            f"the scheduler uses timestep {times[0] - 1:g} of a table of {len(table)}; take fewer "
            "steps, or steps_offset=0"
        )
    last = config.get("set_alpha_to_one") is False or (
        config.get("final_sigmas_type") == "sigma_min"
    )
    end, process = float(last), convention.process
    first = process(times[:1])
    if first.alpha**2 > SHORT * first.sigma**2:
        raise ValueError(
            f"the first timestep is {times[0] - 1:g} of {len(table)}, where alpha is "
            f"{float(first.alpha):.2g} and x is not pure noise; take more steps, or set "
            "timestep_spacing='trailing' in the scheduler's config"
        )
    if times[-1] > end:
        times = torch.cat([times, times.new_tensor([end])])
    return convention, process if last else replace(process, t_min=0.0), times


def _flow(scheduler: Any, most: int) -> tuple[Convention, Process, Tensor]:
    sigmas = scheduler.sigmas.double().cpu()  # read as they are: diffusers has shifted them twice
    times = sigmas.clamp(max=TOP).unique().flip(0)
    convention = ScheduledFlow(
        0, float(most), float(times[-1]), TOP,
        levels=sigmas[:-1], timesteps=scheduler.timesteps.double().cpu(),
    )  # fmt: skip
    return convention, convention.process, times
