"""Draw a sheet of small pictures, each with a line of text below it if wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor

from sdeflow._validation import check_finite, check_int, check_numbers, shown
from sdeflow.plot.style import GREY, check_axes
from sdeflow.solvers.path import Path

GAP = 1
"""Pixels between pictures."""
LINE = 0.4
"""Height of a line of text over that of a picture."""
SIZE = 6.0
"""Size of the text (points)."""


def pictures(
    ax: Axes, x: Tensor | np.ndarray | Path, shape: Sequence[int], columns: int | None = None,
    labels: Sequence[str] | None = None, low: float = -1.0, high: float = 1.0,
) -> AxesImage:  # fmt: skip
    """Draw pictures x (n, d) in rows, from left to right and from top to bottom.

    Every pixel is a square. Values below `low` are black, values above `high` white.

    Args:
        ax: the axes, which are switched off.
        x: the pictures, flattened or (n, *shape), or a path, whose last state is drawn.
        shape: (channels, rows, columns) with one channel or three, or (rows, columns); the
            `shape` of a data set or of a field.
        columns: pictures in a row, by default about as many as there are rows.
        labels: n lines of text, one below each picture.
        low, high: the values drawn as black and as white.

    Raises:
        TypeError, ValueError: x does not hold pictures of this shape, or there is not one label
            for each picture.
    """
    check_axes(ax)
    a = _images(x, shape)
    n, height, width = a.shape[:3]
    low, high = check_finite(low, "low"), check_finite(high, "high")
    if not low < high:
        raise ValueError(f"low must lie below high, got {low:g} and {high:g}")
    across = math.ceil(math.sqrt(n)) if columns is None else check_int(columns, "columns")
    across, texts = min(across, n), _texts(labels, n)
    down, right = height + GAP + (math.ceil(LINE * height) if texts else 0), width + GAP
    rows = math.ceil(n / across)
    sheet = np.zeros((rows * down - (0 if texts else GAP), across * right - GAP, 4))
    corners = [(i // across * down, i % across * right) for i in range(n)]
    for i, (top, left) in enumerate(corners):
        pixels = np.clip((a[i] - low) / (high - low), 0.0, 1.0)
        sheet[top : top + height, left : left + width, :3] = pixels
        sheet[top : top + height, left : left + width, 3] = 1.0  # gaps stay transparent
        if texts:
            middle = left + width / 2 - 0.5
            ax.text(middle, top + height, texts[i], size=SIZE, ha="center", va="top")
    edges = [Rectangle((left - 0.5, top - 0.5), width, height) for top, left in corners]
    ax.add_collection(
        PatchCollection(edges, facecolor="none", edgecolor=GREY, linewidth=0.3, clip_on=False)
    )
    ax.set_axis_off()
    return ax.imshow(sheet, interpolation="nearest")


def _images(x: object, shape: object) -> np.ndarray:
    """The pictures as an array (n, rows, columns, 1 or 3)."""
    if not isinstance(shape, tuple | list) or len(shape) not in (2, 3):
        raise TypeError(
            "shape must be (channels, rows, columns), such as data.shape, or (rows, columns), "
            f"got {shown(shape)}"
        )
    sizes = tuple(check_int(size, "each of shape") for size in shape)
    channels, height, width = sizes if len(sizes) == 3 else (1, *sizes)
    if channels not in (1, 3):
        raise ValueError(
            f"pictures have one channel or three, got {channels}; choose one or three"
        )
    found = check_numbers(x.x[-1] if isinstance(x, Path) else x, "x")
    if found.ndim < 2 or not len(found) or found[0].numel() != channels * height * width:
        raise ValueError(
            f"x must be pictures (n, {channels * height * width}) of shape {sizes}, got shape "
            f"{tuple(found.shape)}"
        )
    return found.reshape(-1, channels, height, width).permute(0, 2, 3, 1).numpy()


def _texts(labels: object, n: int) -> list[str]:
    """Check that there is a line of text for each picture, or none."""
    if labels is None:
        return []
    if not isinstance(labels, list | tuple) or not all(isinstance(text, str) for text in labels):
        raise TypeError(f"labels must be a list of {n} texts, got {shown(labels)}")
    if len(labels) != n:
        raise ValueError(f"labels must be {n}, one for each picture, got {len(labels)}")
    return list(labels)
