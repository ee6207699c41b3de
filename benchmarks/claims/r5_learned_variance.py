"""A learned variance is right with five steps already, where both fixed variances of DDPM fail.

Says: the variance is learned with the mean ("square, triangle"), DDPM's is fixed (001).
Measured: clouds are made with DDPM's small and large variance and with a learned one, in 5, 20 and
200 steps; their distance W2 to the data and the evidence bound show that a learned variance pays
when steps are few.
Correction: at 200 steps no cloud of 1000 tells the three apart, though the bound still tells the
small one from the others. And no gradient descent is needed: the bound is highest when the
variance is the mean squared error of x0_hat, which is `optimal_variance` for the exact field.
Control: the standard deviation in the place of the learned variance.
Source: Ho et al. 2020, section 3.2; Nichol and Dhariwal 2021. W2 as in docs/sources.md, N9:
uniform times, the cloud as the last noise step leaves it. One more step, to sigma = 0, removes the
noise that spoils the large variance at five steps.
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

SUBJECT, CONTROL = learned_variance, kernel.rooted
COUNTS, NAMES = kernel.COUNTS, ("small", "large", "learned")
SAID = [[0.354, 0.331, 0.154], [0.167, 0.137, 0.131], [0.059, 0.068, 0.060]]  # N9, by steps


def measure(lab: Lab, learned: kernel.Choice) -> Finding:
    """W2 to the spiral and the bound, for three variances and three numbers of steps."""
    choices = (kernel.small, kernel.large, learned)
    rows = [[kernel.distance_and_bound(c, k, lab.seed) for c in choices] for k in COUNTS]
    far, bound = torch.tensor(rows).unbind(2)
    sampling_floor, sd = diagnostics.sampling_floor(points, 1000, seed=lab.seed)
    near = SURE * sd * math.sqrt(1 + 1 / 3)
    few, _, many = far
    earlier, same = few[:2].min() - few[2], many.max() - many.min()
    off, gain = (far - torch.tensor(SAID)).abs().max(), (bound[:, 2:] - bound[:, :2]).min()
    error = "sampling sampling_floor, four standard errors"
    return Finding(
        [
            Check("W2 at 5 steps, better fixed variance - learned", earlier, above(near), error),
            Check(
                "W2 at 200 steps, largest - smallest of three variances", same, below(near), error
            ),
            Check("largest deviation of a W2 from N9", off, below(near), error),
            Check(
                "smallest gain of the evidence bound, learned - fixed (nats)",
                gain,
                above(0.0),
                "the learned variance has the highest bound",
            ),
        ],
        notes={
            f"{what}, {NAMES[j]}, {COUNTS[i]} steps": float(table[i, j])
            for what, table in (("W2", far), ("bound (nats)", bound))
            for j, i in np.ndindex(3, 3)
        }
        | {"W2 of two clouds of 1000 data": sampling_floor, **kernel.further(learned, lab.seed)},
        draw=lambda fig: _merging(fig, far, sampling_floor, sd),
    )


def _merging(fig: plot.Figure, far: Tensor, sampling_floor: float, sd: float) -> None:
    """W2 against steps, (3, 3), one line for each variance, and the floor."""
    ax = fig.subplots()
    ax.axhspan(
        sampling_floor - sd,
        sampling_floor + sd,
        color=plot.GREY,
        alpha=0.3,
        lw=0,
        label="two data sets",
    )
    colours = plot.VERMILION, plot.ORANGE, plot.BLUE
    for name, row, colour in zip(NAMES, far.T, colours, strict=True):
        ax.semilogx(COUNTS, row, "o-", color=colour, ms=4, label=f"{name} variance")
    ax.set(xlabel="steps", ylabel="W2 to the spiral", ylim=(0, None))
    ax.legend(loc="upper right")
