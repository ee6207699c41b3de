r"""Make a grid follow the size of the cloud, by rescaled coordinates y and a rescaled time u.

Noise widens a cloud, for VE and EDM by factors of a thousand. A fixed grid is then too coarse at
one end of the run or too small at the other. In the coordinates

    y = x / s(t),    s(t)^2 = alpha^2 std^2 + sigma^2,

the cloud stays in one box. In the time

    u = ln(rho^2 + width^2) / 2,    rho = sigma / alpha,

the narrowest feature of the data, of standard deviation `width`, relaxes at a constant rate, so
that equal steps of u are equally accurate. `rescale` gives the SDE in y and u.

See docs/theory.md, (8.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_finite, check_positive
from sdeflow.density import Grid
from sdeflow.processes.process import Process, check_process
from sdeflow.sdes.requirements import check_no_walls
from sdeflow.sdes.sde import SDE, Transition, TransitionKernel


@dataclass(frozen=True)
class Rescaling:
    r"""Coordinates and a time in which a noised cloud keeps its size.

        y = x / s,    s^2 = alpha^2 std^2 + sigma^2,    u = ln(rho^2 + width^2) / 2

    Args:
        process: of the SDE.
        std: root mean square of the data, per coordinate, about the origin (length).
        width: standard deviation of the narrowest feature of the data (length); with 0, u is
            uniform in log SNR.
    """

    process: Process
    std: float = 1.0
    width: float = 0.0

    def __post_init__(self) -> None:
        check_process(self.process)
        check_positive(self.std, "std")
        check_positive(self.width, "width", zero=True)

    def __repr__(self) -> str:
        return f"rescaling of {self.process}, std {self.std:g}, width {self.width:g}"

    def __call__(self, t: Tensor | float) -> float:
        """The scale s(t) of the coordinates at one time."""
        when = (
            t
            if isinstance(t, Tensor) and not t.ndim
            else torch.tensor(check_finite(t, "t"), dtype=torch.float64)  # type: ignore[arg-type]
        )
        return float(self.scale_and_rates(when)[0])

    def scale_and_rates(self, t: Tensor) -> Tensor:
        """s, d ln s / dt and du / dt = (d rho^2 / dt) / (2 (rho^2 + width^2)), (3, *t.shape)."""
        c = self.process(_in_double(t))
        square = (c.alpha * self.std) ** 2 + c.sigma**2
        grown = c.alpha * c.alpha_dot * self.std**2 + c.sigma * c.sigma_dot
        pace = c.sigma * c.noise_rate / (c.sigma**2 + (c.alpha * self.width) ** 2)
        return torch.stack([torch.sqrt(square), grown / square, pace])

    def narrowest_feature(self, t: Tensor) -> Tensor:
        """sqrt(alpha^2 width^2 + sigma^2): the smallest standard deviation in the cloud at t."""
        c = self.process(_in_double(t))
        return torch.hypot(c.alpha * self.width, c.sigma)

    def rescaled_time(self, t: Tensor) -> Tensor:
        """The rescaled time u of t."""
        return torch.log(torch.exp(-self.process.log_snr(_in_double(t))) + self.width**2) / 2

    def time(self, u: Tensor) -> Tensor:
        """The time t of u, in the interval of the process; the inverse of `rescaled_time`."""
        level = torch.exp(2 * _in_double(u, "u")) - self.width**2
        t = self.process.time(-torch.log(level.clamp_min(1e-300)))
        return t.clamp(self.process.t_min, self.process.t_max)


def _in_double(t: Tensor | float, name: str = "t") -> Tensor:
    try:
        if isinstance(t, Tensor) and t.is_complex():
            raise TypeError
        return torch.as_tensor(t, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"{name} must be a time or a tensor of times, got {type(t).__name__}"
        ) from None


def rescale(sde: SDE, rescaling: Rescaling, at: Tensor | None = None) -> SDE:
    r"""The same SDE in the coordinates y = x / s(t) and the time u of a rescaling.

        dy = [f(s y, t) / s - (s_dot / s) y] (dt / du) du + g(s y, t) / s sqrt(dt / du) dW

    Args:
        sde: in x and t.
        rescaling: gives y and u.
        at: (K,) values of u at which the SDE will be evaluated; s and the rates there are then
            computed in advance.

    Raises:
        ValueError: the span of the SDE leaves the interval of the rescaling's process.
    """
    if not isinstance(sde, SDE) or not isinstance(rescaling, Rescaling):
        raise TypeError(
            f"rescale needs an SDE and a Rescaling, got {type(sde).__name__} and "
            f"{type(rescaling).__name__}"
        )
    check_no_walls(sde, "a rescaled grid")
    table = _Table(rescaling)
    if at is not None:
        table.compute(_in_double(at, "at").reshape(-1))
    return SDE(
        _RescaledDrift(sde, table),
        None if sde.diffusion is None else _RescaledNoise(sde, table),
        *_rescaled_span(sde, rescaling),
        calculus=sde.calculus,
        noises=sde.noises,
        transition=sde.transition and _RescaledTransition(sde.transition, rescaling),
    )


def _rescaled_span(sde: SDE, rescaling: Rescaling) -> tuple[float, float]:
    low, high = sorted((sde.t_start, sde.t_end))
    p = rescaling.process
    slack = 1e-9 * p.t_max
    if low < p.t_min - slack or high > p.t_max + slack:
        raise ValueError(
            f"the SDE runs between {low:g} and {high:g}, outside [{p.t_min:g}, {p.t_max:g}] of "
            "the rescaling's process; give the rescaling the process of this SDE"
        )
    ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64).clamp(p.t_min, p.t_max)
    first, last = rescaling.rescaled_time(ends).tolist()
    return first, last


class _Table:
    """t, s, d ln s / dt and du / dt for each u at which they were computed."""

    def __init__(self, rescaling: Rescaling) -> None:
        self.rescaling = rescaling
        self.rows: dict[float, tuple[Tensor, list[float]]] = {}

    def compute(self, u: Tensor) -> None:
        t = self.rescaling.time(u)
        values = self.rescaling.scale_and_rates(t).T.tolist()
        self.rows.update(zip(u.tolist(), zip(t, values, strict=True), strict=True))

    def __call__(self, u: Tensor) -> tuple[Tensor, list[float]]:
        if float(u) not in self.rows:
            self.compute(u.detach().double().reshape(1))
        return self.rows[float(u)]


@dataclass(frozen=True, eq=False)
class _RescaledDrift:
    sde: SDE
    table: _Table

    def __call__(self, y: Tensor, u: Tensor) -> Tensor:
        t, (s, growth, pace) = self.table(u)
        return self.sde.drift(s * y, t) / (s * pace) - (growth / pace) * y


@dataclass(frozen=True, eq=False)
class _RescaledNoise:
    sde: SDE
    table: _Table

    def __call__(self, y: Tensor, u: Tensor) -> Tensor:
        assert self.sde.diffusion is not None
        t, (s, _, pace) = self.table(u)
        return self.sde.diffusion(s * y, t) / (s * math.sqrt(pace))


@dataclass(frozen=True, eq=False)
class _RescaledTransition:
    """The transition kernel from u to v, of y_v = x_t / s(t) given y_u."""

    transition: Transition
    rescaling: Rescaling

    def __call__(self, u: float, v: float) -> TransitionKernel:
        before, after = self.rescaling.time(torch.tensor([u, v], dtype=torch.float64))
        size, new_size = self.rescaling(before), self.rescaling(after)
        k = self.transition(float(before), float(after))
        return TransitionKernel(
            k.scale * (size / new_size), k.shift / new_size, k.variance / new_size**2
        )


def fitted_rescaling(grid: Grid, process: Process, t: float) -> Rescaling:
    """The rescaling with s(t) a fifth of the grid's half-width, so that the grid holds the prior.

    Raises:
        ValueError: the grid does not hold the origin and five standard deviations of the noise.
    """
    c = process(torch.tensor(t, dtype=torch.float64))
    half = min(min(-a, b) for a, b in zip(grid.low, grid.high, strict=True))
    square = (half / 5) ** 2 - float(c.sigma) ** 2
    if half <= 0 or square <= 0:
        raise ValueError(
            f"a grid from {grid.low} to {grid.high} is too small to be rescaled about 0 with "
            f"noise {float(c.sigma):.2g}; make it larger, or give a rescaling"
        )
    return Rescaling(process, math.sqrt(square) / float(c.alpha))
