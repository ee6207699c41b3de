"""On the checkerboard the exact flow, in closed form, puts every point on a square.

Says: a "2D checkerboard", and x0 "Gaussian" (002, in our words).
Measured: Euler's method follows the exact velocity from noise to data, and the share of points
that end on the filled squares is counted; a share of 1 means that the flow alone, without
training, makes the data.
Control: a Gaussian of the same variance in the place of each square.
Source: docs/sources.md, N16: 0.991 on the squares at 10 Euler steps, 1.000 from 50; each within
four standard errors. In closed form each coordinate is a normal cut off at the edges of its
square.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Bound, Check, Finding, Lab, about
from benchmarks.claims.flow_matching import SQUARES, draw_on_checkerboard, on_squares
from benchmarks.claims.setting import SURE, WHOLE, exact_on_checkerboard
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver


def _rounded() -> GaussianMixture:
    """A round Gaussian for each square, with its centre and its variance."""
    row, column, _ = SQUARES.filled()
    centres = SQUARES.low + SQUARES.side * (torch.stack([column, row], 1) + 0.5)
    return GaussianMixture.isotropic(centres, SQUARES.side / math.sqrt(12))


SUBJECT, CONTROL = (
    exact_on_checkerboard(WHOLE),
    ExactField(WHOLE, _rounded()),
)  # the field whose flow is run
N = 2000
SAID = {10: 0.991, 50: 0.9995}  # three digits: 1.000 is 0.9995 at least


def _ends(field: Field, steps: int, n: int, seed: int) -> Tensor:
    """Euler's method from noise to data, as in the lecture."""
    p = field.process
    times = torch.linspace(p.t_max, p.t_min, steps + 1, dtype=torch.float64)
    x = p.prior(n, 2, seed, torch.float64)
    return ODESolver("euler", times=times).solve(reverse(field, 0.0), x, save=1).x[-1]


def _as_said(share: float) -> Bound:
    return about(share, within=SURE * math.sqrt(share * (1 - share) / N))


def measure(lab: Lab, field: ExactField) -> Finding:
    """The share of the flow's points on the squares, at two numbers of steps."""
    clouds = {k: _ends(field, k, N, lab.seed) for k in SAID}
    found = {k: on_squares(x) for k, x in clouds.items()}
    return Finding(
        [
            Check(
                "share of the points on the squares, 50 Euler steps",
                found[50][0],
                _as_said(SAID[50]),
                "docs/sources.md, N16: 1.000; within four standard errors",
            ),
            Check(
                "share of the points on the squares, 10 Euler steps",
                found[10][0],
                _as_said(SAID[10]),
                "docs/sources.md, N16; within four standard errors",
            ),
        ],
        draw=draw_on_checkerboard({f"{k} steps": x for k, x in clouds.items()}),
        size=(3.4, 1.9),
        notes={
            "largest relative error of a square's share, 50 steps": found[50][1],
            "standard error of that": math.sqrt(7 / N),
        },
    )
