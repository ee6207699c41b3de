"""Measure how far a few large Euler steps end from the exact flow."""

from __future__ import annotations

import math

from torch import Tensor

from benchmarks.claims.flow_matching import SIZE, Draw
from sdeflow import plot
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver


def euler_errors(
    field: Field, x: Tensor, end: Tensor, times: Tensor
) -> tuple[dict[int, float], float]:
    """Root mean square distance of 1, 2, ..., 64 Euler steps from `end` (n, d).

    Returns:
        The distance by the number of steps, and the standard error of that of one step.
    """
    off = {}
    for k in (1, 2, 4, 8, 16, 32, 64):
        solver = ODESolver("euler", times=times[:: 64 // k])
        y = solver.solve(reverse(field, 0.0), x, save=1).x[-1]
        off[k] = ((y - end) ** 2).sum(1)
    error = {k: float(square.mean().sqrt()) for k, square in off.items()}
    return error, float(off[1].std()) / math.sqrt(len(x)) / (2 * SIZE)


def overshooting(field: Field, path: Tensor, times: Tensor, k: int) -> float:
    """Share of points that one step from times[k] to the end takes beyond their end."""
    left, step = path[-1] - path[k], (times[-1] - times[k]) * field.velocity(path[k], times[k])
    return float(((left * step).sum(1) > (left**2).sum(1)).double().mean())


def straightness(path: Tensor, times: Tensor) -> float:
    """The straightness E int |(x1 - x0) - u|^2 dt / E |x1 - x0|^2 of a path (times, n, d)."""
    length = ((path[-1] - path[0]) ** 2).sum(1).mean()
    speed = (path.diff(dim=0) / times.diff()[:, None, None]).pow(2).sum(2).mean()
    return float(speed) * float(times[0] - times[-1]) ** 2 / float(length) - 1


def draw_ways(path: Tensor, error: dict[int, float]) -> Draw:
    """Draw exact paths and one big step, and the error over the number of steps."""

    def draw(fig: plot.Figure) -> None:
        left, right = fig.subplots(1, 2)
        plot.frame(left, 4.6, "grey: exact, blue: one step")
        for way in path.unbind(1):
            left.plot(*way.T, color=plot.GREY, lw=0.9)
            left.plot([float(way[0, 0]), 0], [float(way[0, 1]), 0], color=plot.BLUE, lw=0.7)
        left.plot(*path[-1].T, "o", color=plot.BLACK, ms=2.5)
        left.plot(0, 0, "s", color=plot.VERMILION, ms=4)
        right.loglog(list(error), list(error.values()), "o-", ms=3, color=plot.BLUE)
        right.axhline(SIZE, color=plot.VERMILION, lw=0.8, ls="--")
        right.text(2, 1.08 * SIZE, "all at the mean", color=plot.VERMILION, fontsize=7)
        right.set_xticks(list(error), [str(k) for k in error])
        right.set_yticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
        right.minorticks_off()
        right.set(xlabel="Euler steps", ylabel="rms distance to the exact end")

    return draw
