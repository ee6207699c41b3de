"""Use the lecture's time, the exact checkerboard and its networks in claims on flow matching.

The lecture's time runs from noise, t = 0, to data, t = 1; ours, like that of the other lectures,
runs the other way. In our symbols the lecture's path and velocity are

    x_t = (1 - t) x_0 + t x_1,    u = dx_t / dt = x_1 - x_0 = -v(x, 1 - t),

with x_0 noise and x_1 data on the left. In M1 to M12 t is the lecture's where its formula is
quoted, and our time is 1 - t. The checkerboard is the continuous one, and its field exact, unless
a network is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from benchmarks.claims.setting import (
    CHECKERBOARD,
    CheckerboardNetwork,
    checkerboard_field,
    checkerboard_lecture,
    exact_on_checkerboard,
)
from sdeflow import plot
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import KeyedNormals, Stream

EXACT = exact_on_checkerboard()
assert isinstance(CHECKERBOARD.distribution, PiecewiseConstant)
SQUARES = CHECKERBOARD.distribution
ONE_SQUARE = EXACT.given(0)
SIZE = math.sqrt(2 * 16 / 3)  # root mean square distance of the checkerboard from its mean
SHORT = 5_000  # training steps: a hundredth of the lecture's

Times = Callable[[Tensor], Tensor]
Draw = Callable[[plot.Figure], None]


def reversed_time(t: Tensor) -> Tensor:
    """1 - t: converts the lecture's time to ours, and back."""
    return 1 - t


def same_time(t: Tensor) -> Tensor:
    """t itself: the mistake of taking the lecture's time for ours."""
    return t


def scalar(value: float) -> Tensor:
    """A number in double precision, ()."""
    return torch.tensor(value, dtype=torch.float64)


def normals_of(lab: Lab, n: int) -> Tensor:
    """The lab's standard normals (n, 2)."""
    return KeyedNormals(lab.seed, Stream.PROBE, n, 2, torch.float64).draw(0)


def mean_and_error(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the rows of x (n, k), and its standard error, (k,)."""
    return x.mean(0), x.std(0) / math.sqrt(len(x))


def on_squares(x: Tensor) -> tuple[float, float]:
    """The share of a cloud on the squares, and the largest relative error of a square's share."""
    cell = CHECKERBOARD.cell(x)
    count = torch.bincount(cell[cell >= 0], minlength=8).double()
    return float((cell >= 0).double().mean()), float((8 * count / count.sum() - 1).abs().max())


def draw_on_checkerboard(clouds: dict[str, Tensor]) -> Draw:
    """Draw clouds side by side on the checkerboard."""
    shade = 1 - 0.2 * SQUARES.weights.numpy()

    def draw(fig: plot.Figure) -> None:
        for ax, (name, x) in zip(fig.subplots(1, len(clouds)), clouds.items(), strict=True):
            ax.imshow(shade, cmap="gray", vmin=0, vmax=1, extent=(-4, 4, -4, 4), origin="lower")
            plot.cloud(plot.frame(ax, 4.6, name), x, size=1.2)

    return draw


def _lecture_short(seed: int) -> LearnedField:
    """The lecture's training, stopped after a hundredth of its steps."""
    return checkerboard_lecture(seed, SHORT)


def checkerboard_networks(lab: Lab) -> dict[str, LearnedField]:
    """The lecture's network after a hundredth of its training, and ours, trained by `fit`."""
    return {
        "lecture, 5,000 steps": lab.trained(
            "checkerboard-lecture", _lecture_short, network=CheckerboardNetwork()
        ),
        "ours, 12,000 steps": lab.trained("checkerboard-ours", checkerboard_field),
    }
