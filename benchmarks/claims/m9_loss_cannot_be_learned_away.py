"""The loss curve shows nothing because nearly all of the loss cannot be learned away.

Says: the loss "never really shows that much" (002).
Measured: the loss is split into its smallest possible value, the variance of x1 - x0 given x_t,
and the excess of a network; an excess below the scatter of one batch cannot be seen in the curve,
though it still matters.
Control: the field of one square is taken for the true one.
Source: the smallest possible loss is 3.374 +- 0.009 per coordinate, that of the spiral's noise
loss over 64 levels 0.322 (docs/sources.md, N7). The scatter is that of one batch of 64.
"""

from __future__ import annotations

import math

from benchmarks.claims.claim import Check, Finding, Lab, about, below
from benchmarks.claims.flow_matching import EXACT, ONE_SQUARE, SHORT, mean_and_error
from benchmarks.claims.irreducible_losses import (
    draw_losses,
    irreducible_on_spiral,
    losses_on_checkerboard,
)
from benchmarks.claims.setting import SURE
from sdeflow.fields.exact import ExactField

SUBJECT, CONTROL = EXACT, ONE_SQUARE  # the field that is taken for the true one
SLOW = True


def measure(lab: Lab, marginal: ExactField) -> Finding:
    """The irreducible losses, and the excess of two networks over that of the checkerboard."""
    losses = losses_on_checkerboard(lab, marginal, 20_000)
    level, error = (float(v) for v in mean_and_error(losses.irreducible[:, None]))
    spiral, doubt = irreducible_on_spiral(lab.seed)
    early, ours = (float(e.mean()) for e in losses.excess.values())
    batch = below(losses.batch), "scatter of the loss of one batch of 64"
    return Finding(
        [
            Check("excess loss of our network, per coordinate", ours, *batch),
            Check(
                f"excess loss of the lecture's training after {SHORT} steps, per coordinate",
                early,
                *batch,
            ),
            Check(
                "irreducible loss on the checkerboard, per coordinate",
                level,
                about(3.374, within=SURE * math.hypot(error, 0.009)),
                "docs/sources.md, N7; within four standard errors",
            ),
            Check(
                "irreducible noise loss of the spiral, per coordinate",
                spiral,
                about(0.322, within=SURE * math.hypot(doubt, 0.0005)),
                "docs/sources.md, N7; within four standard errors",
            ),
        ],
        draw=draw_losses(losses),
        notes={
            "standard error of the irreducible loss on the checkerboard": error,
            "standard error of the irreducible loss of the spiral": doubt,
        },
    )
