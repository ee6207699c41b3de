"""The loss shows nothing because nearly all of it cannot be learned away.

Says: the loss "never really shows that much" (002).
Source: loss = floor + excess, the floor being the conditional variance of x1 - x0, 3.374 +-
0.009 per coordinate; that of the spiral's noise loss over 64 levels is 0.322 (docs/sources.md,
N7). What is left to see is judged by the scatter of one batch of 64.
"""

from __future__ import annotations

import math

from benchmarks.claims.claim import Check, Finding, Lab, about, below
from benchmarks.claims.flow_matching import EXACT, ONE_SQUARE, SHORT, mean_and_error
from benchmarks.claims.loss_floors import draw_losses, losses_on_board, spiral_floor
from benchmarks.claims.setting import SURE
from sdeflow.fields.exact import ExactField

SUBJECT, BROKEN = EXACT, ONE_SQUARE  # the field that is taken for the true one
SLOW = True


def measure(lab: Lab, marginal: ExactField) -> Finding:
    """The irreducible losses, and the excess of two networks over that of the checkerboard."""
    seen = losses_on_board(lab, marginal, 20_000)
    level, error = (float(v) for v in mean_and_error(seen.floor[:, None]))
    spiral, doubt = spiral_floor(lab.seed)
    early, ours = (float(e.mean()) for e in seen.excess.values())
    batch = below(seen.batch), "scatter of the loss of one batch of 64"
    return Finding(
        [
            Check("what our network's loss has above its floor, per coordinate", ours, *batch),
            Check(f"excess of the lecture's recipe after {SHORT} steps", early, *batch),
            Check(
                "floor of the loss",
                level,
                about(3.374, within=SURE * math.hypot(error, 0.009)),
                "docs/sources.md, N7; within four standard errors",
            ),
            Check(
                "floor of the spiral's noise loss",
                spiral,
                about(0.322, within=SURE * math.hypot(doubt, 0.0005)),
                "docs/sources.md, N7; within four standard errors",
            ),
        ],
        draw=draw_losses(seen),
        notes={
            "standard error of the floor of the loss": error,
            "standard error of the spiral's": doubt,
        },
    )
