"""Measure angles between the exact field of a class of the spiral and that of all points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.guided_classes import CLASSES, COLOURS, NAMES
from benchmarks.claims.setting import exact
from sdeflow import plot

ANGLES = {  # docs/sources.md, N13: mean angle to the unconditional field, in degrees
    1.0: (3.3, 3.6, 0.4),
    0.6: (3.6, 4.9, 4.5),
    0.5: (4.7, 8.4, 22.8),
    0.4: (6.9, 13.4, 23.3),
    0.2: (20.8, 19.6, 11.1),
}
COSINES = {1.0: 0.9986, 0.5: 0.32, 0.3: -0.29, 0.2: -0.41}  # of the cat, at x_t: N13
_AXIS = torch.linspace(-2, 2, 64, dtype=torch.float64)
WINDOW = torch.cartesian_prod(_AXIS, _AXIS)


def cosines(label: int, x: Tensor, t: Tensor) -> Tensor:
    """Cosines (n,) between the fields of a class and of all points, at x (n, 2)."""
    return torch.cosine_similarity(exact().given(label).noise(x, t), exact().noise(x, t))


def angle(label: int, t: float | Tensor) -> float:
    """Mean angle between the two fields on the window, in degrees."""
    cosine = cosines(label, WINDOW, torch.as_tensor(t, dtype=torch.float64))
    return float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).mean())


def draw_angles(
    fig: plot.Figure, told: Callable[[int], int], found: dict[float, list[float]]
) -> None:
    """Draw the mean angle of each class over time, and the numbers of N13."""
    ax, times = fig.subplots(), torch.linspace(0, 1, 26, dtype=torch.float64)
    for k in CLASSES:
        ax.plot(times, [angle(told(k), t) for t in times], color=COLOURS[k], label=NAMES[k])
        ax.plot([*found], [row[k] for row in found.values()], "o", color=COLOURS[k], ms=4)
    ax.plot([], [], "o", color=plot.GREY, ms=4, label="docs/sources.md, N13")
    ax.set(xlabel=r"$t$, $\sigma = 10^{3t - 2}$", ylabel="mean angle (degrees)")
    ax.legend(loc="upper right")
