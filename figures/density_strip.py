"""The density and the cloud of the reverse SDE on their way from noise to data."""

from __future__ import annotations

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot

PANELS = (2, 5)


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Above the density after Fokker and Planck, below particles under the same SDE."""
    n, cells = (500, 64) if quick else (4000, 192)
    sde = sf.reverse(problem.field)
    noise = problem.process.prior(n, 2, seed=0)
    path = sf.SDESolver("heun", steps=100, seed=0).solve(sde, noise, save=4)
    start = problem.field.density(problem.grid(cells), problem.process.t_max)
    densities = sf.evolve(sde, start, path.t)
    axes = fig.subplots(2, 5)
    for k, t in enumerate(path.t.tolist()):
        plot.density(axes[0, k], densities[k])
        plot.cloud(axes[1, k], path.x[k])
        for ax in axes[:, k]:
            plot.frame(ax, 3.0, f"t = {t:.2g}" if ax is axes[0, k] else None)
