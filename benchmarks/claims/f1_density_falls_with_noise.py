"""On average the log density of an image falls with every further bit of noise.

Says: a "magic API" scores an image, 0.9 or 0.98, and lower when it is damaged (001).
Measured: 4000 images get noise of growing size, and the mean of the exact ln p is taken at each
size; if it falls from each size to the next, ln p can serve as a score of how clean an image is.
Correction: on average only. A typical image does not sit at a peak of the density, so a small
damage makes many single images more likely. And a density is not a probability: it may exceed 1.
Control: the sign of ln p is flipped, so that noise raises the score.
Source: the exact density of the spiral, each point widened to a Gaussian of width 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, above
from benchmarks.claims.noising import normals
from benchmarks.claims.setting import SPIRAL, SURE
from sdeflow import plot

IMAGES = SPIRAL.smooth(0.05)  # a distribution with a density
SIGMAS = [0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]

Score = Callable[[Tensor], Tensor]
SUBJECT: Score = IMAGES.log_prob
CONTROL: Score = lambda x: -IMAGES.log_prob(x)  # noqa: E731


def measure(lab: Lab, log_density: Score) -> Finding:
    """How far the mean of ln p falls from each noise level to the next."""
    x0, eps = IMAGES.sample(4000, lab.seed), normals(lab, 4000)
    score = torch.stack([log_density(x0 + s * eps) for s in SIGMAS])
    fall = -score.diff(dim=0)
    fall_in_errors = fall.mean(1) / (fall.std(1) / math.sqrt(len(x0)))
    return Finding(
        [
            Check(
                "smallest fall of the mean of ln p between noise levels (standard errors)",
                fall_in_errors.min(),
                above(SURE),
                "four standard errors",
            )
        ],
        notes={
            "mean of ln p without noise": float(score[0].mean()),
            "mean of ln p at noise 1": float(score[-1].mean()),
            "share of images that noise 0.02 makes more likely": float(
                (fall[0] < 0).double().mean()
            ),
        },
        draw=lambda fig: _falling(fig, score),
    )


def _falling(fig: plot.Figure, score: Tensor) -> None:
    """The mean of ln p and its spread against the noise."""
    ax = fig.subplots()
    low, high = torch.quantile(score, torch.tensor([0.1, 0.9]).double(), dim=1)
    ax.fill_between(SIGMAS, low, high, color=plot.GREY, alpha=0.35, lw=0, label="10 to 90 %")
    ax.plot(SIGMAS, score.mean(1), "o-", color=plot.BLUE, ms=3, label="mean of 4000")
    ax.set(xlabel=r"noise added, $\sigma$", ylabel=r"$\ln p(x_0 + \sigma z)$")
    ax.set_yscale("symlog", linthresh=10)
    ax.legend(loc="lower left")
