"""Flow matching moves noise onto the checkerboard along almost straight lines.

Particles follow the exact marginal velocity of x_t = (1 - t) x_0 + t eps from noise (t = 1) to
data (t = 0) in 50 Euler steps. Arrows: the direction of the velocity towards the data. Right: 40
paths, and by how much the mean path is longer than a straight line. The side of a square is 2.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from benchmarks.claims.flow_matching import SQUARES, on_squares
from benchmarks.claims.setting import WHOLE, exact_on_checkerboard
from figures.problems import Problem
from sdeflow import plot

PANELS, PROBLEM = (1, 4), None
STEPS, HALF = 50, 4.8
TIMES = 1.0, 0.5, 0.0


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw clouds and velocity at three times, and the paths of some particles."""
    field = exact_on_checkerboard(WHOLE)
    times = torch.linspace(WHOLE.t_max, WHOLE.t_min, STEPS + 1, dtype=torch.float64)
    start = WHOLE.prior(1000 if quick else 4000, 2, seed=0, dtype=torch.float64)
    path = sf.ODESolver("euler", times=times).solve(sf.reverse(field, 0.0), start, STEPS + 1)
    axes = fig.subplots(1, 4)
    shade = 1 - 0.2 * SQUARES.weights.numpy()
    for ax in axes:
        ax.imshow(shade, cmap="gray", vmin=0, vmax=1, extent=(-4, 4, -4, 4), origin="lower")
    for ax, t in zip(axes, TIMES, strict=False):
        k = int((times - t).abs().argmin())
        plot.cloud(ax, path.x[k, :1000], plot.BLUE, 1.5)
        if t > 0:
            plot.arrows(ax, lambda x, s: -field.velocity(x.double(), s), t, HALF, 11, plot.BLACK)
            ax.set_xlabel(rf"window $\pm${HALF}")
        plot.frame(ax, HALF, f"$t$ = {t:g}")
    axes[2].set_xlabel(f"{100 * on_squares(path.x[-1])[0]:.1f} % on squares")
    lines = plot.trajectories(axes[3], path, range(40))
    plot.frame(axes[3], HALF, "40 paths")
    way = path.x.diff(dim=0).norm(dim=2).sum(0).mean() / (path.x[-1] - start).norm(dim=1).mean()
    axes[3].set_xlabel(f"mean length +{100 * (float(way) - 1):.0f} %")
    plot.colour_bar(axes[3], lines)
