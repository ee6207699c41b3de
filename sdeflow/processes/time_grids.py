r"""Make a time grid: the times between which a solver steps.

A time grid is a row (K + 1,) of strictly monotone times in float64, in the direction of the run.
The steps are equal in t, in the log signal-to-noise ratio, or in a power of the noise level; where
they lie decides how accurate a sampler is.

See docs/theory.md, section 5.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_finite, check_int, check_positive
from sdeflow.processes.process import Process, check_process

POWER = 7.0
"""rho of Karras et al. 2022, eq. 5."""


def uniform_times(t_start: float, t_end: float, steps: int) -> Tensor:
    """steps + 1 equally spaced times from t_start to t_end, in float64.

    Raises:
        ValueError, TypeError: an end is not a finite number, the ends are equal or too near for
            so many steps, or steps is not a positive whole number.
    """
    first, last = check_finite(t_start, "t_start"), check_finite(t_end, "t_end")
    times = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
    return _distinct(times)


def log_snr_times(process: Process, steps: int) -> Tensor:
    """(steps + 1,) times from t_max to t_min, uniform in log SNR.

    Each step divides sigma / alpha by the same factor.

    Raises:
        ValueError, TypeError: sigma is 0 at t_min, the times are too near for float64, or steps
            is not a positive whole number.
    """
    if not check_process(process).noise_level(process.t_min) > 0:
        raise ValueError(
            f"no grid uniform in log SNR reaches t = {process.t_min:g}, where sigma is 0; use "
            "karras_times, or a process with a larger t_min"
        )
    return LogSNRTimes(process.t_max, process.t_min, process)(steps)


def karras_times(process: Process, steps: int, rho: float = POWER) -> Tensor:
    """(steps + 1,) times from t_max to t_min, uniform in (sigma / alpha)^(1 / rho).

    Raises:
        ValueError, TypeError: rho or steps is not positive, steps is not whole, or the times are
            too near for float64.

    Source: Karras et al. 2022, eq. 5.
    """
    return _power_times(check_process(process), ends(process), steps, check_positive(rho, "rho"))


def _power_times(process: Process, span: Tensor, steps: int, power: float) -> Tensor:
    first, last = (process.noise_level(span) ** (1 / power)).tolist()
    roots = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
    return _pinned(process.time(-2 * power * torch.log(roots)), *span.tolist())


@dataclass(frozen=True)
class SpanTimes(ABC):
    """A time grid that `dataclasses.replace` moves to another span: K -> times (K + 1,)."""

    t_start: float
    t_end: float

    @abstractmethod
    def __call__(self, steps: int) -> Tensor:
        """(steps + 1,) times from t_start to t_end, in float64."""


@dataclass(frozen=True)
class LogSNRTimes(SpanTimes):
    """Uniform in the log SNR of a process; Karras' grid if it reaches sigma = 0.

    Raises:
        ValueError: the span leaves the interval of the process.
    """

    process: Process

    def __post_init__(self) -> None:
        """Check the span."""
        self.process([self.t_start, self.t_end])

    def __call__(self, steps: int) -> Tensor:
        """See `SpanTimes`."""
        span = torch.tensor([self.t_start, self.t_end], dtype=torch.float64)
        first, last = self.process.log_snr(span).tolist()
        if math.inf in (first, last):
            return _power_times(self.process, span, steps, POWER)
        log_snr = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
        return _pinned(self.process.time(log_snr), self.t_start, self.t_end)


@dataclass(frozen=True)
class NoiseLevels(SpanTimes):
    """The same in the noise level: equal ratios, or equal steps of its root if one end is 0."""

    def __call__(self, steps: int) -> Tensor:
        """See `SpanTimes`."""
        span = torch.tensor([self.t_start, self.t_end], dtype=torch.float64)
        if bool((span < 0).any()):
            raise ValueError(f"noise levels are not negative, got {self.t_start} to {self.t_end}")
        k, positive = check_int(steps, "steps"), bool(span.all())
        first, last = (span.log() if positive else span ** (1 / POWER)).tolist()
        row = torch.linspace(first, last, k + 1, dtype=torch.float64)
        return _pinned(row.exp() if positive else row**POWER, self.t_start, self.t_end)


def angle_times(process: Process, steps: int, scale: float = 1.0, power: float = 2.0) -> Tensor:
    """(steps + 1,) times from t_max to t_min, uniform in atan(sigma / (alpha scale))^(1 / power).

    Args:
        process: the process.
        steps: K.
        scale: the standard deviation of the data along their first principal axis (length).
        power: above 1 for smaller steps at low noise.

    Raises:
        ValueError, TypeError: scale or power is not positive, steps is not whole, or the times are
            too near for float64.
    """
    scale, power = check_positive(scale, "scale"), check_positive(power, "power")
    first, last = ends(check_process(process)).tolist()
    return AngleTimes(first, last, process, scale, power)(steps)


@dataclass(frozen=True)
class AngleTimes(SpanTimes):
    """Uniform in a root of the angle atan(sigma / (alpha scale)); see `angle_times`."""

    process: Process
    scale: float
    power: float

    def __call__(self, steps: int) -> Tensor:
        """See `SpanTimes`."""
        span = torch.tensor([self.t_start, self.t_end], dtype=torch.float64)
        angles = torch.atan(self.process.noise_level(span) / self.scale) ** (1 / self.power)
        first, last = angles.tolist()
        row = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
        levels = self.scale * torch.tan(row**self.power)
        return _pinned(self.process.time(-2 * torch.log(levels)), self.t_start, self.t_end)


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


def _pinned(times: Tensor, first: float, last: float) -> Tensor:
    """The same times, with first and last themselves at the ends."""
    times[0], times[-1] = first, last
    return _distinct(times)


def _distinct(times: Tensor) -> Tensor:
    """The same times, if they are strictly monotone.

    Raises:
        ValueError: they are not.
    """
    gaps = times.diff()
    if not ((gaps > 0).all() or (gaps < 0).all()):
        first, last = float(times[0]), float(times[-1])
        raise ValueError(
            f"float64 does not hold {len(gaps)} such steps between {first!r} and {last!r}: "
            "some would have no length; take fewer steps, or move the ends"
        )
    return times
