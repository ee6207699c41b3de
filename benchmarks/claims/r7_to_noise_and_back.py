"""Noising and DDPM give back the distribution but no single image; the flow gives back both.

Says: one can "recover the whole distribution, but you can't necessarily take a single image" to
noise and back (001).
Measured: images are taken to noise and back; the distance of each image to its return is compared
with that to another image's return, and the distance W2 of all returns to the data with that of
two samples of the data.
Correction: only for the way with noise, by which an image comes back as far from itself as another
image is. Along the flow, which ends in the same distribution, it comes back to the solver's
tolerance.
Control: DDPM without its noise.
Source: Song et al. 2021, section 4.3. The spiral with width 0.05, three clouds of 700, DDPM in 100
steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, below
from benchmarks.claims.measures import sure
from benchmarks.claims.noising_and_back import noised_and_back
from benchmarks.claims.setting import SURE
from benchmarks.claims.smooth_spiral import FINE, PRESERVING, ROUND, TOLERATED, noised
from sdeflow import diagnostics, plot
from sdeflow.analysis.likelihood import decode, encode

SUBJECT, CONTROL = 1.0, 0.0  # share of DDPM's noise that is kept


def measure(lab: Lab, kept: float) -> Finding:
    """Distances of images to what comes back of them, by noise and along the flow."""
    n, data = 700, noised(PRESERVING.t_min)
    three = [noised_and_back(data, n, kept, lab.seed + i) for i in range(3)]
    own, strange = (torch.cat([getattr(r, name) for r in three]) for name in ("own", "other"))
    far = sum(r.distance for r in three) / 3
    x0 = data.sample(200, lab.seed)
    returned = decode(ROUND, encode(ROUND, x0, FINE), FINE)
    off = math.sqrt(float(((returned - x0) ** 2).sum(1).mean()))
    sampling_floor, sd = diagnostics.sampling_floor(data.sample, n, seed=lab.seed)
    more, scale = own - strange, float(strange.mean())
    apart, error = float(more.mean()) / scale, float(more.std()) / scale / math.sqrt(len(more))
    return Finding(
        [
            Check(
                "mean square distance of an image to its return by noise / to another's, minus 1",
                apart,
                about(0.0, SURE * error),
                "four standard errors",
            ),
            Check(
                "W2 of the images that came back to the data",
                far,
                below(sampling_floor + sure(sd)),
                "two samples of the data, and four standard errors",
            ),
            Check(
                "root mean square distance of an image to its return by the flow",
                off,
                below(TOLERATED),
                "a thousand times the solver's tolerance",
            ),
        ],
        notes={"W2 of two samples of the data": sampling_floor, "its standard deviation": sd},
        draw=lambda fig: _returns(fig, x0, {"by noise": three[0].x, "by the flow": returned}),
        size=(3.4, 1.9),
    )


def _returns(fig: plot.Figure, x0: Tensor, ends: dict[str, Tensor], many: int = 30) -> None:
    """Lines from images to what came back of them."""
    for ax, (name, x) in zip(fig.subplots(1, 2), ends.items(), strict=True):
        for a, b in zip(x0[:many], x[:many], strict=True):
            ax.plot(*torch.stack([a, b]).T, color=plot.GREY, lw=0.5)
        plot.cloud(ax, x0[:many], plot.BLUE, 14, label="image")
        plot.cloud(ax, x[:many], plot.VERMILION, 4, label="came back")
        plot.frame(ax, 1.4, name)
    ax.legend(loc="lower left", fontsize=5, handletextpad=0.1)
