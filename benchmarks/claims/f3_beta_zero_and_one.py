"""A step with beta 0 returns the image bit for bit, and a step with beta 1 returns pure noise.

Says: beta 0 gives "the same image", beta 1 gives "pure noise" (001).
Measured: a step with beta 0 must change nothing, and the result of a step with beta 1 must pass a
test for N(0, 1); these are the two ends of every noise schedule.
Control: the step keeps all of x and only adds noise, so that beta 1 does not remove the image.
Source: the Kolmogorov-Smirnov test against N(0, 1) for each pixel of ten clouds, with Holm's
correction: a correct step fails for one seed in a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy import stats
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, above
from benchmarks.claims.noising import noise_step, normals
from benchmarks.claims.setting import CHECKERBOARD
from sdeflow.diagnostics.hypothesis import holm

Step = Callable[[Tensor, float, Tensor], Tensor]
SUBJECT: Step = noise_step
CONTROL: Step = lambda x, beta, z: x + math.sqrt(beta) * z  # noqa: E731


def measure(lab: Lab, step: Step) -> Finding:
    """Take one step with beta 0 and one with beta 1, ten times."""
    x, z = (
        CHECKERBOARD.sample(4000, lab.seed, torch.float64),
        [normals(lab, 4000, k) for k in range(10)],
    )
    change = max(float((step(x, 0.0, each) - x).abs().max()) for each in z)
    noise = torch.cat([step(x, 1.0, each) for each in z], 1)
    p = min(holm([float(stats.kstest(row.numpy(), "norm").pvalue) for row in noise.T]))
    return Finding(
        [
            Check("largest change at beta 0", change, about(0.0, 0.0), "the same image"),
            Check(
                "smallest p-value against N(0, 1) at beta 1, of two pixels and ten clouds",
                p,
                above(1e-3),
                "level of the test",
            ),
        ],
        notes={
            "mean at beta 1": float(noise.mean()),
            "standard deviation at beta 1": float(noise.std()),
        },
    )
