"""Noise is a random walk: the mean square distance grows in proportion to the number of steps.

Says: "our point goes on a random walk" (000, 003).
Measured: 10,000 walkers leave one point, and a line through 0 is fitted to their mean square
distance against the number of steps; its slope must be that of Brownian motion, 2 s^2 per step in
the plane.
Control: a spring pulls the walkers to the origin.
Source: Brownian motion with steps of standard deviation s; the standard error is that over
walkers. The lecture's walk has 100 steps of 0.07 from point 75.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, above
from benchmarks.claims.measures import correlation
from benchmarks.claims.noising import START
from benchmarks.claims.setting import SURE
from sdeflow import plot
from sdeflow.sdes.classical import brownian, langevin
from sdeflow.sdes.potentials import harmonic
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.sde_solver import SDESolver

STEPS, STRIDE = 100, 0.07  # and standard deviation of each step
UNIT = 2 * STRIDE**2  # mean square distance of one step
SUBJECT = brownian(STRIDE**2 / 2, float(STEPS))
CONTROL = langevin(harmonic(0.02), STRIDE**2 / 2, t_end=float(STEPS))


def measure(lab: Lab, sde: SDE) -> Finding:
    """The slope of the mean square distance against the number of steps."""
    x = START.expand(10_000, 2)
    walk = SDESolver("euler", STEPS, seed=lab.seed).solve(sde, x, STEPS + 1).x - x
    square = (walk**2).sum(2) / UNIT
    k = torch.arange(STEPS + 1, dtype=torch.float64)
    slopes = (square * k[:, None]).sum(0) / (k**2).sum()
    slope, error = float(slopes.mean()), float(slopes.std() / math.sqrt(len(x)))
    line = square.mean(1)
    fine = SDESolver("euler", 4 * STEPS, seed=lab.seed + 1).solve(sde, x, 1).x[-1] - x
    return Finding(
        [
            Check(
                "slope of the mean square distance per step / 2 s^2",
                slope,
                about(1.0, SURE * error),
                "Brownian motion; four standard errors",
            ),
            Check("R^2 of the line", correlation(k, line) ** 2, above(0.999), "a straight line"),
        ],
        notes={
            "standard error of the slope": error,
            "mean square distance / 2 s^2 with four times as many steps, each half as long": float(
                (fine**2).sum(1).mean() / (UNIT * STEPS)
            ),
        },
        draw=lambda fig: _walks(fig, walk + x, line),
        size=(7.0, 2.8),
    )


def _walks(fig: plot.Figure, paths: Tensor, line: Tensor) -> None:
    """Six walks, and the mean square distance of all."""
    left, right = fig.subplots(1, 2)
    for j, (color, lw) in enumerate([(plot.GREY, 0.5)] * 5 + [(plot.BLUE, 0.9)]):
        left.plot(*paths[:, j].T, color=color, lw=lw)
    left.plot(*START, "o", color=plot.VERMILION, ms=4)
    left.set(aspect="equal", xlabel="x", ylabel="y", title="six walks")
    k = torch.arange(STEPS + 1, dtype=torch.float64)
    right.plot(k, UNIT * k, color=plot.BLACK, lw=0.8, label=r"$2 s^2 k$")
    right.plot(k[::5], UNIT * line[::5], "o", ms=3, color=plot.BLUE, label="10,000 walks")
    right.set(xlabel="steps k", ylabel="mean square distance")
    right.legend(loc="upper left")
