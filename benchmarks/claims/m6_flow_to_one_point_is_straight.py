"""The flow to one data point x1 takes x0 along a straight line: mean t x1, spread 1 - t.

Says: sigma_t = 1 - t and mu_t = t x1, a "canonical transformation" (002).
Measured: eight Euler steps of the flow to a single point are compared with the straight line; they
agree to rounding, because Euler's method is exact on straight lines at constant speed.
Control: the cosine schedule, whose paths are curved.
Source: the exact field of one point. Interpolations of other methods, here the cosine's, are
alternatives, and curved.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.flow_matching import Draw, normals_of, reversed_time
from benchmarks.claims.setting import FLOW, SURE
from sdeflow import plot
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import Cosine
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, CONTROL = FLOW, Cosine()  # the process whose flow is run
X1 = torch.tensor([[3.0, -1.0]], dtype=torch.float64)


def measure(lab: Lab, process: Process) -> Finding:
    """The flow by eight Euler steps against the straight line."""
    field, x0 = ExactField(process, PointSet(X1)), normals_of(lab, 4000)
    times = torch.linspace(FLOW.t_max, FLOW.t_min, 9, dtype=torch.float64)
    start = FLOW.perturb(X1.expand_as(x0), times[0], x0)
    path = ODESolver("euler", times=times).solve(reverse(field, 0.0), start, save=9)
    t = reversed_time(path.t)[:, None, None]
    off = float((path.x - (t * X1 + (1 - t) * x0)).abs().max())
    mean = (path.x.mean(1) - t[:, 0] * X1) / (1 - t[:, 0]) * math.sqrt(len(x0))
    spread = (path.x.std(1) / (1 - t[:, 0]) - 1) * math.sqrt(2 * len(x0))
    worst = max(float(mean.abs().max()), float(spread.abs().max()))
    return Finding(
        [
            Check(
                "largest distance of the flow from (1 - t) x0 + t x1",
                off,
                at_most(1e-12),
                "rounding",
            ),
            Check(
                "largest deviation of mean and spread (standard errors)",
                worst,
                at_most(SURE),
                "four standard errors",
            ),
        ],
        draw=_lines(x0[:6]),
    )


def _lines(x0: Tensor) -> Draw:
    def draw(fig: plot.Figure) -> None:
        ax, s = fig.subplots(), torch.linspace(0.999, 0.001, 100, dtype=torch.float64)
        for row, z in enumerate(x0):
            for way, colour, name in (
                (FLOW, plot.BLUE, "linear"),
                (Cosine(), plot.VERMILION, "cosine"),
            ):
                c = way(s)
                line = c.alpha[:, None] * X1 + c.sigma[:, None] * z
                ax.plot(*line.T, color=colour, lw=1, label=name if row == 0 else None)
        ax.plot(*X1[0], "o", color=plot.BLACK, ms=4)
        ax.set(xlabel="x", ylabel="y", aspect="equal")
        ax.legend(loc="lower left")

    return draw
