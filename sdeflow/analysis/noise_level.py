r"""Name a noise level independently of the process, and read a curve over noise levels.

In the Brownian frame y = x / alpha every process blurs the data by rho = sigma / alpha alone, so
that what a field does at one rho is the same for all processes. `NoiseLevel` holds rho, a length
in the units of the data, and converts it to the time of any process; `Curve` holds a quantity
against rho and finds its peak and its crossings.

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
    """rho = sigma / alpha, the blur of the data in their own units, positive."""

    rho: float

    def __post_init__(self) -> None:
        """Keep rho as a positive number."""
        object.__setattr__(self, "rho", check_positive(self.rho, "rho"))

    def __repr__(self) -> str:
        """In words."""
        return f"noise level {self.rho:.4g}"

    @staticmethod
    def of(process: Process, t: float) -> NoiseLevel:
        """The level of a process at one of its times."""
        check_kind(process, Process, "process")
        if not process.t_min <= (t := check_finite(t, "t")) <= process.t_max:
            raise ValueError(
                f"t = {t:g} lies outside [{process.t_min:g}, {process.t_max:g}], the times of "
                "this process"
            )
        return NoiseLevel(float(process.noise_level(t)))

    def t(self, process: Process) -> float:
        """The time at which this process has this level.

        Raises:
            ValueError: it never has.
        """
        return float(times_of(process, torch.tensor([self.rho], dtype=torch.float64)))

    @property
    def log_snr(self) -> float:
        """2 ln(alpha / sigma) = -2 ln rho."""
        return -2 * math.log(self.rho)

    @property
    def alpha_bar(self) -> float:
        """alpha^2 of a variance-preserving process at this level, 1 / (1 + rho^2)."""
        return 1 / (1 + self.rho**2)

    @property
    def ou_time(self) -> float:
        """The time of dx = -x dt + sqrt(2) dW from the data, ln(1 + rho^2) / 2."""
        return math.log1p(self.rho**2) / 2

    @property
    def flow_time(self) -> float:
        """The share of noise on the straight path, rho / (1 + rho): 0 data, 1 noise."""
        return self.rho / (1 + self.rho)


def times_of(process: Process, rho: Tensor) -> Tensor:
    """The times at which a process has the noise levels rho, of their shape.

    Raises:
        ValueError: it never has one of them.
    """
    check_kind(process, Process, "process")
    high, low = process.noise_level(ends(process)).tolist()
    # The ends themselves may arrive rounded.
    outside = (rho < low * (1 - 1e-9)) | (rho > high * (1 + 1e-9))
    if outside.any():
        raise ValueError(
            f"rho = {float(rho[outside][0]):g} lies outside [{low:g}, {high:g}], the noise levels "
            f"of this {type(process).__name__} process"
        )
    return process.time_of(rho)


def check_levels(rho: Tensor) -> Tensor:
    """Return rho in float64 if it is a row of positive noise levels (L,), falling or rising.

    Raises:
        TypeError, ValueError: it is not.
    """
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
        """Check that the two fit, and keep both in float64."""
        rho, value = check_levels(self.rho), check_numbers(self.value, "value")
        if value.shape != rho.shape:
            raise ValueError(
                f"a curve needs one value for each of its {len(rho)} levels rho, got values "
                f"{tuple(value.shape)}"
            )
        object.__setattr__(self, "rho", rho)
        object.__setattr__(self, "value", value)

    def __repr__(self) -> str:
        """In words."""
        (a, b), (c, d) = (v.aminmax() for v in (self.rho, self.value))
        return (
            f"curve over {len(self.rho)} noise levels from {float(a):.3g} to {float(b):.3g}, "
            f"values from {float(c):.3g} to {float(d):.3g}"
        )

    def peak(self) -> NoiseLevel:
        """Where the value is largest: the top of the parabola in ln rho through the best three.

        Raises:
            ValueError: it is largest at an end.
        """
        k = int(self.value.argmax())
        if k in (0, len(self.value) - 1):
            raise ValueError(
                f"the value is largest at the end rho = {float(self.rho[k]):g}; widen the levels"
            )
        u = torch.log(self.rho[k - 1 : k + 2]).double()
        left, middle, right = self.value[k - 1 : k + 2].double()
        rise, fall = (middle - left) / (u[1] - u[0]), (right - middle) / (u[2] - u[1])
        bend = (fall - rise) / (u[2] - u[0])
        top = u[1] if bend == 0 else (u[0] + u[1]) / 2 - rise / (2 * bend)
        return NoiseLevel(float(torch.exp(top)))

    def crossing(self, level: float) -> NoiseLevel:
        """The largest rho at which the value equals `level`, linear in ln rho.

        Raises:
            ValueError: it never does.
        """
        check_finite(level, "level")
        u, off = torch.log(self.rho), self.value - level
        if u[0] < u[-1]:
            u, off = u.flip(0), off.flip(0)
        crossed = (off[:-1] * off[1:] <= 0).nonzero()
        if not len(crossed):
            raise ValueError(
                f"the value stays between {float(self.value.min()):g} and "
                f"{float(self.value.max()):g} and never meets {level:g}; widen the levels"
            )
        k = int(crossed[0])
        part = off[k] / (off[k] - off[k + 1]) if off[k] != off[k + 1] else 0.0
        return NoiseLevel(float(torch.exp(u[k] + part * (u[k + 1] - u[k]))))
