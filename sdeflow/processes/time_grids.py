r"""Make a time grid: the times between which a solver steps.

A time grid is a row (K + 1,) of strictly monotone times in float64, in the direction of the run.
The steps are equal in t, in the log signal-to-noise ratio, or in a power of the noise level; where
they lie decides how accurate a sampler is.

See docs/theory.md, section 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive
from sdeflow.processes.process import Process


def uniform_times(t_start: float, t_end: float, steps: int) -> Tensor:
    """steps + 1 equally spaced times from t_start to t_end, in float64."""
    return torch.linspace(t_start, t_end, check_int(steps, "steps") + 1, dtype=torch.float64)


def log_snr_times(process: Process, steps: int) -> Tensor:
    """(steps + 1,) times from t_max to t_min, uniform in log SNR.

    Each step divides sigma / alpha by the same factor.
    """
    noisy, clean = process.log_snr(ends(process)).tolist()
    return _pinned(process, uniform_times(noisy, clean, steps))


def karras_times(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """(steps + 1,) times from t_max to t_min, uniform in (sigma / alpha)^(1 / rho).

    Raises:
        ValueError, TypeError: rho or steps is not positive, steps is not whole.

    Source: Karras et al. 2022, eq. 5.
    """
    power = check_positive(rho, "rho")
    first, last = (process.noise_level(ends(process)) ** (1 / power)).tolist()
    return _pinned(process, -2 * power * torch.log(uniform_times(first, last, steps)))


def angle_times(process: Process, steps: int, scale: float = 1.0, power: float = 2.0) -> Tensor:
    """(steps + 1,) times from t_max to t_min, uniform in atan(sigma / (alpha scale))^(1 / power).

    Args:
        process: the process.
        steps: K.
        scale: the standard deviation of the data along their first principal axis (length).
        power: above 1 for smaller steps at low noise.

    Raises:
        ValueError, TypeError: scale or power is not positive, steps is not whole.
    """
    scale, power = check_positive(scale, "scale"), check_positive(power, "power")
    first, last = (torch.atan(process.noise_level(ends(process)) / scale) ** (1 / power)).tolist()
    levels = scale * torch.tan(uniform_times(first, last, steps) ** power)
    return _pinned(process, -2 * torch.log(levels))


def indices(wanted: Tensor, grid: Tensor, name: str) -> list[int]:
    """The index on the grid of each wanted time, which may have been rounded to float32."""
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


def ends(process: Process) -> Tensor:
    """(t_max, t_min) (2,), in float64."""
    return torch.tensor([process.t_max, process.t_min], dtype=torch.float64)


def _pinned(process: Process, log_snr: Tensor) -> Tensor:
    """The times of these log SNRs, with t_max and t_min themselves at the ends."""
    times = process.time(log_snr)
    times[0], times[-1] = process.t_max, process.t_min
    return times
