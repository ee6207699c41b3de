"""Regression on x1 - x0 has the same gradient as regression on the true field.

Says: the two objectives, "flow matching and conditional flow matching", have the same gradient
(002, in our words).
Measured: the gradients of both losses are compared along ten random directions for two networks;
they agree within the sampling error, so training does not need to know the true field.
Control: the field of one square in the place of the true field.
Source: Lipman et al. 2023, theorem 2: 100 batches of 256, the same draws in both losses. The
losses differ by a constant, the irreducible loss, 3.374 +- 0.009 per coordinate (docs/sources.md,
N7).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, at_most
from benchmarks.claims.flow_matching import EXACT, ONE_SQUARE, Draw, mean_and_error
from benchmarks.claims.matching_gradients import both_objectives
from benchmarks.claims.setting import SURE
from sdeflow import plot
from sdeflow.fields.exact import ExactField

SUBJECT, CONTROL = EXACT, ONE_SQUARE  # the field that is regressed on
BATCHES = 100


def measure(lab: Lab, marginal: ExactField) -> Finding:
    """Both gradients along ten directions, and the difference of the losses, for two networks."""
    apart, slopes = both_objectives(lab, marginal, BATCHES)
    conditional, regressed = slopes.unbind(2)
    off, error = mean_and_error((conditional - regressed).transpose(0, 1).flatten(1))
    change, doubt = mean_and_error(apart[:, :1] - apart[:, 1:])
    constant, unsure = (float(v) for v in mean_and_error(apart[:, :1]))
    return Finding(
        [
            Check(
                "largest difference between the slopes of the two losses (standard errors)",
                float((off / error).abs().max()),
                at_most(SURE),
                "four standard errors",
            ),
            Check(
                "difference of the two losses, per coordinate",
                constant,
                about(3.374, within=SURE * math.hypot(unsure, 0.009)),
                "docs/sources.md, N7; within four standard errors",
            ),
            Check(
                "change of that difference from network to network (standard errors)",
                float(change / doubt),
                about(0.0, within=SURE),
                "a constant; four standard errors",
            ),
        ],
        draw=_two_slopes(conditional.mean(1).flatten(), regressed.mean(1).flatten(), error),
        notes={
            "standard error of the loss difference": unsure,
            "largest slope": float(conditional.mean(1).abs().max()),
        },
    )


def _two_slopes(a: Tensor, b: Tensor, error: Tensor) -> Draw:
    def draw(fig: plot.Figure) -> None:
        ax = fig.subplots()
        ends = [float(torch.cat([a, b]).min()), float(torch.cat([a, b]).max())]
        ax.plot(ends, ends, color=plot.GREY, lw=0.8, label="equal")
        ax.errorbar(
            b.numpy(), a.numpy(), SURE * error.numpy(), fmt="o", ms=3, color=plot.BLUE, lw=0.8,
            label="ten directions, two networks",
        )  # fmt: skip
        ax.set(xlabel="slope of the flow matching loss", ylabel="slope of the conditional loss")
        ax.legend(loc="upper left")

    return draw
