"""The noise of two pixels is independent, though the pixels of the data are not.

Says: "covariance beta I: pixels independent" (001, in our words).
Measured: over 20,000 images the correlation of the noise in two pixels, and that of its squares,
is compared with zero; the noise has no structure of its own, while the data have.
Control: a tenth of the noise variance is common to both pixels.
Source: the standard error of a correlation that is zero, 1 / sqrt(n).
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Check, Finding, Lab, about, above
from benchmarks.claims.measures import correlation
from benchmarks.claims.noising import noise_step, normals
from benchmarks.claims.setting import CHECKERBOARD, SURE

SUBJECT, CONTROL = 0.0, 0.1  # share of the noise variance that both pixels have in common


def measure(lab: Lab, shared: float) -> Finding:
    """Correlations between two pixels, of the noise and of the data."""
    n, beta = 20_000, 0.1
    z = math.sqrt(1 - shared) * normals(lab, n) + math.sqrt(shared) * normals(lab, n, 1)[:, :1]
    x0 = CHECKERBOARD.sample(n, lab.seed, torch.float64)
    noise = (noise_step(x0, beta, z) - math.sqrt(1 - beta) * x0) / math.sqrt(beta)
    straight, squares, data = (correlation(*v.T) for v in (noise, noise**2, x0))
    error = SURE / math.sqrt(n)
    return Finding(
        [
            Check(
                "correlation between the noise of the two pixels",
                straight,
                about(0.0, error),
                "four standard errors",
            ),
            Check(
                "correlation between the squares of the noise",
                squares,
                about(0.0, error),
                "four standard errors",
            ),
            Check(
                "correlation between the pixels of the data, absolute",
                abs(data),
                above(error),
                "four standard errors",
            ),
        ],
        notes={"variance of the noise / beta": float(noise.var())},
    )
