"""Four samplers with 4 to 64 evaluations of the exact field, from the same noise.

Below each panel: the sliced Wasserstein distance (data std) between 40,000 particles and as many
draws of the data, and its sampling floor, which is the distance between two sets of draws: mean
+- standard deviation of eight pairs. 800 of the particles are drawn.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.diagnostics import sampling_floor, sliced_wasserstein
from sdeflow.sdes.sde import SDE

PANELS = (4, 5)
ASPECT = 0.95
CALLS = (4, 8, 16, 32, 64)
HALF = 2.6
"""Half the side of a window."""
SAMPLERS = {
    "DDPM": (lambda field: sf.ancestral(field, 1.0), "euler", 1),
    "DDIM": (lambda field: sf.ancestral(field, 0.0), "euler", 1),
    "Heun": (lambda field: sf.reverse(field, 0.0), "heun2", 2),
    "multistep": (lambda field: sf.multistep(field), "euler", 1),
}
"""The SDE of a field, the method that solves it, and the evaluations in a step."""


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a row for each sampler, a column for each number of evaluations."""
    n, shown = (2000, 300) if quick else (40_000, 800)
    noise = problem.process.prior(n, 2, 0, torch.float64)
    data = problem.data.sample(n, 1)
    mean, sd = sampling_floor(problem.data.sample, n, sliced_wasserstein, seed=2)
    axes = fig.subplots(4, 5)
    for row, (name, (sde, method, stages)) in zip(axes, SAMPLERS.items(), strict=True):
        row[0].set_ylabel(name)
        for ax, calls in zip(row, CALLS, strict=True):
            x = end(sde(problem.field), method, calls // stages, noise)
            inside = (x.abs() < HALF).all(1)
            plot.cloud(ax, x[:shown][inside[:shown]], size=1.0)
            plot.frame(ax, HALF, f"{calls} evaluations" if ax in axes[0] else None)
            if not inside.all():
                text = f"{100 * (1 - float(inside.double().mean())):.1g} % outside"
                ax.annotate(text, (0.97, 0.03), xycoords="axes fraction", ha="right", size="small")
            found = sliced_wasserstein(x, data)
            label = f"distance {found:.3f}\nfloor {mean:.3f}$\\pm${sd:.3f}"
            ax.set_xlabel(label, size="small")


def end(sde: SDE, method: str, steps: int, noise: torch.Tensor) -> torch.Tensor:
    """The particles after all steps of a sampler."""
    if sde.diffusion is None:
        return sf.ODESolver(method, steps=steps).solve(sde, noise).x[-1]
    return sf.SDESolver(method, steps=steps, seed=0).solve(sde, noise).x[-1]
