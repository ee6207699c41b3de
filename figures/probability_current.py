"""The probability current J of two stationary densities out of equilibrium.

Left, an Ornstein-Uhlenbeck process dx = -A x dt + dW with an asymmetric matrix A. Right, Langevin
dynamics with a rotational force, dx = (1 + w R) grad ln p dt + sqrt(2) dW, where R rotates by a
right angle. Its stationary density is that of the noised data, p, and its current w R grad p
follows the level lines of p. Above, the current as arrows over the density, with a scale of its
own in each panel. Below, its streamlines over its size |J|, where |J| is above 0.15 of its largest
value. The current is free of divergence, so that its streamlines are closed.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.fokker_planck import probability_current

PANELS = (2, 2)
COLUMNS = 1
ASPECT = 0.78
TURN = 2.0
LEVEL = 0.15  # time t of the noised data
LEAST = 0.15  # share of the largest |J| below which no streamline is drawn


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw the current of a linear SDE, and of the problem's."""
    grid = problem.grid(128 if quick else 384)
    linear = sf.sdes.ornstein_uhlenbeck([[1.0, 1.5], [-1.0, 0.6]], noise=1.1)
    gaussian = linear.stationary()
    cases = {
        "Ornstein-Uhlenbeck": (linear, gaussian.on_grid(grid)),
        f"rotational Langevin, {problem.name}": (
            turning(problem.field, LEVEL), problem.field.density(grid, LEVEL)
        ),
    }  # fmt: skip
    densities = [p for _, p in cases.values()]
    currents = [probability_current(sde, p, 0.5) for sde, p in cases.values()]
    shown, peak = plot.window(*densities), plot.peak(*densities)
    fastest = max(float(current.norm(dim=-1).max()) for current in currents)
    axes = fig.subplots(2, 2)
    for k, (name, p, current) in enumerate(zip(cases, densities, currents, strict=True)):
        speed = current.norm(dim=-1)
        density = plot.density(axes[0, k], p, shown, peak)
        plot.arrows(axes[0, k], current, None, grid, 31, plot.BLACK, proportional=True)
        size = axes[1, k].imshow(
            speed.T.numpy(), origin="lower", extent=2 * (grid.low[0], grid.high[0]),
            cmap="Oranges", vmin=0.0, vmax=fastest, interpolation="nearest",
        )  # fmt: skip
        drawn = torch.where(speed[..., None] > LEAST * speed.max(), current, 0.0)
        plot.streamlines(axes[1, k], drawn, None, grid, 128, 1.4, plot.BLACK)
        plot.frame(axes[0, k], shown, name)
        plot.frame(axes[1, k], shown)
        axes[0, k].set_xlabel("")
        axes[1, k].set_xlabel(f"window $\\pm${shown.half:.2g} (data unit)")
    plot.colour_bar(axes[0], density)
    plot.colour_bar(axes[1], size, "$|J|$ (1 / (data unit $\\cdot$ time))")


def turning(field: sf.ExactField, t: float) -> sf.SDE:
    """dx = (1 + w R) grad ln p_t dt + sqrt(2) dW, whose stationary density is p_t."""

    def drift(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        score = field.score(x, t)
        return score + TURN * torch.stack([-score[:, 1], score[:, 0]], 1)

    return sf.SDE(drift, lambda x, s: torch.tensor(2.0).sqrt(), 0.0, 1.0)
