"""A random walk of 100 steps takes points from the spiral to noise.

The colour of a point is its start on the spiral; the black line is one walk. Each coordinate of a
step has standard deviation s = 0.07. The mean square distance from the start, over all walks, is
that of Brownian motion, 2 s^2 k after k steps.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from benchmarks.claims.random_walk import STEP, STEPS
from benchmarks.claims.setting import POINTS
from figures.problems import Problem
from sdeflow import plot

PANELS, ASPECT, PROBLEM = (1, 4), 1.1, None
SHOWN = 0, 4, STEPS
WALKER = 75  # the point whose walk the lecture shows


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw three clouds with one walk, and the mean square distance from the start."""
    each = 10 if quick else 100
    walks = sf.sdes.brownian(STEP**2 / 2, float(STEPS))
    start = POINTS.repeat(each, 1)
    x = sf.SDESolver("euler", STEPS, seed=0).solve(walks, start, save=STEPS + 1).x
    place = (torch.arange(len(POINTS)) / (len(POINTS) - 1)).repeat(each)
    axes, window = fig.subplots(1, 4), plot.window(x[-1, :1000], margin=0.02)
    for ax, k in zip(axes, SHOWN, strict=False):
        dots = plot.cloud(ax, x[k, :1000], place[:1000], 3.0)
        ax.plot(*x[: k + 1, WALKER].T, color=plot.BLACK, lw=0.7)
        ax.plot(*x[k, WALKER], "o", color=plot.BLACK, ms=2.5)
        plot.frame(ax, window, f"{k} steps")
        ax.set_xlabel(rf"$\sigma$ = {STEP * k**0.5:.2g}")
    fig.supxlabel(f"windows: {2 * window.half:.2g} data units wide", x=0.01, ha="left")
    plot.colour_bar(axes[:3], dots, "start: 0 inner end, 1 outer end")
    far = ((x - start) ** 2).sum(2)
    mean, error = far.mean(1), far.std(1) / far.shape[1] ** 0.5
    step = torch.arange(STEPS + 1)
    axes[3].plot(step, 2 * STEP**2 * step, color=plot.BLACK, lw=0.8, label="$2 s^2 k$")
    axes[3].errorbar(
        step[::10], mean[::10], 2 * error[::10], fmt="o", ms=2.5, color=plot.BLUE, lw=0.8,
        label=r"$\pm$2 s.e.",
    )  # fmt: skip
    axes[3].set(xlabel="step $k$", ylabel="mean square distance\nfrom the start (data unit$^2$)")
    axes[3].set_title(f"{far.shape[1]:,} walks")
    axes[3].legend(loc="upper left", borderaxespad=0.0, handlelength=1.0)
