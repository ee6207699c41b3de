"""The density of one coordinate over time, with paths of the reverse SDE and of the flow.

Colours: p(x, t) of a mixture of two Gaussians under the cosine process. Left, paths of the reverse
SDE (eta = 1); right, of the probability flow (eta = 0), from the same starts. Both have this
density.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot

PANELS = (1, 2)
COLUMNS = 1
ASPECT = 0.9
F64 = torch.DoubleTensor


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw two modes in one dimension, for every problem."""
    cells, frames = (320, 81) if quick else (1024, 241)
    weights, means = F64([0.35, 0.65]), F64([[-1.2], [0.8]])
    data = sf.GaussianMixture(weights, means, F64([[[0.06]], [[0.06]]]))
    field = sf.ExactField(sf.processes.Cosine(t_max=0.99), data)
    sde, flow = sf.reverse(field), sf.reverse(field, eta=0.0)
    times = torch.linspace(sde.t_start, sde.t_end, frames, dtype=torch.float64)
    grid = sf.Grid(-5.0, 5.0, cells)
    densities = sf.evolve(sde, field.density(grid, sde.t_start), times)
    start = field.process.prior(8, 1, seed=4).double()
    fine = torch.linspace(sde.t_start, sde.t_end, 961, dtype=torch.float64)
    paths = {
        "reverse SDE": sf.SDESolver("heun", times=fine, seed=0).solve(sde, start, save=frames),
        "probability flow": sf.ODESolver("rk4", times=fine).solve(flow, start, save=frames),
    }
    axes = fig.subplots(1, 2, sharex=True, sharey=True)
    for ax, (name, path), colour in zip(
        axes, paths.items(), (plot.VERMILION, plot.BLACK), strict=True
    ):
        mesh = plot.tube(ax, densities, where=plot.Window(-3.0, 3.0))
        plot.trails(ax, path, range(len(start)), colour)
        ax.set(title=name, xlim=(1, 0), ylim=(-3, 3), xlabel="$t$ (from noise to data)")
    axes[1].set_ylabel("")
    plot.colour_bar(axes, mesh)
