"""The KL divergence of two Gaussians in closed form is the mean log ratio of their densities.

Says: "KL divergence" between Gaussians is analytic (001).
Measured: for 15 random pairs the closed form is compared with the Monte-Carlo mean of ln p - ln q
over draws of p; agreement means that each term of the evidence bound needs no sampling of its own.
Control: the two Gaussians change places; the divergence is not symmetric.
Source: pairs in 1, 2 and 16 dimensions, 20,000 draws each; densities of scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.setting import SURE
from sdeflow.analysis.elbo import gaussian_kl
from sdeflow.random_streams import Stream, random_generator


def swapped(mean1: Tensor, v1: Tensor, mean2: Tensor, v2: Tensor) -> Tensor:
    """The divergence the other way round."""
    return gaussian_kl(mean2, v2, mean1, v1)


SUBJECT, CONTROL = gaussian_kl, swapped


def measure(lab: Lab, kl: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Finding:
    """Compare the closed form with a mean over draws."""
    worst, sizes = 0.0, []
    for i in range(5):
        g = random_generator(lab.seed, Stream.PROBE, i)
        for d in (1, 2, 16):
            mean1, mean2 = g.normal(size=(2, 1, d)) / math.sqrt(d)
            v1, v2 = g.uniform(0.5, 2.0, (2, 1, d))
            x = g.normal(mean1, np.sqrt(v1), (20_000, d))
            p, q = stats.norm(mean1, np.sqrt(v1)), stats.norm(mean2, np.sqrt(v2))
            ratio = (p.logpdf(x) - q.logpdf(x)).sum(1)
            exact = float(kl(*(torch.from_numpy(v) for v in (mean1, v1, mean2, v2))))
            error = ratio.std() / math.sqrt(len(x))
            worst = max(worst, abs(ratio.mean() - exact) / error)
            sizes.append(exact)
    return Finding(
        [
            Check(
                "largest difference from Monte Carlo (standard errors)",
                worst,
                below(SURE),
                "four standard errors",
            )
        ],
        notes={"smallest divergence (nats)": min(sizes), "largest divergence (nats)": max(sizes)},
    )
