"""The inner 30 points of the spiral are people, the next 30 dogs, the outer 40 cats.

Says: the inner part is "person", the middle one "dog", the outer one "cat" (000, 003).
Measured: the radii at which each class begins and ends, and the number of its points, are compared
with the lecture's, so that all claims on classes use the lecture's.
Control: classes that are thirds of the points.
Source: docs/sources.md, N1: the classes are thirds of an angle of 4.5 pi, where the spiral has 5
pi, so they are not thirds of the points; radii are printed to three places.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, below
from benchmarks.claims.guided_classes import CLASSES, COLOURS, NAMES
from benchmarks.claims.setting import LABELS, POINTS
from sdeflow import plot

SUBJECT, CONTROL = LABELS, torch.arange(len(LABELS)) * 3 // len(LABELS)  # the label of each point
RADII = torch.tensor([[0.100, 0.393], [0.403, 0.696], [0.706, 1.100]], dtype=torch.float64)
SIZES = (30, 30, 40)


def measure(lab: Lab, labels: Tensor) -> Finding:
    """The first and last radius and the number of points of each class."""
    radius = POINTS.double().norm(dim=1)
    found = torch.stack([torch.stack(radius[labels == k].aminmax()) for k in CLASSES])
    sizes = torch.bincount(labels, minlength=3).tolist()
    return Finding(
        [
            Check(
                "largest deviation of a class's first or last radius",
                float((found - RADII).abs().max()),
                below(5e-4),
                "half a unit of the last place printed",
            )
        ]
        + [
            Check(f"points of {name}", n, about(said, within=0), "docs/sources.md, N1")
            for name, n, said in zip(NAMES, sizes, SIZES, strict=True)
        ],
        draw=lambda fig: _coloured(fig, labels, sizes),
    )


def _coloured(fig: plot.Figure, labels: Tensor, sizes: list[int]) -> None:
    ax = fig.subplots()
    for k in CLASSES:
        plot.cloud(ax, POINTS[labels == k], COLOURS[k], 12, f"{NAMES[k]} ({sizes[k]})")
    ax.set(xlabel="x", ylabel="y", xlim=(-1.25, 2.2))
    ax.legend(loc="center right")
