"""DDPM with its noise, and without it: 256 points then collapse to one place.

Both have the same starts at sigma = 10, 63 steps and the exact field. Right: the spread, the root
mean square distance of the points from their mean; dashed, that of a Gaussian of the data's
covariance sampled without noise, in closed form; dotted, that of the data. Below the last panels:
how many of the 100 data points are the nearest one of some particle; for 256 fresh data
100 (1 - 0.99^256) = 92 are expected.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarks.claims.setting import COVARIANCE, POINTS, SPIRAL, WIDE, chain, exact, noiseless
from figures.problems import Problem
from sdeflow import analysis, diagnostics, plot

PANELS, PROBLEM = (2, 4), None
PARTICLES = 256
SHOWN = 20, 32, 63  # steps
NAMES = {1.0: ("with noise", plot.BLUE), 0.0: ("without noise", plot.VERMILION)}


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw clouds at three noise levels, with noise and without, and their spread at all."""
    cells = fig.add_gridspec(2, 4)
    right = fig.add_subplot(cells[:, 3])
    paths = {kept: chain(noiseless(exact(), kept), PARTICLES, seed=0, save=64) for kept in NAMES}
    sigma = WIDE(paths[1.0].t).sigma
    for row, (kept, (name, colour)) in enumerate(NAMES.items()):
        x = paths[kept].x
        for i, k in enumerate(SHOWN):
            ax, half = fig.add_subplot(cells[row, i]), 1.1 * float(paths[1.0].x[k].abs().max())
            plot.cloud(ax, POINTS, plot.GREY, 4.0)
            plot.cloud(ax, x[k], colour, 2.5)
            plot.frame(ax, half, rf"$\sigma$ = {sigma[k]:.2g}" if row == 0 else None)
            ax.set_xlabel(rf"window $\pm${half:.1f}")
            if i == 0:
                ax.set_ylabel(name, color=colour)
        covered = 100 * diagnostics.coverage(x[-1], POINTS)
        ax.set_xlabel(f"{ax.get_xlabel()}, {covered:.0f} of 100")
        right.loglog(sigma, _spread(x), color=colour)
    _theory(right, sigma)


def _spread(x: Tensor) -> Tensor:
    """The root mean square distance (T,) from the mean."""
    return x.double().var(1, correction=0).sum(1).sqrt()


def _theory(ax: Any, sigma: Tensor) -> None:
    """Draw the spread of a Gaussian sampled without noise, and that of the data."""
    start = analysis.NoiseLevel(float(sigma[0]))
    covariances = [
        analysis.noiseless_law(SPIRAL.mean, COVARIANCE, start, analysis.NoiseLevel(float(s)))[1]
        for s in sigma[1:]
    ]
    ax.loglog(
        sigma[1:], [float(c.trace()) ** 0.5 for c in covariances], "--", color=plot.BLACK, lw=0.8
    )
    ax.axhline(float(COVARIANCE.trace()) ** 0.5, ls=":", color=plot.BLACK, lw=0.8)
    ax.set(xlabel=r"$\sigma$ (data units)", ylabel="spread (data units)")
    ax.set_xticks([10, 1, 0.1, 0.01])
    ax.minorticks_off()
    ax.invert_xaxis()
