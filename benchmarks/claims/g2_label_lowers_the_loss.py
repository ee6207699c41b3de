"""A label lowers the loss at middle noise; the area between the losses is the label's information.

Says: conditioning gives the network "more context" (000, 003).
Measured: the losses of the exact fields with and without the label are compared at 61 noise
levels; the area between them must be the mutual information of label and x_t, in nats.
Control: the next class is told in the place of the right one.
Source: Guo, Shamai and Verdu 2005: dI = (loss - loss given the label) d ln sigma, the loss being
that of eps. The information is known from the posterior of the label; 5000 draws, the same at each
level, four standard errors.
"""

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, above, below
from benchmarks.claims.guided_classes import CLASSES, Label, next_class, same_class
from benchmarks.claims.setting import LABELS, POINTS, SPIRAL, SURE, WIDE, exact
from sdeflow import plot

SUBJECT, CONTROL = same_class, next_class  # the class that is told
SIGMAS = torch.logspace(1, -2, 61, dtype=torch.float64)
ENTROPY = -sum(p * math.log(p) for p in (0.3, 0.3, 0.4))  # of the label
N = 5000


def _losses(lab: Lab, told: Label) -> tuple[Tensor, Tensor]:
    """The gap between the losses, and the information on the label; each (levels, N)."""
    x0, label = SPIRAL.sample_labelled(N, lab.seed, torch.float64)
    eps = WIDE.prior(N, 2, lab.seed, torch.float64) / WIDE.sigma_max
    whole, parts = exact(), [exact().given(told(k)) for k in CLASSES]
    gap, known = [], []
    for sigma in SIGMAS:
        x, t = x0 + sigma * eps, WIDE.time_of(sigma)
        given = torch.stack([part.noise(x, t) for part in parts])[label, torch.arange(len(x))]
        gap.append(((whole.noise(x, t) - eps) ** 2 - (given - eps) ** 2).sum(1))
        w = torch.softmax(-(torch.cdist(x, POINTS.double()) ** 2) / (2 * sigma**2), 1)
        mine = (w * (LABELS == label[:, None])).sum(1)
        known.append(torch.log(mine * len(POINTS) / torch.bincount(LABELS)[label]))
    return torch.stack(gap), torch.stack(known)


def measure(lab: Lab, told: Label) -> Finding:
    """The area between the losses against the information, level by level."""
    gaps, nats = _losses(lab, told)
    area = nats[0] - torch.cumulative_trapezoid(gaps, torch.log(SIGMAS), dim=0)
    off = area - nats[1:]
    deviation = off.mean(1) / (off.std(1) / math.sqrt(N))
    middle = gaps[(SIGMAS > 0.1) & (SIGMAS < 1)]
    gain = middle.mean(1) / (middle.std(1) / math.sqrt(N))
    return Finding(
        [
            Check("largest deviation of the area from the mutual information (standard errors)",
                  float(deviation.abs().max()), below(SURE), "four standard errors"),
            Check("smallest fall of the loss by the label, sigma 0.1 to 1 (standard errors)",
                  float(gain.min()), above(SURE), "four standard errors"),
        ],
        draw=lambda fig: _gap_and_area(fig, gaps, area, nats),
        notes={
            "area between the two losses, in nats": float(area[-1].mean()),
            "standard error of the area": float(area[-1].std()) / math.sqrt(N),
            "entropy of the label, in nats": ENTROPY,
            "noise at which the label helps most": float(SIGMAS[gaps.mean(1).argmax()]),
        },
    )  # fmt: skip


def _gap_and_area(fig: plot.Figure, gaps: Tensor, area: Tensor, nats: Tensor) -> None:
    ax = fig.subplots()
    ax.plot(SIGMAS, gaps.mean(1), color=plot.BLUE, label="loss gap, both coordinates")
    ax.plot(SIGMAS[1:], area.mean(1), color=plot.VERMILION, label="its area from the right")
    ax.plot(SIGMAS[::5], nats.mean(1)[::5], "o", color=plot.BLACK, ms=3,
            label="information on the label")  # fmt: skip
    ax.axhline(ENTROPY, color=plot.GREY, lw=0.8, ls="--", label="entropy of the label")
    ax.set(xscale="log", xlabel=r"noise $\sigma$", ylabel="nats", ylim=(-0.05, 1.75))
    ax.legend(loc="upper right", ncols=1)
