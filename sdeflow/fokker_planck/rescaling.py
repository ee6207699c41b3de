r"""A breathing grid: the size of the cloud as the unit of length, and a clock for its details.

Noise spreads a cloud and data draw it together again, by factors of a thousand for VE and EDM. A
fixed box is then too large at one end or too small at the other. In y = x / s(t),

    s(t)^2 = alpha^2 std^2 + sigma^2,

every process lives in one box: VE in these units is VP. And its narrowest feature, of standard
deviation `width` in the data, fades and forms again within a few of the process's own times. On

    u = ln(rho^2 + width^2) / 2,    rho = sigma / alpha,

it always relaxes at the same rate, so that equal steps of u are equally hard.

`rescale` is the law of motion in y and u. It is another SDE like any other: whoever solves it
needs to know nothing of rulers.

See docs/theory.md, (8.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_positive
from sdeflow.density import Grid
from sdeflow.processes.process import Process
from sdeflow.sdes.sde import SDE


@dataclass(frozen=True)
class Rescaling:
    r"""s(t) = sqrt(alpha^2 std^2 + sigma^2), the size of the cloud, by which a grid may breathe,
    and its clock u = ln(rho^2 + width^2) / 2, rho = sigma / alpha.

    In y = x / s every process lives in one box: VE in these units is VP. On the clock u a feature
    of the data that is `width` wide always relaxes at the same rate.

    Args:
        process: of the law.
        std: of the data, per coordinate, about the origin; or the scale that the box is meant for.
        width: standard deviation of the narrowest feature of the data; 0: uniform in log SNR.

    Raises:
        TypeError, ValueError: std is not positive, width is negative.
    """

    process: Process
    std: float = 1.0
    width: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        check_positive(self.std, "std")
        check_positive(self.width, "width", zero=True)

    def __call__(self, t: Tensor | float) -> float:
        """s(t)."""
        return float(self.reading(torch.as_tensor(t, dtype=torch.float64))[0])

    def reading(self, t: Tensor) -> Tensor:
        """s, d ln s / dt and du / dt = (d rho^2 / dt) / (2 (rho^2 + width^2)), (3, *t.shape)."""
        c = self.process(t)
        square = (c.alpha * self.std) ** 2 + c.sigma**2
        grown = c.alpha * c.alpha_dot * self.std**2 + c.sigma * c.sigma_dot
        pace = c.sigma * c.stretch / (c.sigma**2 + (c.alpha * self.width) ** 2)
        return torch.stack([torch.sqrt(square), grown / square, pace])

    def feature(self, t: Tensor) -> Tensor:
        """sqrt(alpha^2 width^2 + sigma^2): the narrowest standard deviation in the cloud at t."""
        c = self.process(t)
        return torch.hypot(c.alpha * self.width, c.sigma)

    def rescaled_time(self, t: Tensor) -> Tensor:
        """u of t."""
        return torch.log(torch.exp(-self.process.log_snr(t)) + self.width**2) / 2

    def time(self, u: Tensor) -> Tensor:
        """t of u, within the process's interval."""
        level = torch.exp(2 * u) - self.width**2
        t = self.process.time(-torch.log(level.clamp_min(1e-300)))
        return t.clamp(self.process.t_min, self.process.t_max)


def rescale(sde: SDE, rescaling: Rescaling, at: Tensor | None = None) -> SDE:
    r"""The same law in y = x / s(t), on the ruler's clock u.

    dy = [f(s y, t) / s - (s_dot / s) y] (dt / du) du + g(s y, t) / s sqrt(dt / du) dW.

    Args:
        at: (K,) values of u that will be asked for: what depends on them alone is worked out now.

    Raises:
        ValueError: the law's span leaves the interval of the ruler's process.
    """
    low, high = sorted((sde.t_start, sde.t_end))
    p = rescaling.process
    slack = 1e-9 * p.t_max
    if low < p.t_min - slack or high > p.t_max + slack:
        raise ValueError(
            f"the law runs between {low:g} and {high:g}, outside [{p.t_min:g}, {p.t_max:g}] of "
            "the ruler's process; give the ruler the process of this law"
        )
    noise = sde.diffusion
    table: dict[float, tuple[Tensor, list[float]]] = {}

    def work_out(u: Tensor) -> None:
        t = rescaling.time(u)
        table.update(
            zip(u.tolist(), zip(t, rescaling.reading(t).T.tolist(), strict=True), strict=True)
        )

    def look_up(u: Tensor) -> tuple[Tensor, list[float]]:
        if float(u) not in table:
            work_out(u.detach().double().reshape(1))
        return table[float(u)]

    def drift(y: Tensor, u: Tensor) -> Tensor:
        t, (s, growth, pace) = look_up(u)
        return sde.drift(s * y, t) / (s * pace) - (growth / pace) * y

    def diffusion(y: Tensor, u: Tensor) -> Tensor:
        assert noise is not None
        t, (s, _, pace) = look_up(u)
        return noise(s * y, t) / (s * math.sqrt(pace))

    if at is not None:
        work_out(at)
    ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64).clamp(p.t_min, p.t_max)
    first, last = rescaling.rescaled_time(ends).tolist()
    return SDE(drift, None if noise is None else diffusion, first, last, calculus=sde.calculus)


def breathing(grid: Grid, process: Process, t: float) -> Rescaling:
    """s(t) a fifth of the grid's half-width, which then holds the prior at any time.

    Raises:
        ValueError: the origin is not inside, or less than five times the noise at t fits.
    """
    c = process(torch.tensor(t, dtype=torch.float64))
    half = min(min(-a, b) for a, b in zip(grid.low, grid.high, strict=True))
    square = (half / 5) ** 2 - float(c.sigma) ** 2
    if half <= 0 or square <= 0:
        raise ValueError(
            f"a grid from {grid.low} to {grid.high} cannot breathe about 0 with noise "
            f"{float(c.sigma):.2g}; make it larger, or give a ruler"
        )
    return Rescaling(process, math.sqrt(square) / float(c.alpha))
