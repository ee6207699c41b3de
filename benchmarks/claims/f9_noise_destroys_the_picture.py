"""Noise is added, step by step, until nothing is left of the picture.

Says: noise is added step by step "until the image is completely destroyed" (000, 003).
Measured: after DDPM's thousand steps on 359 handwritten digits the pixels are compared with N(0,
1) and the pictures with the digits that they came from; what is left of a digit must be no more
than chance.
Control: the chain stops after 300 of its 1000 steps.
Source: the correlation of each end with its own digit, and whether that digit is the one of 100
that correlates most. The signal-to-noise ratio is alpha_t^2 s^2 / sigma_t^2, where s is the
standard deviation from the mean digit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, about, below
from benchmarks.claims.digits import halves
from benchmarks.claims.noising import BETAS, noise_step
from benchmarks.claims.setting import SURE
from sdeflow import plot
from sdeflow.random_streams import KeyedNormals, Stream

SUBJECT, CONTROL = BETAS, BETAS[:300]  # the chain, and one that stops too early
NEEDS = ("sklearn",)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of the steps, as drawn


def measure(lab: Lab, betas: Tensor) -> Finding:
    """How much of a digit is left after all steps."""
    learn, clean = (x.double() for x in halves())
    middle, steps = learn.mean(0), len(betas)
    start = clean - middle
    normal = KeyedNormals(lab.seed, Stream.MOTION, *start.shape, torch.float64)
    x, shown = start, {}
    drawn = [round(share * steps) for share in SHARES]
    for t in range(steps + 1):
        x = noise_step(x, float(betas[t - 1]), normal.draw(t)) if t else x
        if t in drawn:
            shown[t] = x
    mean, var, n = float(x.mean()), float(x.var()), x.numel()
    alpha2 = torch.cumprod(1 - betas, 0)
    std = float((learn - middle).square().mean().sqrt())
    decibel = (10 * torch.log10(std**2 * alpha2 / (1 - alpha2))).tolist()
    cosine = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(start).T
    others = torch.stack([cosine.roll(-k, 1).diagonal() for k in range(1, 100)])
    found = float((cosine.diagonal() > others.amax(0)).double().mean())
    chance = SURE * math.sqrt(0.01 * 0.99 / len(x))
    return Finding(
        [
            Check("KL divergence of the pixels at the end from N(0, 1) (nats)",
                  (mean**2 + var - 1 - math.log(var)) / 2, below(1e-3),
                  "pure noise to a thousandth of a nat"),
            Check("mean correlation of the end with the digit that it came from",
                  cosine.diagonal().mean(), about(0.0, SURE / math.sqrt(n)),
                  "no correlation; four standard errors"),
            Check("share of ends that correlate most with their own digit, of 100", found,
                  about(0.01, chance), "chance; four standard errors"),
        ],
        notes={
            "mean of a pixel at the end": mean,
            "standard deviation of a pixel at the end": math.sqrt(var),
        }
        | {f"signal to noise after step {t} (dB)": decibel[t - 1] for t in drawn if t},
        draw=lambda fig: _draw(fig, {t: y + math.sqrt(alpha2[t - 1] if t else 1) * middle
                                     for t, y in shown.items()}, decibel),
        size=(3.4, 2.0),
    )  # fmt: skip


def _draw(fig: plot.Figure, shown: dict[int, Tensor], decibel: list[float]) -> None:
    """Four digits under ever more noise, and below them step and signal-to-noise ratio."""
    words = [f"{t}\n{decibel[t - 1]:.0f} dB" if t else "step 0\n" for t in shown]
    rows = {" " * k: torch.stack([x[40 * k] for x in shown.values()]) for k in range(4)}
    drawings.pictures(fig, rows, len(shown), {" " * 3: words}, span=(-2.0, 2.0))
