"""Sample by the lecture's loop, right and with a mistake, and fit the order of a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from benchmarks.claims.flow_matching import Draw
from sdeflow import plot

Velocity = Callable[[Tensor, float], Tensor]
Loop = Callable[[Velocity, Tensor, float, float, int], Tensor]


def two_lines(u: Velocity, x: Tensor, start: float, stop: float, steps: int) -> Tensor:
    """The lecture's loop, x += u dt, from time `start` to `stop` of the lecture's time."""
    dt = (stop - start) / steps
    for k in range(steps):
        x = x + u(x, start + k * dt) * dt
    return x


def whole_span(u: Velocity, x: Tensor, start: float, stop: float, steps: int) -> Tensor:
    """The loop with a mistake: its step is that of a span of length one."""
    for k in range(steps):
        x = x + u(x, start + k * (stop - start) / steps) / steps
    return x


def order(error: dict[int, float]) -> float:
    """The order of a method: minus the slope of ln error over ln steps."""
    return -float(np.polyfit(np.log(list(error)), np.log(list(error.values())), 1)[0])


def draw_orders(errors: Sequence[dict[int, float]], slopes: Sequence[float]) -> Draw:
    """Draw the errors of the two lines and of RK4 over their steps."""

    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        for e, s, colour, name in zip(
            errors, slopes, (plot.BLUE, plot.VERMILION), ("two lines (Euler)", "RK4"), strict=True
        ):
            label = f"{name}: slope {-s:.2f}"
            ax.loglog(list(e), list(e.values()), "o-", ms=3, color=colour, label=label)
        ax.set(xlabel="steps", ylabel="median distance to the exact end", ylim=(None, 2))
        ax.legend(loc="upper left")

    return draw
