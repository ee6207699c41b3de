"""A thousand small noise steps have the same mean and variance as one jump with alpha-bar.

Says: a step is "Gaussian, mean sqrt(1-beta) x, variance beta I" (001, in our words).
Measured: 4000 copies of one point go through DDPM's chain, and their mean and variance after 1, 3,
..., 1000 steps are compared with those of the closed-form jump; agreement means that training may
jump to any step at once.
Control: each step multiplies x by 1 - beta in place of sqrt(1 - beta).
Source: Ho et al. 2020, eq. 4; every moment within four standard errors at seven times. The jump is
that of `Tabulated`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.noising import BETAS, DDPM, START, noise_step
from benchmarks.claims.setting import SURE
from sdeflow import plot
from sdeflow.random_streams import KeyedNormals, Stream

Step = Callable[[Tensor, float, Tensor], Tensor]
SUBJECT: Step = noise_step
CONTROL: Step = lambda x, beta, z: (1 - beta) * x + math.sqrt(beta) * z  # noqa: E731
TIMES = (1, 3, 10, 30, 100, 300, 1000)


def measure(lab: Lab, step: Step) -> Finding:
    """Run the chain and compare its moments with those of the jump."""
    n = 4000
    noise = KeyedNormals(lab.seed, Stream.MOTION, n, 2, torch.float64)
    x, moments, mean, variance = START.expand(n, 2), [], 0.0, 0.0
    for k, beta in enumerate(BETAS.tolist()):
        x = step(x, beta, noise.read(k))
        if k + 1 in TIMES:
            c = DDPM(torch.tensor(k + 1.0, dtype=torch.float64))
            off = (x.mean(0) - c.alpha * START) / (c.sigma / math.sqrt(n))
            mean = max(mean, float(off.abs().max()))
            off = (x.var(0) / c.sigma**2 - 1) / math.sqrt(2 / (n - 1))
            variance = max(variance, float(off.abs().max()))
            moments.append((k + 1, float(x[:, 1].mean()), float(x[:, 1].std())))
    allowed = below(SURE), "four standard errors"
    return Finding(
        [
            Check("largest deviation of a mean (standard errors)", mean, *allowed),
            Check("largest deviation of a variance (standard errors)", variance, *allowed),
        ],
        notes={"alpha-bar after 1000 steps": float(torch.cumprod(1 - BETAS, 0)[-1])},
        draw=lambda fig: _moments(fig, moments),
    )


def _moments(fig: plot.Figure, moments: list[tuple[int, float, float]]) -> None:
    """Mean and spread of the second coordinate, step by step and at once."""
    ax, c = fig.subplots(), DDPM(torch.arange(1.0, 1001.0, dtype=torch.float64))
    count = np.arange(1, 1001)
    when, means, spreads = zip(*moments, strict=True)
    ax.plot(count, c.alpha * START[1], color=plot.BLUE, label=r"$\sqrt{\bar\alpha}\,x_0$")
    ax.plot(count, c.sigma, color=plot.VERMILION, label=r"$\sqrt{1-\bar\alpha}$")
    ax.plot(when, means, "o", color=plot.BLUE, ms=4, label="mean, step by step")
    ax.plot(when, spreads, "s", color=plot.VERMILION, ms=4, label="spread, step by step")
    ax.set(xscale="log", xlabel="step", ylabel="right pixel", ylim=(-0.1, 1.5))
    ax.legend(loc="upper left", ncols=2)
