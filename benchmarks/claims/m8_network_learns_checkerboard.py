"""A network learns the checkerboard, and half a million steps are not needed.

Says: 2 -> 512, five ReLU blocks, an added time embedding, "500k steps, batch 64" (002, in our
words).
Measured: the share of 2000 samples that a network puts on the filled squares, and how evenly it
fills them, are counted after 12,000 training steps; a share above 0.9 counts as learned.
Correction: the checks are on a network trained by `fit` in 12,000 steps, about 100 CPU seconds:
0.9 on the squares, each square's share right to 25 %. The lecture's recipe is shown beside it in a
short version, 5,000 of its 500,000 steps in about 75 CPU seconds, which is not enough; all of its
steps were not run.
Control: the drift of the reverse SDE (eta = 1) is followed without its noise.
Source: docs/sources.md, N11 and N16.
"""

from __future__ import annotations

import torch

from benchmarks.claims.claim import Check, Finding, Lab, above, below
from benchmarks.claims.flow_matching import (
    SHORT,
    checkerboard_networks,
    draw_on_checkerboard,
    on_squares,
)
from benchmarks.claims.setting import FLOW
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, CONTROL = 0.0, 1.0  # eta of the reverse SDE whose drift is run
SLOW = True


def measure(lab: Lab, eta: float) -> Finding:
    """The clouds of both networks after 100 Euler steps, on the squares."""
    clouds = {}
    for name, field in checkerboard_networks(lab).items():
        sde = reverse(field, eta)
        x = FLOW.prior(2000, 2, lab.seed)
        times = torch.linspace(FLOW.t_max, FLOW.t_min, 101, dtype=torch.float64)
        flow = SDE(sde.drift, None, sde.t_start, sde.t_end)
        clouds[name] = ODESolver("euler", times=times).solve(flow, x, save=1).x[-1]
    (early, unfair), (on, uneven) = (on_squares(x) for x in clouds.values())
    return Finding(
        [
            Check(
                "share of the points on the squares, network of `fit`, 100 Euler steps",
                on,
                above(0.9),
                "asked for",
            ),
            Check(
                "largest relative error of a square's share, network of `fit`",
                uneven,
                below(0.25),
                "asked for",
            ),
        ],
        draw=draw_on_checkerboard(clouds),
        size=(3.4, 1.9),
        notes={
            f"share on the squares, the lecture's training after {SHORT} steps": early,
            "largest relative error of a square's share, the lecture's training": unfair,
        },
    )
