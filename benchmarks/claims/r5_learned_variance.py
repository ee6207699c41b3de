"""A learned variance is right at five steps already, where DDPM's two fixed ones are wrong.

Says: the variance is learned with the mean ("square, triangle"), DDPM's is fixed (001).
Correction: at 200 steps no cloud of 1000 tells them apart, though the bound still tells the
small one. And no descent is needed: at the highest bound the variance is the mean squared
error of x0_hat, with the exact field `optimal_variance`.
Source: Ho et al. 2020, section 3.2; Nichol and Dhariwal 2021. The W2 of docs/sources.md, N9:
uniform times, the cloud as the last noise step leaves it. One more step, to sigma = 0, takes
from the large variance the noise that spoils it at five steps.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims import kernel_variances as kernel
from benchmarks.claims.claim import Check, Finding, Lab, above, below
from benchmarks.claims.setting import SURE, points
from sdeflow import diagnostics, plot
from sdeflow.analysis.elbo import learned_variance

SUBJECT, BROKEN = learned_variance, kernel.rooted
COUNTS, NAMES = kernel.COUNTS, ("small", "large", "learned")
SAID = [[0.354, 0.331, 0.154], [0.167, 0.137, 0.131], [0.059, 0.068, 0.060]]  # N9, by steps


def measure(lab: Lab, learned: kernel.Choice) -> Finding:
    """W2 to the spiral and the bound, for three variances and three numbers of steps."""
    choices = (kernel.small, kernel.large, learned)
    rows = [[kernel.distance_and_bound(c, k, lab.seed) for c in choices] for k in COUNTS]
    far, bound = torch.tensor(rows).unbind(2)
    floor, sd = diagnostics.sampling_floor(points, 1000, seed=lab.seed)
    near = SURE * sd * math.sqrt(1 + 1 / 3)
    few, _, many = far
    earlier, same = few[:2].min() - few[2], many.max() - many.min()
    off, gain = (far - torch.tensor(SAID)).abs().max(), (bound[:, 2:] - bound[:, :2]).min()
    error = "four standard errors of three clouds beside one"
    return Finding(
        [
            Check("W2 at 5 steps, better fixed - learned", earlier, above(near), error),
            Check("W2 at 200 steps, largest - smallest", same, below(near), error),
            Check("W2, largest distance from N9", off, below(near), error),
            Check("bound, learned - fixed, smallest (nats)", gain, above(0.0), "highest bound"),
        ],
        notes={
            f"{what}, {NAMES[j]}, {COUNTS[i]} steps": float(table[i, j])
            for what, table in (("W2", far), ("bound (nats)", bound))
            for j, i in np.ndindex(3, 3)
        }
        | {"W2 of two clouds of 1000 data": floor, **kernel.further(learned, lab.seed)},
        draw=lambda fig: _merging(fig, far, floor, sd),
    )


def _merging(fig: plot.Figure, far: Tensor, floor: float, sd: float) -> None:
    """W2 against steps, (3, 3), one line for each variance, and the floor."""
    ax = fig.subplots()
    ax.axhspan(floor - sd, floor + sd, color=plot.GREY, alpha=0.3, lw=0, label="two data sets")
    colours = plot.VERMILION, plot.ORANGE, plot.BLUE
    for name, row, colour in zip(NAMES, far.T, colours, strict=True):
        ax.semilogx(COUNTS, row, "o-", color=colour, ms=4, label=f"{name} variance")
    ax.set(xlabel="steps", ylabel="W2 to the spiral", ylim=(0, None))
    ax.legend(loc="upper right")
