r"""Make a time grid, the times between which a solver steps.

A time grid is a row (K + 1,) of strictly monotone times in float64, in the direction of the run.
Its steps are equal in t, in the log signal-to-noise ratio, in a root of the noise level, or in a
root of its angle. How accurate a sampler is depends on this choice.

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
"""The exponent rho of Karras et al. 2022, eq. 5."""


def uniform_times(t_start: float, t_end: float, steps: int) -> Tensor:
    """(steps + 1,) times from t_start to t_end, equally spaced."""
    first, last = check_finite(t_start, "t_start"), check_finite(t_end, "t_end")
    times = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
    return _distinct(times)


def log_snr_times(process: Process, steps: int) -> Tensor:
    """(steps + 1,) times from t_max to t_min, equally spaced in the log signal-to-noise ratio.

    Each step divides sigma / alpha by the same factor. sigma must be positive at t_min.
    """
    if not check_process(process).noise_level(process.t_min) > 0:
        raise ValueError(
            f"the log SNR is infinite at t = {process.t_min:g}, where sigma is 0; use "
            "karras_times, or a process with a larger t_min"
        )
    return LogSNRTimes(process.t_max, process.t_min, process)(steps)


def karras_times(process: Process, steps: int, rho: float = POWER) -> Tensor:
    """(steps + 1,) times from t_max to t_min, equally spaced in (sigma / alpha)^(1 / rho).

    Source: Karras et al. 2022, eq. 5.
    """
    return _power_times(check_process(process), ends(process), steps, check_positive(rho, "rho"))


def _power_times(process: Process, span: Tensor, steps: int, power: float) -> Tensor:
    first, last = (process.noise_level(span) ** (1 / power)).tolist()
    roots = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
    return _pinned(process.time(-2 * power * torch.log(roots)), *span.tolist())


@dataclass(frozen=True)
class SpanTimes(ABC):
    """A function K -> times (K + 1,) from t_start to t_end.

    Its ends are fields of a dataclass, so that `dataclasses.replace` gives it another span.
    """

    t_start: float
    t_end: float

    @abstractmethod
    def __call__(self, steps: int) -> Tensor:
        """(steps + 1,) times from t_start to t_end, in float64."""


@dataclass(frozen=True)
class LogSNRTimes(SpanTimes):
    """Times equally spaced in the log signal-to-noise ratio; if sigma is 0 at an end, Karras'."""

    process: Process

    def __post_init__(self) -> None:
        self.process([self.t_start, self.t_end])

    def __call__(self, steps: int) -> Tensor:
        span = torch.tensor([self.t_start, self.t_end], dtype=torch.float64)
        first, last = self.process.log_snr(span).tolist()
        if math.inf in (first, last):
            return _power_times(self.process, span, steps, POWER)
        log_snr = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
        return _pinned(self.process.time(log_snr), self.t_start, self.t_end)


@dataclass(frozen=True)
class NoiseLevels(SpanTimes):
    """Noise levels in equal ratios, for SDEs whose time is the noise level.

    If an end is 0, they are equally spaced in the root of `karras_times`.
    """

    def __call__(self, steps: int) -> Tensor:
        span = torch.tensor([self.t_start, self.t_end], dtype=torch.float64)
        if bool((span < 0).any()):
            raise ValueError(
                f"noise levels must be zero or more, got {self.t_start} to {self.t_end}"
            )
        k, positive = check_int(steps, "steps"), bool(span.all())
        first, last = (span.log() if positive else span ** (1 / POWER)).tolist()
        row = torch.linspace(first, last, k + 1, dtype=torch.float64)
        return _pinned(row.exp() if positive else row**POWER, self.t_start, self.t_end)


def angle_times(process: Process, steps: int, scale: float = 1.0, power: float = 2.0) -> Tensor:
    """(steps + 1,) times from t_max to t_min, equally spaced in a root of the noise level's angle.

        arctan(sigma / (alpha scale))^(1 / power)

    Args:
        process: the process.
        steps: K.
        scale: the standard deviation of the data along their first principal axis (length).
        power: a larger one makes the steps at low noise smaller.
    """
    scale, power = check_positive(scale, "scale"), check_positive(power, "power")
    first, last = ends(check_process(process)).tolist()
    return AngleTimes(first, last, process, scale, power)(steps)


@dataclass(frozen=True)
class AngleTimes(SpanTimes):
    """Times equally spaced in arctan(sigma / (alpha scale))^(1 / power), for `angle_times`."""

    process: Process
    scale: float
    power: float

    def __call__(self, steps: int) -> Tensor:
        span = torch.tensor([self.t_start, self.t_end], dtype=torch.float64)
        angles = torch.atan(self.process.noise_level(span) / self.scale) ** (1 / self.power)
        first, last = angles.tolist()
        row = torch.linspace(first, last, check_int(steps, "steps") + 1, dtype=torch.float64)
        levels = self.scale * torch.tan(row**self.power)
        return _pinned(self.process.time(-2 * torch.log(levels)), self.t_start, self.t_end)


def indices(wanted: Tensor, grid: Tensor, name: str) -> list[int]:
    """The index in a time grid of each wanted time, which may have been rounded to float32."""
    sign = 1 if grid[-1] > grid[0] else -1
    above = torch.searchsorted(sign * grid, sign * wanted).clamp(1, len(grid) - 1)
    below = above - 1
    nearest = torch.where(
        (grid[below] - wanted).abs() < (grid[above] - wanted).abs(), below, above
    )
    slack = ((grid[above] - grid[below]).abs() / 4).clamp_max(1e-6 * float(grid.abs().max()))
    missed = ~((grid[nearest] - wanted).abs() <= slack)  # true for NaN
    if missed.any():
        j = int(missed.nonzero()[0])
        raise ValueError(
            f"{name} {float(wanted[j]):.9g} is not on the time grid; the nearest time is "
            f"{float(grid[nearest[j]]):.9g}"
        )
    return nearest.tolist()


def ends(process: Process) -> Tensor:
    """The row (t_max, t_min), in float64."""
    return torch.tensor([process.t_max, process.t_min], dtype=torch.float64)


def _pinned(times: Tensor, first: float, last: float) -> Tensor:
    """The same times, with `first` and `last` at the ends exactly."""
    times[0], times[-1] = first, last
    return _distinct(times)


def _distinct(times: Tensor) -> Tensor:
    """The same times, if they are strictly monotone."""
    gaps = times.diff()
    if not ((gaps > 0).all() or (gaps < 0).all()):
        first, last = float(times[0]), float(times[-1])
        raise ValueError(
            f"{len(gaps)} steps between {first!r} and {last!r} are too many for float64: some "
            "would have no length; take fewer steps, or move the ends apart"
        )
    return times
