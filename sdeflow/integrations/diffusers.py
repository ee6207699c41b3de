r"""Run a scheduler of diffusers as a solver, on any field and any times.

A scheduler of diffusers works on x / sqrt(alpha^2 + sigma^2), whatever the process, with the
levels sigma / alpha of its steps in `scheduler.sigmas`. `solver` sets these to the levels of the
given times and hands it the field's noise prediction, so that schedulers and our own solvers can
be compared on one field. diffusers itself is not imported here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sdeflow.fields.field import Field, check_score
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE

Solver = Callable[[SDE, Tensor, Tensor, int], Tensor]
"""(sde, x (n, d), times (K + 1,), seed) -> the cloud at the last time, (n, d)."""


def solver(scheduler: Any) -> Solver:
    """A solver that steps as a scheduler of diffusers does.

    The levels of its steps are those of the times; its own timesteps and its table are not used.

    Args:
        scheduler: one that keeps its levels in `sigmas`, with prediction_type "epsilon":
            DPMSolverMultistep, UniPCMultistep, DEISMultistep, SASolver, DPMSolverSinglestep.

    Raises:
        TypeError: the scheduler has no `sigmas`.
        ValueError: it expects another prediction, or thresholds its samples.
    """
    if not hasattr(scheduler, "sigmas") or not hasattr(scheduler, "model_outputs"):
        raise TypeError(
            f"{type(scheduler).__name__} has no levels `sigmas` that can be set; use a multistep "
            "scheduler, or sf.ancestral for DDPM and DDIM"
        )
    config = scheduler.config
    if config.prediction_type != "epsilon" or getattr(config, "thresholding", False):
        raise ValueError(
            "the scheduler must have prediction_type='epsilon' and no thresholding; the field "
            "gives the noise itself"
        )

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        if not isinstance(sde, FieldSDE):
            raise TypeError("a scheduler needs the SDE of a field, such as sf.reverse(field)")
        return _run(copy.deepcopy(scheduler), sde.field, x, sde.check_times(times), seed)

    return solve


def _run(scheduler: Any, field: Field, x: Tensor, times: Tensor, seed: int) -> Tensor:
    c = field.process(times)
    size = torch.sqrt(c.alpha**2 + c.sigma**2)
    _reset(scheduler, c.sigma / c.alpha)
    generator = torch.Generator().manual_seed(seed)
    noisy = getattr(scheduler.config, "algorithm_type", "").startswith("sde")
    given = {"generator": generator} if noisy or hasattr(scheduler, "tau_func") else {}
    if given:
        check_score(field, "a scheduler that draws noise")
    y = x / float(size[0])
    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps):
            eps = field.noise((y * float(size[k])).to(x), float(times[k]))
            y = scheduler.step(eps, t, y, **given).prev_sample.to(x)
    return y * float(size[-1])


def _reset(scheduler: Any, levels: Tensor) -> None:
    """Set the levels (K + 1,), and empty the memory of earlier steps."""
    steps = len(levels) - 1
    scheduler.set_timesteps(steps)
    scheduler.sigmas = levels
    # Distinct numbers by which the scheduler finds the step; the field is asked at our own times.
    scheduler.timesteps = torch.arange(steps).flip(0)
    scheduler.num_inference_steps = steps
    scheduler._step_index, scheduler._begin_index, scheduler.lower_order_nums = None, 0, 0
    scheduler.model_outputs = [None] * len(scheduler.model_outputs)
    if hasattr(scheduler, "timestep_list"):
        scheduler.timestep_list = [None] * len(scheduler.timestep_list)
    if hasattr(scheduler, "last_sample"):
        scheduler.last_sample = None
    if hasattr(scheduler, "order_list"):
        scheduler.order_list = scheduler.get_order_list(steps)
