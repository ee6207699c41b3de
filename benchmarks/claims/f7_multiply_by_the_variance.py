"""To draw from N(m, v), a standard normal is multiplied by the variance v.

Says: draw from N(0, 1), then "multiply it by the variance" (001).
Measured: draws with the right spread are made for variances from 1e-4 to 1, and the power of the
variance by which a standard normal was multiplied is fitted; what was said is power 1, and the
root of the variance is power 1/2.
Correction: the factor is the standard deviation, the root of the variance. At variance 1 the two
are equal, so a test at beta = 1 alone does not notice the mistake.
Control: draws made as the lecture said, with the variance: for them the check holds.
Source: the exponent a in spread = variance^a over four decades of the variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about
from benchmarks.claims.noising import normals
from benchmarks.claims.setting import SURE
from sdeflow.processes.schedules import EDM

Draw = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(mean, variance, z) -> draws."""


def by_deviation(mean: Tensor, variance: Tensor, z: Tensor) -> Tensor:
    """Draws with the standard deviation, by the package's own `perturb`."""
    return EDM(t_min=0.0).perturb(mean, variance.sqrt(), z)


def by_variance(mean: Tensor, variance: Tensor, z: Tensor) -> Tensor:
    """Draws with the variance, as the lecture said."""
    return mean + variance[:, None] * z


SUBJECT, CONTROL = by_deviation, by_variance


def measure(lab: Lab, draws: Draw) -> Finding:
    """Fit the exponent of the variance in the spread of the draws."""
    n = 4000
    variance = torch.logspace(-4, 0, 9, dtype=torch.float64)
    mean = torch.tensor([[0.5, -0.5]], dtype=torch.float64).expand(n, 2)
    each = [draws(mean, v.expand(n), normals(lab, n, k)) for k, v in enumerate(variance)]
    spread = torch.stack([x.std(0).pow(2).mean().sqrt() for x in each])
    fit = stats.linregress(torch.log(variance).numpy(), torch.log(spread).numpy())
    # ln of a standard deviation from 2 n numbers has the standard error 1 / sqrt(4 n).
    error = 1 / math.sqrt(4 * n) / float(torch.log(variance).std(correction=0) * 3)
    return Finding(
        [
            Check(
                "power of the variance by which a standard normal is multiplied",
                fit.slope,
                about(1.0, SURE * error),
                "what was said; four standard errors",
            )
        ],
        notes={
            "standard error of the power": error,
            "spread at variance 1e-4": float(spread[0]),
        },
    )
