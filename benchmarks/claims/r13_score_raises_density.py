"""A step along the score makes every point more likely, and on average less noisy.

Says: the score "points us towards more likely, less noisy data" (000).
Measured: points at four noise levels take the step sigma^2 times the score, which ends at x0_hat;
ln p must rise by at least |x0_hat - x|^2 / (2 sigma^2), and the mean square distance to the clean
point must not grow.
Control: the step goes against the score.
Source: the Hessian of ln p is at least -1 / sigma^2, which gives this least gain for any data
(mean shift). And no estimate of x_0 from x has a smaller mean square error than x0_hat.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.random_walk import normal
from benchmarks.claims.setting import POINTS, SPIRAL
from sdeflow.distributions.mixture import GaussianMixture

SUBJECT, CONTROL = 1.0, -1.0  # the step along the score, in sigma^2
LEVELS = (0.05, 0.2, 1.0, 5.0)


def measure(lab: Lab, step: float) -> Finding:
    """Gain of ln p, and the noise that is left, in a step to x0_hat from four noise levels."""
    n = 4000
    x0 = SPIRAL.sample(n, lab.seed, torch.float64)
    gains, rising, noise = [], [], {}
    for i, sigma in enumerate(LEVELS):
        x = x0 + sigma * normal(n, lab.seed, i)
        gain, least, moved = _moved(x, sigma, step)
        gains.append((gain / least).min())
        rising.append((gain > 0).double().mean())
        noise[sigma] = float(((moved - x0) ** 2).mean().sqrt()) / sigma
    return Finding(
        [
            Check(
                "smallest gain of ln p in a step to x0_hat, over |x0_hat - x|^2 / 2 sigma^2",
                float(torch.stack(gains).min()),
                at_least(1 - 1e-6),
                "theory: 1 at least; rounding",
            )
        ]
        + [
            Check(
                f"noise left after the step, over sigma {s:g}",
                v,
                at_most(1.0),
                "the noise before the step",
            )
            for s, v in noise.items()
        ],
        notes={"share of points that become more likely": float(torch.stack(rising).min())},
    )


def _moved(x: Tensor, sigma: float, step: float) -> tuple[Tensor, Tensor, Tensor]:
    """Gain of ln p (n,) in the step, the least gain by theory (n,), and where it ends (n, 2)."""
    density = GaussianMixture.isotropic(POINTS, 0.0).noised(1.0, sigma)
    pull = sigma**2 * density.score(x)
    moved = x + step * pull
    gain = density.log_prob(moved) - density.log_prob(x)
    return gain, (pull**2).sum(1) / (2 * sigma**2), moved
