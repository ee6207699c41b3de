"""The bound lies below the log likelihood, whatever the data and the steps, and rises to it.

Says: the ELBO is a lower bound of the evidence that is easily computed (001, in our words);
"two neural networks", for the mean and the variance.
Source: Ho et al. 2020, eq. 5. Random distributions on the line by quadrature, so that no chance
hides a gap of 1e-4 nats; `elbo` on 4000 draws agrees. The subject is the part of each step's
divergence that is counted.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, above, below
from benchmarks.claims.on_the_line import exact_bound, random_line
from benchmarks.claims.setting import SURE
from benchmarks.claims.smooth_spiral import PRESERVING
from sdeflow import plot
from sdeflow.analysis.elbo import Bound, elbo, small_variance
from sdeflow.fields.exact import ExactField
from sdeflow.processes.time_grids import log_snr_times

SUBJECT, BROKEN = 1.0, 0.5
CHAINS, NAMES = (10, 100, 1000), ("small", "learned")


def total(bound: Bound, counted: float) -> Tensor:
    """The bound (n,) with a part of the divergence of each step."""
    prior, *steps, last = bound.terms
    return -(prior + counted * torch.stack(steps).sum(0) + last)


def drawn(seed: int, steps: int, counted: float, gap: Tensor) -> float:
    """Standard errors between the mean gap of 4000 draws and `gap`."""
    data, times = random_line(seed), log_snr_times(PRESERVING, steps)
    x0, v = data.sample(4000, seed), small_variance(PRESERVING, times)
    bound = elbo(ExactField(PRESERVING, data), x0, times, v, seed)
    each = data.log_prob(x0) - total(bound, counted)
    error = float(each.std()) / math.sqrt(len(x0))
    return abs(float(each.mean() - gap)) / error


def measure(lab: Lab, counted: float) -> Finding:
    """Gaps between ln p and the bound: three distributions, two variances, three chains."""
    gaps = torch.zeros(3, 2, 3)
    for i, j, k in np.ndindex(*gaps.shape):
        bound, mean = exact_bound(lab.seed + i, CHAINS[k], bool(j))
        gaps[i, j, k] = mean - float(total(bound, counted))
    off = max(drawn(lab.seed, CHAINS[k], counted, gaps[0, 0, k]) for k in (0, 1))
    name, rise = "smallest gap between log likelihood and bound (nats)", gaps.diff(dim=2).max()
    mean = gaps.mean(0)
    return Finding(
        [
            Check(name, gaps.min(), above(0.0), "a lower bound"),
            Check("largest change of the gap from fewer steps to more", rise, below(0.0), "rises"),
            Check("bound on draws, off by (standard errors)", off, below(SURE), "quadrature"),
        ],
        notes={
            f"mean gap, {NAMES[j]} variance, {CHAINS[k]} steps (nats)": float(mean[j, k])
            for j, k in np.ndindex(*mean.shape)
        },
        draw=lambda fig: _gaps(fig, gaps),
    )


def _gaps(fig: plot.Figure, gaps: Tensor) -> None:
    """Gap against steps for each distribution and variance, (3, 2, 3)."""
    ax, colours = fig.subplots(), (plot.VERMILION, plot.BLUE)
    for i, j in np.ndindex(3, 2):
        label = None if i else f"{NAMES[j]} variance, three distributions"
        ax.loglog(CHAINS, gaps[i, j], "o-", color=colours[j], ms=4, label=label)
    ax.set(xlabel="steps T", ylabel="log likelihood - bound (nats)")
    ax.legend(loc="upper right")
