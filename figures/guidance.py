"""Classifier-free guidance towards one class of the data, at three scales w.

The guided field is eps + w (eps of the class - eps). Above: streamlines of its score over the
noised density of the class, at noise level 0.4 data std. Middle: the data (grey) and particles at
the end of the guided probability flow (blue, 500 of 2,000). Below, against w: the spread of the
particles over that of the class; coverage, the share of 200 draws of the class that are the
nearest draw of some particle; and the sliced Wasserstein distance to the class. Blue: median and
range of four clouds. Grey: the same of exact draws, mean +- 2 standard deviations of eight pairs.
"""

from __future__ import annotations

import numpy as np
import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.diagnostics import coverage, sliced_wasserstein, spread
from sdeflow.distributions.distribution import Distribution

PANELS = (3, 3)
ASPECT = 0.82
SHOWN = (1.0, 2.0, 4.0)
LABEL, N, HALF = 0, 2000, 2.6
NAMES = "spread / that of the class", "coverage", "distance (data std)"


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw fields, clouds, and three measures of the clouds."""
    seeds, scales = (2, SHOWN) if quick else (4, (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0))
    field, wanted = problem.field, problem.field.given(LABEL)
    t = float(problem.process.time_of(torch.tensor(0.4)))
    noised = wanted.density(problem.grid(64 if quick else 192), t)
    data = problem.data.sample(600, 50)
    axes = fig.subplots(3, 3)
    for column, scale in zip(axes.T[:, :2], SHOWN, strict=True):
        guided = sf.GuidedField(wanted, field, scale)
        plot.density(column[0], noised, HALF)
        plot.streamlines(column[0], guided, t, HALF, closeness=0.7, colour=plot.BLACK)
        plot.cloud(column[1], data, colour=plot.GREY, size=0.8)
        plot.cloud(column[1], ends(guided, 0)[:500], size=1.2)
        plot.frame(column[0], HALF, f"$w$ = {scale:g}").set_xlabel("")
        plot.frame(column[1], HALF)
    found = [
        [measured(ends(sf.GuidedField(wanted, field, w), s), wanted.distribution, s)
         for s in range(seeds)] for w in scales
    ]  # fmt: skip
    exact = [measured(wanted.sample(N, 60 + s), wanted.distribution, s) for s in range(8)]
    for k, (ax, name) in enumerate(zip(axes[2], NAMES, strict=True)):
        mean, sd = np.mean(exact, 0)[k], np.std(exact, 0, ddof=1)[k]
        ax.axhspan(
            mean - 2 * sd, mean + 2 * sd, color=plot.GREY, alpha=0.35, lw=0, label="exact draws"
        )
        low, middle, high = np.quantile(np.array(found)[:, :, k], (0.0, 0.5, 1.0), axis=1)
        ax.plot(scales, middle, "o-", color=plot.BLUE, ms=3)
        ax.fill_between(scales, low, high, color=plot.BLUE, alpha=0.2, lw=0)
        ax.set(xlabel="guidance $w$", ylabel=name)
        ax.set_ylim(bottom=0.0)
    axes[2, 2].legend(loc="upper left", borderaxespad=0.0)


def ends(field: sf.GuidedField, seed: int) -> torch.Tensor:
    """The particles at the end of the guided probability flow."""
    noise = field.process.prior(N, 2, seed, torch.float64)
    return sf.ODESolver("rk4", steps=50).solve(sf.reverse(field, 0.0), noise).x[-1]


def measured(x: torch.Tensor, wanted: Distribution, seed: int) -> tuple[float, float, float]:
    """Spread, coverage and distance of particles, compared with draws of `wanted`."""
    draws = wanted.sample(N, 1000 + seed)
    covariance = torch.cov(wanted.sample(100_000, 2000).T)
    return spread(x, covariance), coverage(x, draws[:200]), sliced_wasserstein(x, draws)
