"""The nearer t is to the data, the fewer data points a given place may lead to.

Says: a far-off data point is "plausible at 0.2, not at 0.8" (002, in our words).
Measured: the effective number of data points that a noised point may belong to is computed at nine
times, and the p-value of one far data point at one place at two; both must fall towards the data.
Control: the lecture's t is taken for ours, not reversed.
Source: the effective number of points 1 / E sum w^2 of 1000 draws, w their probabilities given
x_t; the p-value is that of a normal as far away.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, above, at_most, below
from benchmarks.claims.flow_matching import Draw, Times, reversed_time, same_time, scalar
from benchmarks.claims.setting import CHECKERBOARD, FLOW, exact
from sdeflow import analysis, plot
from sdeflow.distributions import datasets

SUBJECT, CONTROL = reversed_time, same_time  # our time as a function of the lecture's
PLACE = torch.tensor([[0.8, -0.8]], dtype=torch.float64)
FAR_POINT = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)


def _p_value(t: Tensor) -> float:
    """The p-value of the far data point at the place, at our time t."""
    c = FLOW(t)
    return math.exp(-float((((PLACE - c.alpha * FAR_POINT) / c.sigma) ** 2).sum()) / 2)


def measure(lab: Lab, our_time: Times) -> Finding:
    """The effective number of data points at nine times, and the p-value of one of them."""
    points, times = CHECKERBOARD.sample(1000, lab.seed, torch.float64), torch.arange(1, 10) / 10
    field, c = exact(FLOW, datasets.from_points(points)), FLOW(our_time(times.double()))
    number = (
        1 / analysis.inverse_participation_ratio(field, c.sigma / c.alpha, 1000, lab.seed).value
    )
    early, late = (_p_value(our_time(scalar(t))) for t in (0.2, 0.8))
    return Finding(
        [
            Check(
                "effective number of data points at t = 0.8",
                float(number[7]),
                at_most(float(number[1])),
                "the number at t = 0.2",
            ),
            Check(
                "largest change of that number from t = 0.1, 0.2, ... to the next",
                float(number.diff().max()),
                below(0.0),
                "it falls",
            ),
            Check("p-value of (-1, 1) at (0.8, -0.8), t = 0.2", early, above(0.05), "plausible"),
            Check(
                "p-value of (-1, 1) at (0.8, -0.8), t = 0.8", late, below(0.05), "not plausible"
            ),
        ],
        draw=_two_times(points),
        size=(3.4, 1.9),
    )


def _two_times(points: Tensor) -> Draw:
    def draw(fig: plot.Figure) -> None:
        for ax, t in zip(fig.subplots(1, 2), (0.2, 0.8), strict=True):
            far = -(((PLACE - t * points) / (1 - t)) ** 2).sum(1) / 2
            w = torch.softmax(far, 0) * len(points)
            plot.frame(ax, 4.3, f"t = {t}: {float(len(w) ** 2 / (w**2).sum()):.0f} of 1000 points")
            plot.cloud(ax, points, colour=plot.GREY, size=1)
            ax.scatter(*points.T, s=3 * w.clamp(0, 12), color=plot.BLUE, lw=0)
            ax.plot(*PLACE[0], "x", color=plot.VERMILION, ms=6, mew=1.5)

    return draw
