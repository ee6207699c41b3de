"""DDIM takes each start to one end; DDPM takes it to another end in each run.

All runs have the exact field and go from sigma = 1 to sigma = 0.01; starts are noised data. Left,
16 paths of DDIM over 256 noise levels (open dots: start, full: end). Middle, 40 runs with
different noise from each of three starts (crosses), over 64 levels: under DDIM all 40 end in one
place. Right, the ends of DDIM from 256 starts.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.claims.setting import NARROW, POINTS, SPIRAL, exact
from figures.problems import Problem
from sdeflow import plot

PANELS, PROBLEM = (1, 4), None
STARTS, RUNS = (3, 5, 9), 40
INKS = plot.BLUE, plot.VERMILION, plot.GREEN


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw DDIM's paths, the ends of DDIM and DDPM from three starts, and 256 ends of DDIM."""
    axes = fig.subplots(1, 4)
    starts = NARROW.prior(256, 2, seed=0, data=SPIRAL.distribution)
    path = sf.SDESolver("euler", 255, seed=0).solve(sf.ancestral(exact(NARROW), 0.0), starts, 256)
    few = torch.arange(16)
    lines = plot.trajectories(axes[0], path, few.tolist())
    window = plot.window(path.x[:, few].flatten(0, 1), POINTS)
    for ax, eta, name in ((axes[1], 0.0, "DDIM"), (axes[2], 1.0, "DDPM")):
        for start, ink in zip(starts[list(STARTS)], INKS, strict=True):
            ends = _ends(start, eta)
            plot.cloud(ax, ends, ink, 8.0 if eta else 12.0)
            ax.plot(*start, "x", color=ink, ms=4)
        plot.frame(ax, window, f"{name}, {RUNS} runs each")
    plot.cloud(axes[3], path.x[-1], plot.BLACK, 3.0)
    plot.frame(axes[0], window, "DDIM, 16 paths")
    plot.frame(axes[3], window, "DDIM, 256 ends")
    for ax in axes:
        ax.scatter(*POINTS.T, s=2.0, color=plot.GREY, zorder=0.4, lw=0)
        ax.set_xlabel(f"{2 * window.half:.2g} data units wide")
    plot.colour_bar(axes[0], lines, r"$t$, where $\sigma = 10^{2 t - 2}$")


def _ends(start: Tensor, eta: float) -> Tensor:
    """The ends (RUNS, 2) of runs with different noise from one start."""
    sde = sf.ancestral(exact(NARROW), eta)
    return sf.SDESolver("euler", 63, seed=1).solve(sde, start.expand(RUNS, 2), 1).x[-1]
