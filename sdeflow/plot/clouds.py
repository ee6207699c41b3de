"""Draw clouds of particles: dots in two dimensions, a histogram in one."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import is_color_like
from matplotlib.patches import StepPatch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_numbers, check_positive, shown
from sdeflow.plot.style import BLUE, Colour, check_axes, check_colour
from sdeflow.solvers.path import Path

MOST_BINS = 400


def coordinates(x: object, name: str = "x") -> np.ndarray:
    """A cloud (n, 1) or (n, 2), or the last state of a path, as an array."""
    x = x.x[-1] if isinstance(x, Path) else x
    if not isinstance(x, Tensor):
        try:
            x = torch.as_tensor(np.asarray(x, dtype=np.float64))
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(
                f"{name} must be a cloud (n, d), in a tensor, an array or a Path, got {shown(x)}"
            ) from None
    found = check_cloud(x, name)
    if found.shape[1] > 2:
        raise ValueError(
            f"{name} has {found.shape[1]} coordinates, but a cloud is drawn in one or two; choose "
            f"two: {name}[:, [0, 1]]"
        )
    return found.detach().double().cpu().numpy()


def cloud(
    ax: Axes, x: Tensor | np.ndarray | Path, colour: Colour | Tensor | np.ndarray = BLUE,
    size: float = 1.5, label: str | None = None, bins: int | None = None,
) -> PathCollection | StepPatch:  # fmt: skip
    """Draw particles (n, 2) as dots, with equal scales; (n, 1) as a histogram of their density.

        p_i = (particles in bin i) / (n * width of the bin)      (1 / data unit)

    Args:
        ax: the axes.
        x: the cloud, or a path, whose last state is drawn.
        colour: one colour, or in two dimensions a number (n,) for each particle.
        size: area of a dot, in points squared.
        label: name in the legend.
        bins: number of bins, by default the larger of Rice's 2 n^(1/3) and the number of
            Freedman and Diaconis, from the quartiles; at most 400.

    Raises:
        TypeError, ValueError: x is not a finite cloud of one or two coordinates, or colour is
            neither a colour nor (n,) numbers.
    """
    check_axes(ax)
    a, size = coordinates(x), check_positive(size, "size")
    if bins is not None and check_int(bins, "bins") > MOST_BINS:
        raise ValueError(f"bins must be at most {MOST_BINS}, got {bins}")
    if a.shape[1] == 1:
        return _histogram(ax, a[:, 0], check_colour(colour), label, bins)
    one = isinstance(colour, str | tuple) and is_color_like(colour)
    numbers = None
    if not one:
        numbers = check_numbers(colour, "colour, if it is no colour,", (len(a),)).numpy()
    dots = ax.scatter(
        a[:, 0], a[:, 1], s=size, linewidths=0, alpha=0.7, label=label, rasterized=True,
        c=colour if one else numbers, cmap=None if one else "viridis",
    )  # fmt: skip
    ax.set_aspect("equal")
    return dots


def _histogram(
    ax: Axes, x: np.ndarray, colour: Colour, label: str | None, bins: int | None
) -> StepPatch:
    """Draw the histogram of x (n,), in units of p."""
    if bins is None:
        low, high = np.quantile(x, (0.25, 0.75))
        root = len(x) ** (1 / 3)
        narrow = np.ptp(x) * root / (2 * (high - low)) if high > low else 0.0
        bins = int(min(max(2 * root, narrow, 4.0), MOST_BINS))
    counts, edges = np.histogram(x, bins)
    ax.set(xlabel="$x$ (data unit)", ylabel="$p$ (1 / data unit)")
    height = counts / (len(x) * np.diff(edges))
    return ax.stairs(height, edges, color=colour, fill=True, alpha=0.35, label=label)
