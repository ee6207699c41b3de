"""The evidence bound lies below the log likelihood, for any data and steps, and rises towards it.

Says: the ELBO is a lower bound of the evidence that is easily computed (001, in our words); "two
neural networks", for the mean and the variance.
Measured: the gap between the mean of ln p and the evidence lower bound (ELBO) is computed for
three random densities on the line, two variances and 10, 100 and 1000 steps; it must be positive
and shrink, so that to raise the bound is to approach the likelihood.
Control: only half of the divergence of each step is counted.
Source: Ho et al. 2020, eq. 5. The averages are quadratures, so that no sampling noise hides a gap
of 1e-4 nats; `elbo` on 4000 draws agrees.
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

SUBJECT, CONTROL = 1.0, 0.5  # share of each step's divergence that is counted
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
    mean, least, rise = gaps.mean(0), gaps.min(), gaps.diff(dim=2).max()
    return Finding(
        [
            Check("smallest gap of mean ln p - bound (nats)", least, above(0.0), "lower bound"),
            Check("largest rise of it with more steps (nats)", rise, below(0.0), "it shrinks"),
            Check("gap on 4000 draws, off by (standard errors)", off, below(SURE), "quadrature"),
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
