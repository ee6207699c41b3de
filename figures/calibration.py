"""Multistep sampling with its default steps, with safe steps, and with steps fitted to the field.

The error at the end of the probability flow against the number of evaluations: the RMS distance
per coordinate from the true end, without the worst 1 % of the particles. The particles had no part
in the fit. Lines and bands: median and quartiles over eight clouds of 200. Left, the field of the
data; right, the field of one class with guidance, w = 2. Letters above: the steps that `calibrate`
chose by trial: fitted (F), default (D) or safe (S). Dashed: the error of the truth itself.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.fields.field import Field
from sdeflow.processes import angle_times
from sdeflow.sdes.multistep import MultistepSDE
from sdeflow.sdes.plan import DEFAULT, SAFE, SAFEST, Recipe, recipe

PANELS = (1, 2)
ASPECT = 0.9
EACH = 200
LETTERS = {DEFAULT: "D", SAFE: "S"}


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a panel without guidance and one with."""
    seeds, calls = (3, (6, 10, 20)) if quick else (8, (6, 8, 10, 12, 16, 24, 32))
    guided = sf.GuidedField(problem.field.given(0), problem.field, 2.0)
    axes = fig.subplots(1, 2, sharey=True)
    for ax, field, title in zip(
        axes, (problem.field, guided), ("no guidance", "guidance $w$ = 2"), strict=True
    ):
        x = torch.cat([field.process.prior(EACH, 2, 500 + s, torch.float64) for s in range(seeds)])
        flow = sf.reverse(field, 0.0)
        half, end = (sf.ODESolver("rk4", steps=k).solve(flow, x).x[-1] for k in (150, 300))
        fitted = [sf.sdes.calibrate(field, k) for k in calls]
        chosen = [(sde, sde.times(k)) for sde, k in zip(fitted, calls, strict=True)]
        plans = {
            "chosen by calibrate": chosen,
            "default recipe": [by_recipe(field, k, recipe(k)) for k in calls],
            "safe recipe": [by_recipe(field, k, SAFEST) for k in calls],
        }
        curves = {
            name: (calls, torch.stack([error(run(x, *plan), end) for plan in row]))
            for name, row in plans.items()
        }
        plot.work_precision(ax, curves, float(error(half, end).max()))
        ax.get_legend().remove()
        for sde, k in zip(fitted, calls, strict=True):
            letter = LETTERS.get(sde.fitted.name, "F")
            ax.annotate(letter, (k, 1.01), xycoords=("data", "axes fraction"), ha="center")
        ax.set_title(title, pad=14)
    axes[1].set_ylabel("")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


def by_recipe(field: Field, steps: int, one: Recipe) -> tuple[MultistepSDE, torch.Tensor]:
    """The sampler and the time grid of a recipe."""
    sde = sf.multistep(field, order=one.order, corrector=one.corrector)
    return sde, angle_times(field.process, steps, one.widen * sde.spread.widest, one.power)


def run(x: torch.Tensor, sde: MultistepSDE, times: torch.Tensor) -> torch.Tensor:
    """The particles at the end of the run."""
    return sf.ODESolver("euler", times=times).solve(sde, x).x[-1]


def error(x: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """RMS distance per coordinate of each cloud, without the worst 1 % of particles, (seeds,)."""
    square = (x - end).square().mean(1).view(-1, EACH).sort(1).values
    return square[:, : int(0.99 * EACH)].mean(1).sqrt()
