"""The score and the streamlines of the probability flow at four times.

Above, the score grad ln p_t as arrows, with the length of the longest arrow below each panel.
Below, the streamlines of the flow towards the data. Blue: the density p_t, from zero to its
largest value in each panel. Times are equally spaced in the square root of the angle arctan(sigma
/ alpha).
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot

PANELS = (2, 4)
SHOWN = 2.8


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw the score above, the flow below."""
    cells, nodes = (128, 48) if quick else (400, 96)
    grid, field = problem.grid(cells), problem.field
    flow = sf.reverse(field, eta=0.0)
    times = sf.processes.angle_times(problem.process, 8)[[1, 3, 5, 7]]
    axes = fig.subplots(2, 4)
    for k, t in enumerate(times.tolist()):
        p = field.density(grid, t)
        for ax in axes[:, k]:
            plot.density(ax, p, SHOWN)
        plot.arrows(axes[0, k], field, t, SHOWN, nodes=11, colour=plot.BLACK, proportional=True)
        plot.streamlines(
            axes[1, k], lambda x, t: -flow.drift(x, t), t, SHOWN, nodes, 0.6, plot.BLACK
        )
        longest = _longest(field, t)
        level = float(problem.process(t).sigma)
        plot.frame(axes[0, k], SHOWN, f"$t$ = {t:.2g}\n$\\sigma$ = {level:.2g}")
        plot.frame(axes[1, k], SHOWN)
        axes[0, k].set_xlabel(
            f"longest arrow: {longest:{'.2g' if longest < 100 else ',.0f'}}", labelpad=2
        )
        axes[1, k].set_xlabel(f"$p \\leq$ {plot.peak(p):.2g}", labelpad=2)
    axes[0, 0].set_ylabel("score (1 / data unit)")
    axes[1, 0].set_ylabel("flow, $p$ (1 / data unit$^2$)")


def _longest(field: sf.ExactField, t: float) -> float:
    """The largest score at the points of the arrows."""
    row = SHOWN * ((2 * torch.arange(11, dtype=torch.float64) + 1) / 11 - 1)
    return float(field.score(torch.cartesian_prod(row, row), t).norm(dim=1).max())
