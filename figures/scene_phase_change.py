"""The field changes its character as the noise falls past sigma = 0.15.

Arrows: direction of the exact score, blue where it is more than 30 degrees off the direction of
the mean, grey elsewhere. Below: mean cosine of the score with the direction of the mean and with
that of the nearest data point; dotted, the noise levels above; grey, where arms 0.4 apart come
apart by theory, at radii 0.3 to 1.1.
"""

from __future__ import annotations

import torch

from benchmarks.claims.random_walk import lattice
from benchmarks.claims.setting import POINTS, SPIRAL, WIDE, exact
from figures.problems import Problem
from sdeflow import analysis, plot

PANELS, ASPECT, PROBLEM = (2, 4), 1.1, None
LEVELS = 0.30, 0.18, 0.13, 0.08
HALF, TURNED = 1.5, 30.0  # window; degrees from the direction of the mean


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Arrows at four noise levels, and the two alignments at all of them."""
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
    ax.plot(rho, middle.value, color=plot.VERMILION, label="with the mean")
    ax.plot(rho, near.value, color=plot.GREEN, ls="--", label="with the nearest point")
    arms = [analysis.arm_resolution(r, 0.4).rho for r in (0.3, 1.1)]
    ax.axvspan(*arms, color=plot.GREY, alpha=0.35, lw=0, label="arms come apart")
    for sigma in LEVELS:
        ax.axvline(sigma, color=plot.BLACK, lw=0.6, ls=":")
    ax.set(xscale="log", xlim=(1.0, 0.02), xlabel=r"noise level $\sigma$ (data units), falling")
    ticks = [1.0, 0.5, 0.2, 0.1, 0.05, 0.02]
    ax.set_xticks(ticks, [f"{k:g}" for k in ticks])
    ax.minorticks_off()
    ax.set_ylabel(rf"mean cosine on $\pm${HALF}")
    ax.legend(loc="center right")
