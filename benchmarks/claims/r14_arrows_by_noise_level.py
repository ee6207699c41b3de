"""After 100 steps the arrows point to the middle of the data; after one step each has its own way.

Says: after a hundred steps the "general direction of our spiral", after one a "nuanced vector
field" (000).
Measured: the angle between the exact field's arrows and the direction of the data's mean is
averaged over a window; small angles in large noise and large ones in small noise mean that detail
appears only as the noise falls.
Control: the field after 100 steps in the place of that after one.
Source: the window is [-1.5, 1.5]^2; the bound is the largest angle for a Gaussian of the same
covariance, whose arrows have no detail.
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.random_walk import STEP, STEPS, WALK, lattice
from benchmarks.claims.setting import COVARIANCE, POINTS, SPIRAL, exact
from sdeflow import plot

SUBJECT, CONTROL = 1, STEPS  # after how many steps the field has detail


def measure(lab: Lab, steps: int) -> Finding:
    """Mean angle of the arrows to the direction of the mean, after few steps and after all."""
    (early, plain), (late, bound) = _angle(steps), _angle(STEPS)
    return Finding(
        [
            Check(
                "mean angle to the direction of the mean after one step (degrees)",
                early,
                at_least(plain),
                "largest angle of a Gaussian",
            ),
            Check(
                "mean angle to the direction of the mean after 100 steps (degrees)",
                late,
                at_most(bound),
                "largest angle of a Gaussian",
            ),
        ],
        draw=lambda fig: _arrows(fig, {"1 step": steps, "100 steps": STEPS}),
        size=(3.4, 1.9),
    )


def _angle(n: int) -> tuple[float, float]:
    """Mean angle after n steps, and the Gaussian's largest: asin((k - 1) / (k + 1))."""
    y = lattice(1.5)
    middle = torch.nn.functional.normalize(SPIRAL.mean - y, dim=1)
    sigma = torch.tensor(STEP * math.sqrt(n), dtype=torch.float64)
    arrow = torch.nn.functional.normalize(-exact(WALK).noise(y, sigma), dim=1)
    small, large = (torch.linalg.eigvalsh(COVARIANCE) + sigma**2).tolist()
    off = torch.acos((arrow * middle).sum(1).clamp(-1, 1)).mean()
    return math.degrees(off), math.degrees(math.asin((large - small) / (large + small)))


def _arrows(fig: plot.Figure, shown: dict[str, int]) -> None:
    """The field after some numbers of steps."""
    for ax, (title, n) in zip(fig.subplots(1, len(shown)), shown.items(), strict=True):
        plot.cloud(ax, POINTS, plot.VERMILION, 4)
        sigma = STEP * math.sqrt(n)
        plot.arrows(ax, exact(WALK), sigma, 1.2, 17, plot.BLUE)
        plot.frame(ax, 1.3, rf"{title}, $\sigma$ = {sigma:.2f}")
