r"""Convert noise levels to the times of any process, and find peaks and crossings of curves.

In the coordinates y = x / alpha (the Brownian frame) every process adds noise of width
rho = sigma / alpha to the data, so that a field at one rho is the same for all processes.
`NoiseLevel` holds rho, a length in the units of the data; `Curve` holds a quantity against rho.

See docs/theory.md, (4.3), for the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import (
    check_finite,
    check_kind,
    check_numbers,
    check_positive,
    check_times,
)
from sdeflow.processes.process import Process
from sdeflow.processes.time_grids import ends


@dataclass(frozen=True)
class NoiseLevel:
    """A noise level rho = sigma / alpha > 0: the width of the noise in the units of the data."""

    rho: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rho", check_positive(self.rho, "rho"))

    def __repr__(self) -> str:
        return f"noise level {self.rho:.4g}"

    @staticmethod
    def of(process: Process, t: float) -> NoiseLevel:
        """The noise level of a process at time t."""
        check_kind(process, Process, "process")
        if not process.t_min <= (t := check_finite(t, "t")) <= process.t_max:
            raise ValueError(
                f"t = {t:g} lies outside [{process.t_min:g}, {process.t_max:g}], the times of "
                "this process; give a time inside"
            )
        return NoiseLevel(float(process.noise_level(t)))

    def t(self, process: Process) -> float:
        """The time at which this process has this noise level.

        Raises:
            ValueError: there is no such time.
        """
        return float(times_of(process, torch.tensor([self.rho], dtype=torch.float64)))

    @property
    def log_snr(self) -> float:
        """2 ln(alpha / sigma) = -2 ln rho."""
        return -2 * math.log(self.rho)

    @property
    def alpha_bar(self) -> float:
        """alpha^2 = 1 / (1 + rho^2) of a variance-preserving process at this level."""
        return 1 / (1 + self.rho**2)

    @property
    def ou_time(self) -> float:
        """ln(1 + rho^2) / 2, the time that dx = -x dt + sqrt(2) dW takes to reach this level."""
        return math.log1p(self.rho**2) / 2

    @property
    def flow_time(self) -> float:
        """rho / (1 + rho), the time of flow matching's straight path: 0 data, 1 noise."""
        return self.rho / (1 + self.rho)


def times_of(process: Process, rho: Tensor) -> Tensor:
    """The times at which a process has the noise levels rho, of their shape; all must exist."""
    check_kind(process, Process, "process")
    high, low = process.noise_level(ends(process)).tolist()
    # The ends of the interval may be given rounded.
    outside = (rho < low * (1 - 1e-9)) | (rho > high * (1 + 1e-9))
    if outside.any():
        raise ValueError(
            f"rho = {float(rho[outside][0]):g} lies outside [{low:g}, {high:g}], the noise levels "
            f"of this {type(process).__name__} process; give levels inside"
        )
    return process.time_of(rho)


def check_levels(rho: Tensor) -> Tensor:
    """Return rho in float64 if it is a row of positive noise levels (L,), falling or rising."""
    levels = check_times(rho, name="rho")
    if levels.min() <= 0:
        raise ValueError(f"rho must be positive, got {float(levels.min()):g}")
    return levels


@dataclass(frozen=True, eq=False)
class Curve:
    """A quantity against the noise level.

    Attributes:
        rho: (L,), positive, strictly falling or rising.
        value: (L,).
    """

    rho: Tensor
    value: Tensor

    def __post_init__(self) -> None:
        rho, value = check_levels(self.rho), check_numbers(self.value, "value")
        if value.shape != rho.shape:
            raise ValueError(
                f"a curve needs one value for each of its {len(rho)} levels rho, got values "
                f"{tuple(value.shape)}"
            )
        object.__setattr__(self, "rho", rho)
        object.__setattr__(self, "value", value)

    def __repr__(self) -> str:
        (a, b), (c, d) = (v.aminmax() for v in (self.rho, self.value))
        return (
            f"curve over {len(self.rho)} noise levels from {float(a):.3g} to {float(b):.3g}, "
            f"values from {float(c):.3g} to {float(d):.3g}"
        )

    def peak(self) -> NoiseLevel:
        """The level where the value is largest, by a parabola in ln rho through three points.

        Raises:
            ValueError: the largest value is at an end.
        """
        k = int(self.value.argmax())
        if k in (0, len(self.value) - 1):
            raise ValueError(
                f"the value is largest at the end rho = {float(self.rho[k]):g}; take a wider "
                "range of levels"
            )
        u = torch.log(self.rho[k - 1 : k + 2]).double()
        left, middle, right = self.value[k - 1 : k + 2].double()
        rise, fall = (middle - left) / (u[1] - u[0]), (right - middle) / (u[2] - u[1])
        bend = (fall - rise) / (u[2] - u[0])
        top = u[1] if bend == 0 else (u[0] + u[1]) / 2 - rise / (2 * bend)
        return NoiseLevel(float(torch.exp(top)))

    def crossing(self, level: float) -> NoiseLevel:
        """The largest rho at which the value equals `level`, linear in ln rho between points.

        Raises:
            ValueError: no value reaches `level`.
        """
        check_finite(level, "level")
        u, off = torch.log(self.rho), self.value - level
        if u[0] < u[-1]:
            u, off = u.flip(0), off.flip(0)
        crossed = (off[:-1] * off[1:] <= 0).nonzero()
        if not len(crossed):
            raise ValueError(
                f"the value stays between {float(self.value.min()):g} and "
                f"{float(self.value.max()):g} and does not reach {level:g}; take a wider range of "
                "levels"
            )
        k = int(crossed[0])
        part = off[k] / (off[k] - off[k + 1]) if off[k] != off[k + 1] else 0.0
        return NoiseLevel(float(torch.exp(u[k] + part * (u[k + 1] - u[k]))))
