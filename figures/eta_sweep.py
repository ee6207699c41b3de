"""The sampler's noise eta, from DDIM (0) to DDPM (1): clouds, and their distance to the data.

Above, clouds after ten ancestral steps, uniform in log SNR. Below, the sliced Wasserstein distance
between 10,000 particles and as many draws of the data: median and quartiles over eight pairs.
Grey: the sampling floor, which is the distance between two sets of draws, mean +- 2 standard
deviations.
"""

from __future__ import annotations

import numpy as np
import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.diagnostics import sampling_floor, sliced_wasserstein

PANELS = (3, 5)
ASPECT = 0.8
SHOWN = (0.0, 0.25, 0.5, 0.75, 1.0)
STEPS = {5: plot.ORANGE, 10: plot.BLUE, 20: plot.GREEN, 50: plot.PURPLE}


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw clouds above, distances below."""
    n, seeds, etas = (500, 3, SHOWN) if quick else (10_000, 8, tuple(np.linspace(0.0, 1.0, 9)))
    above, below = fig.subfigures(2, 1, height_ratios=(1.0, 1.6))
    for ax, eta in zip(above.subplots(1, 5), SHOWN, strict=True):
        plot.cloud(ax, end(problem, eta, 10, n, seed=0)[:800], colour=STEPS[10], size=1.0)
        plot.frame(ax, 2.5, f"$\\eta$ = {eta:g}")
    ax = below.subplots()
    mean, sd = sampling_floor(problem.data.sample, n, sliced_wasserstein, seed=100)
    ax.axhspan(
        mean - 2 * sd, mean + 2 * sd, color=plot.GREY, alpha=0.35, lw=0, label="sampling floor"
    )
    ax.axhline(mean, color=plot.GREY, lw=0.8)
    for steps, colour in STEPS.items():
        found = [[distance(problem, eta, steps, n, s) for s in range(seeds)] for eta in etas]
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75), axis=1)
        ax.plot(etas, middle, "o-", color=colour, ms=3, label=f"{steps} steps")
        ax.fill_between(etas, low, high, color=colour, alpha=0.2, lw=0)
    ax.set(xlabel=r"noise $\eta$", ylabel="distance (data std)")
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=5)


def end(problem: Problem, eta: float, steps: int, n: int, seed: int) -> torch.Tensor:
    """The particles after all steps."""
    noise = problem.process.prior(n, 2, seed, torch.float64)
    sde = sf.ancestral(problem.field, eta)
    if eta == 0.0:
        return sf.ODESolver("euler", steps=steps).solve(sde, noise).x[-1]
    return sf.SDESolver("euler", steps=steps, seed=seed).solve(sde, noise).x[-1]


def distance(problem: Problem, eta: float, steps: int, n: int, seed: int) -> float:
    """The distance between particles and draws of the data, both of this seed."""
    return sliced_wasserstein(end(problem, eta, steps, n, seed), problem.data.sample(n, seed))
