"""The score turns from the mean to the nearest data point as sigma falls below 0.15.

Above: direction of the exact score, blue where it is more than 30 degrees off the direction
towards the mean, grey elsewhere. Below: mean cosine between the score and the direction towards
the mean, and between the score and the direction towards the nearest data point; dotted, the noise
levels shown above; grey, the levels at which theory separates two arms of the spiral that are 0.4
apart, at radii 0.3 to 1.1.
"""

from __future__ import annotations

import torch

from benchmarks.claims.random_walk import lattice
from benchmarks.claims.setting import POINTS, SPIRAL, WIDE, exact
from figures.problems import Problem
from sdeflow import analysis, plot

PANELS, ASPECT, PROBLEM = (2, 4), 1.1, None
LEVELS = 0.30, 0.18, 0.13, 0.08
HALF, TURNED = 1.5, 30.0  # half the window; degrees from the direction towards the mean


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw arrows at four noise levels, and the mean cosines at all levels."""
    field, cells = exact(), fig.add_gridspec(2, 4)
    for i, sigma in enumerate(LEVELS):
        ax, t = fig.add_subplot(cells[0, i]), float(WIDE.time_of(sigma))
        plot.cloud(ax, POINTS, plot.BLACK, 2.0)
        arrows = plot.arrows(ax, field, t, HALF, 15)
        y = torch.from_numpy(arrows.get_offsets())
        cosine = torch.cosine_similarity(field.score(y, t), SPIRAL.mean - y)
        turned = torch.rad2deg(torch.acos(cosine.clamp(-1, 1))) > TURNED
        arrows.set_color([plot.BLUE if k else plot.GREY for k in turned])
        plot.frame(ax, HALF, rf"$\sigma$ = {sigma}")
        ax.set_xlabel(rf"$t$ = {t:.2f}, window $\pm${HALF}")
    ax = fig.add_subplot(cells[1, :])
    rho = torch.logspace(-1.7, 0.0, 60 if quick else 120, dtype=torch.float64)
    middle, near = analysis.alignment(field, POINTS, lattice(HALF, 20 if quick else 30), rho)
    ax.plot(rho, middle.value, color=plot.VERMILION, label="towards the mean")
    ax.plot(rho, near.value, color=plot.GREEN, ls="--", label="towards the nearest point")
    arms = [analysis.arm_resolution(r, 0.4).rho for r in (0.3, 1.1)]
    ax.axvspan(*arms, color=plot.GREY, alpha=0.35, lw=0, label="arms separate")
    for sigma in LEVELS:
        ax.axvline(sigma, color=plot.BLACK, lw=0.6, ls=":")
    ax.set(xscale="log", xlim=(1.0, 0.02), xlabel=r"noise level $\sigma$ (data units), falling")
    ticks = [1.0, 0.5, 0.2, 0.1, 0.05, 0.02]
    ax.set_xticks(ticks, [f"{k:g}" for k in ticks])
    ax.minorticks_off()
    ax.set_ylabel(rf"mean cosine in $\pm${HALF}")
    ax.legend(loc="center right")
