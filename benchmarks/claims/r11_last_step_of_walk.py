"""Given where the walk ends, its last step is on average the whole walk divided by its steps.

Says: "mathematically equivalent to learning to predict the total noise added, divided by the
number of steps taken" (000).
Measured: the last step of 300,000 walks is fitted by a multiple of E[whole walk | x_n] / n; a
multiple of 1 means that to predict the last step and to predict the total noise are, on average,
the same task.
Correction: for equal steps only. In general the last step's share is s_n^2 / sum_k s_k^2.
Control: steps that shrink from 0.09 to 0.02.
Source: equal steps may be exchanged: docs/sources.md, N8. The exact field gives E[whole walk |
x_n].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about
from benchmarks.claims.random_walk import STEP, STEPS, walked
from benchmarks.claims.setting import exact
from sdeflow.processes.schedules import EDM


def even(n: int = STEPS) -> Tensor:
    """The walk's n equal steps."""
    return torch.full((n,), STEP, dtype=torch.float64)


def falling(n: int = STEPS) -> Tensor:
    """Steps of the lecture's other walk, from 0.09 to 0.02."""
    return torch.logspace(math.log10(0.09), math.log10(0.02), n, dtype=torch.float64)


SUBJECT, CONTROL = even, falling  # sizes of the steps


def measure(lab: Lab, sizes: Callable[[], Tensor]) -> Finding:
    """Slope of the last step against the mean step, for equal and for falling steps."""
    found, error = _slope(sizes(), lab.seed)
    uneven, uneven_error = _slope(falling(), lab.seed)
    share = float(len(falling()) * falling()[-1] ** 2 / (falling() ** 2).sum())
    return Finding(
        [
            Check(
                "slope of the last step against E[whole walk | x_n] / n, minus 1",
                found - 1,
                about(0.0, 4 * error),
                "four standard errors",
            ),
            Check(
                "slope for steps that fall from 0.09 to 0.02",
                uneven,
                about(share, 4 * uneven_error),
                "n s_n^2 / sum s^2; within four standard errors",
            ),
        ]
    )


def _slope(steps: Tensor, seed: int) -> tuple[float, float]:
    """The slope of the last step against E[total | x_n] / n, and its standard error."""
    x, last, _ = walked(steps, 300_000, seed)
    size = steps.norm()
    mean = size * exact(EDM()).noise(x, size) / len(steps)
    out = (last * mean).sum() / (mean**2).sum()
    error = (last - out * mean).square().mean().sqrt() / (mean**2).sum().sqrt()
    return float(out), float(error)
