"""Paths of the reverse SDE and of the probability flow over the density of the data.

Paths are coloured by time t; open dots mark their starts, full dots their ends. Both panels have
the same starts, noised data at t = 0.5; between t = 1 and 0.5 the density hardly changes. Blue:
the density of the data.
"""

from __future__ import annotations

from dataclasses import replace

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot

PANELS = (1, 2)
COLUMNS = 1
ASPECT = 1.25


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw paths from the same starts with and without noise."""
    cells, steps, n = (128, 200, 6) if quick else (512, 1000, 6)
    process = replace(problem.process, t_max=0.5)
    field = sf.ExactField(process, problem.data)
    data = field.density(problem.grid(cells), process.t_min)
    start = process.prior(n, 2, seed=3, data=problem.data.sample(n, seed=4)).double()
    times = sf.processes.angle_times(process, steps)
    sde, flow = sf.reverse(field), sf.reverse(field, eta=0.0)
    paths = {
        "reverse SDE": sf.SDESolver("heun", times=times, seed=0).solve(sde, start, steps + 1),
        "probability flow": sf.ODESolver("heun2", times=times).solve(flow, start, steps + 1),
    }
    shown = plot.window(*paths.values())
    axes = fig.subplots(1, 2)
    for ax, (name, path) in zip(axes, paths.items(), strict=True):
        image = plot.density(ax, data, shown)
        lines = plot.trajectories(ax, path, range(n), colours="copper")
        plot.frame(ax, shown, name, unit="data unit")
        ax.set(xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    axes[1].set(ylabel="", yticklabels=[])
    bar = fig.colorbar(image, ax=axes, location="bottom", shrink=0.6, aspect=30)
    bar.set_label("$p$ of the data (1 / data unit$^2$)")
    plot.colour_bar(axes, lines)
