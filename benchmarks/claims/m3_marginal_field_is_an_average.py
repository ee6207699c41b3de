"""The field is the mean of the fields to single data points, each weighted by its probability.

Says: u_t(x) is the average of u_t(x | x1), weighted by "p_t(x | x1) p(x1) / p_t(x)" (002, in our
words).
Measured: the weighted mean over all points of the checkerboard, by quadrature, is compared with
the field in closed form; that they agree is why a network may learn from one data point at a time.
Control: the weights are p(x1), wherever x is.
Source: Lipman et al. 2023, eq. 8. Gauss-Legendre quadrature over the squares; our velocity has the
other sign.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.flow_matching import EXACT, SQUARES, normals_of
from benchmarks.claims.measures import largest
from benchmarks.claims.setting import CHECKERBOARD

Weigh = Callable[[Tensor, Tensor], Tensor]


def _posterior(prior: Tensor, likelihood: Tensor) -> Tensor:
    """p(x1) p_t(x | x1) / p_t(x): prior (m,), ln likelihood (n, m)."""
    return torch.softmax(torch.log(prior) + likelihood, 1)


def _prior(prior: Tensor, likelihood: Tensor) -> Tensor:
    """p(x1), whatever x is."""
    return prior.expand_as(likelihood)


SUBJECT, CONTROL = _posterior, _prior  # the weights of the data points


def _quadrature(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes (m, 2) and weights (m,) of Gauss-Legendre in every square of the checkerboard."""
    row, column, share = SQUARES.filled()
    u, w = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(nodes))
    corner = SQUARES.low + SQUARES.side * torch.stack([column, row], 1)
    inside = SQUARES.side * (torch.cartesian_prod(u, u) + 1) / 2
    points = (corner[:, None] + inside).reshape(-1, 2)
    return points, (share[:, None] * torch.outer(w, w).reshape(1, -1) / 4).reshape(-1)


def measure(lab: Lab, weigh: Weigh) -> Finding:
    """The weighted average of the conditional fields against the closed form, at three times."""
    points, prior = _quadrature(40)
    off = {}
    for t in (0.2, 0.5, 0.8):
        x = t * CHECKERBOARD.sample(100, lab.seed, torch.float64) + (1 - t) * normals_of(lab, 100)
        likelihood = -(torch.cdist(x, t * points) ** 2) / (2 * (1 - t) ** 2)
        average = (weigh(prior, likelihood) @ points - x) / (1 - t)  # of (x1 - x) / (1 - t)
        off[t] = float((average + EXACT.velocity(x, 1 - t)).abs().max())
    return Finding(
        [
            Check(
                "largest difference between the weighted mean and the closed form",
                largest(off.values()),
                at_most(1e-6),
                "error of the quadrature",
            )
        ],
        notes={f"largest difference at t = {t}": value for t, value in off.items()},
    )
