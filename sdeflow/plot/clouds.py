"""Draw clouds of particles."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import is_color_like
from torch import Tensor

from sdeflow._validation import check_numbers, check_plane, check_positive
from sdeflow.plot.style import BLUE, check_axes
from sdeflow.solvers.path import Path


def cloud(
    ax: Axes, x: Tensor | np.ndarray | Path, colour: str | Tensor | np.ndarray = BLUE,
    size: float = 1.5, label: str | None = None,
) -> PathCollection:  # fmt: skip
    """Particles x (n, 2) as dots, equal scales on both axes; one colour or a number (n,) each.

    Raises:
        TypeError, ValueError: x is not a finite cloud in the plane, or colour no (n,).
    """
    check_axes(ax)
    a = check_plane(x.x[-1] if isinstance(x, Path) else x).cpu().numpy()
    numbers = None
    if not (isinstance(colour, str | tuple) and is_color_like(colour)):
        numbers = check_numbers(colour, "colour, if it is no colour,", (len(a),)).numpy()
    dots = ax.scatter(
        a[:, 0], a[:, 1], s=check_positive(size, "size"), linewidths=0, alpha=0.7,
        c=colour if numbers is None else numbers, cmap=None if numbers is None else "viridis",
        label=label, rasterized=True,
    )  # fmt: skip
    ax.set_aspect("equal")
    return dots
