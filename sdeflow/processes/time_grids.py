r"""Grids of times, and which of their points a run keeps.

A grid is a row of strictly monotone times in float64, in the direction of the run. What matters to
a sampler is where its steps lie: in equal cuts of t, of the log signal-to-noise ratio, or of a
power of the noise level.

See docs/theory.md, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdeflow import _validation as door
from sdeflow.processes.process import Process

Save = int | Sequence[float] | Tensor
"""How many states to keep, evenly over the steps, or the times of the states wanted."""


def uniform_times(t_start: float, t_end: float, steps: int) -> Tensor:
    """steps + 1 equally spaced times from t_start to t_end, in float64."""
    return torch.linspace(t_start, t_end, door.whole(steps, "steps") + 1, dtype=torch.float64)


def log_snr_times(process: Process, steps: int) -> Tensor:
    """(steps + 1,) from t_max to t_min, uniform in log SNR: each cuts sigma / alpha alike."""
    noisy, clean = process.log_snr(ends(process)).tolist()
    return _pinned(process, uniform_times(noisy, clean, steps))


def karras_times(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """(steps + 1,) from t_max down to t_min, uniform in (sigma / alpha)^(1 / rho).

    Raises:
        ValueError, TypeError: rho or steps is not positive, steps is not whole.

    Source: Karras et al. 2022, eq. 5.
    """
    power = door.positive(rho, "rho")
    first, last = (level(process, ends(process)) ** (1 / power)).tolist()
    return _pinned(process, -2 * power * torch.log(uniform_times(first, last, steps)))


def ends(process: Process) -> Tensor:
    """(t_max, t_min), in float64."""
    return torch.tensor([process.t_max, process.t_min], dtype=torch.float64)


def level(process: Process, t: Tensor) -> Tensor:
    """rho = sigma / alpha, the noise level in the Brownian frame."""
    c = process(t)
    return c.sigma / c.alpha


def _pinned(process: Process, log_snr: Tensor) -> Tensor:
    """The times of these log SNRs, the two ends exact."""
    times = process.time(log_snr)
    times[0], times[-1] = process.t_max, process.t_min
    return times


def indices(wanted: Tensor, grid: Tensor, name: str) -> list[int]:
    """Where each wanted time stands on the grid; it may have been rounded to float32."""
    sign = 1 if grid[-1] > grid[0] else -1
    above = torch.searchsorted(sign * grid, sign * wanted).clamp(1, len(grid) - 1)
    below = above - 1
    nearest = torch.where(
        (grid[below] - wanted).abs() < (grid[above] - wanted).abs(), below, above
    )
    slack = ((grid[above] - grid[below]).abs() / 4).clamp_max(1e-6 * float(grid.abs().max()))
    missed = ~((grid[nearest] - wanted).abs() <= slack)  # NaN misses too
    if missed.any():
        j = int(missed.nonzero()[0])
        raise ValueError(
            f"{name} {float(wanted[j]):.9g} is not on the grid; the nearest step is at "
            f"{float(grid[nearest[j]]):.9g}"
        )
    return nearest.tolist()


def kept(save: Save, times: Tensor) -> list[int]:
    """Indices of the states to keep; the last is always among them."""
    last = len(times) - 1
    count = asked(save)
    if isinstance(count, Tensor):
        return sorted({*indices(count, times, "save time"), last})
    if count > last + 1:
        raise ValueError(f"save={count} asks for more states than the {last + 1} of this run")
    return [last] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]


def asked(save: Save) -> int | Tensor:
    """The number of states asked for, or their times, (T,) in float64."""
    try:
        wanted = torch.as_tensor(save, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        wanted = torch.empty(0)
    if wanted.ndim > 1 or not wanted.numel():
        raise ValueError(
            "save must be a number of states or a row of times (T,), T >= 1, got "
            f"{type(save).__name__}"
        )
    return wanted if wanted.ndim else door.whole(save, "save")


def nested(times: Tensor, fine: Tensor) -> list[int]:
    """Where the steps of `times` start and end on the grid of the Brownian path."""
    fine = door.times(fine, name="fine")
    if (fine[-1] > fine[0]) != (times[-1] > times[0]):
        raise ValueError(
            f"fine runs from {fine[0]:g} to {fine[-1]:g}, but times from {times[0]:g} to "
            f"{times[-1]:g}; flip it"
        )
    return indices(times, fine, "fine must hold every time of the run: time")
