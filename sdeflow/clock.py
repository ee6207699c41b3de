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

from sdeflow import door
from sdeflow.process import Process

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
    """Where each wanted time stands on the grid."""
    near = (grid[None, :] - wanted[:, None]).abs()
    gap, index = near.min(1)
    slack = 1e-9 * float(grid.abs().max())
    if (gap > slack).any():
        j = int((gap > slack).nonzero()[0])
        raise ValueError(
            f"{name} {float(wanted[j]):g} is not on the grid; the nearest step is at "
            f"{float(grid[index[j]]):g}"
        )
    return index.tolist()


def kept(save: Save, times: Tensor) -> list[int]:
    """Indices of the states to keep; the last is always among them."""
    last = len(times) - 1
    if isinstance(save, int):
        count = door.whole(save, "save")
        if count > last + 1:
            raise ValueError(f"save={count} asks for more states than the {last + 1} of this run")
        return [last] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]
    return sorted({*indices(asked(save), times, "save time"), last})


def asked(save: Sequence[float] | Tensor) -> Tensor:
    """The times asked for, (T,) in float64."""
    wanted = torch.as_tensor(save, dtype=torch.float64)
    if wanted.ndim != 1 or not len(wanted):
        raise ValueError(f"save must be a number of states or a row of times, got {save!r}")
    return wanted


def nested(times: Tensor, fine: Tensor) -> list[int]:
    """Where the steps of `times` start and end on the grid of the Brownian path."""
    low, high = sorted((float(fine[0]), float(fine[-1])))
    fine = door.times(fine, low, high, "fine")
    grid = [int(torch.argmin((fine - t).abs())) for t in times]
    indices(times[:1], fine, "time")  # one clear sentence if the ends do not fit
    if not torch.allclose(fine[grid], times, rtol=1e-9, atol=0.0):
        raise ValueError("times must be part of the fine grid that carries the Brownian path")
    return grid
