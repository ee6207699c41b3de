"""The log density of an image falls in the mean at every further bit of noise.

Says: a "magic API" scores an image, 0.9 or 0.98, and lower when it is damaged (001).
Correction: in the mean only. A typical image is no mode of the density, so a small damage
makes many a single one more likely. And a density is no probability: it may exceed one.
Source: the exact density of the spiral, each point a Gaussian of width 0.05.
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
BROKEN: Score = lambda x: -IMAGES.log_prob(x)  # noqa: E731


def measure(lab: Lab, log_density: Score) -> Finding:
    """The fall of the mean of ln p from each noise level to the next."""
    x0, eps = IMAGES.sample(4000, lab.seed), normals(lab, 4000)
    score = torch.stack([log_density(x0 + s * eps) for s in SIGMAS])
    fall = -score.diff(dim=0)
    fall_in_errors = fall.mean(1) / (fall.std(1) / math.sqrt(len(x0)))
    return Finding(
        [
            Check(
                "smallest fall of the mean of ln p between levels (standard errors)",
                fall_in_errors.min(),
                above(SURE),
                "four standard errors",
            )
        ],
        notes={
            "ln p, clean": float(score[0].mean()),
            "ln p at noise 1": float(score[-1].mean()),
            "share of images that noise 0.02 makes likelier": float((fall[0] < 0).double().mean()),
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
