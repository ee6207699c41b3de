"""A point of the unit square is an image of two pixels, and can be read back from that image.

Says: an image of two pixels is a point: black and white "at (0, 1)", white "at (1, 1)" (001, in
our words).
Measured: points are written as PNG images of two pixels and read again; each comes back to within
half a step of grey, so a cloud in the plane can stand for a set of images.
Control: the pixels are read in the wrong order.
Source: a PNG has 255 steps of grey, so a point comes back to half a step.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, at_most
from benchmarks.claims.setting import SPIRAL
from sdeflow import plot

CORNERS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)

Read = Callable[[np.ndarray], np.ndarray]
"""Grey values of a strip of images (n, 2) -> points (n, 2)."""
SUBJECT: Read = lambda strip: strip  # noqa: E731
CONTROL: Read = lambda strip: strip.T.reshape(-1, 2)  # noqa: E731


def measure(lab: Lab, read: Read) -> Finding:
    """Write points as a PNG with one image in each row, left pixel and right; read them back."""
    x = torch.cat([CORNERS, (SPIRAL.sample(500, lab.seed, torch.float64) + 1.2) / 2.4])
    file = io.BytesIO()
    Image.fromarray((255 * x).round().to(torch.uint8).numpy(), "L").save(file, "PNG")
    off = (torch.from_numpy(read(np.asarray(Image.open(file))) / 255.0) - x).abs()
    return Finding(
        [
            Check(
                "largest distance between a corner and its image, read back",
                off[:4].max(),
                about(0.0, 0.0),
                "black or white",
            ),
            Check(
                "largest difference between a coordinate and its pixel, read back",
                off.max(),
                at_most(0.5 / 255 + 1e-12),
                "half a step of grey",
            ),
        ],
        notes={"images": float(len(x))},
        draw=lambda fig: _square(fig, x),
    )


def _square(fig: plot.Figure, x: Tensor) -> None:
    """The points, and for some of them the image that each is."""
    ax = fig.subplots()
    plot.cloud(ax, x[4:], size=3)
    for point in x[:7]:
        a, b = float(point[0]), float(point[1])
        ax.imshow(
            [point.tolist()], cmap="gray", vmin=0, vmax=1, zorder=3,
            extent=(a - 0.06, a + 0.06, b - 0.03, b + 0.03),
        )  # fmt: skip
        ax.plot(
            a + 0.06 * np.array([-1, 1, 1, -1, -1]), b + 0.03 * np.array([-1, -1, 1, 1, -1]),
            color=plot.VERMILION, lw=0.8, zorder=4,
        )  # fmt: skip
    ax.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1), xlabel="left pixel", ylabel="right pixel")
    ax.set_aspect("equal")
