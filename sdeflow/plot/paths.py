"""Draw the paths of particles in one colour, or coloured by time with their ends marked."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from torch import Tensor

from sdeflow._validation import check_kind, check_labels, check_numbers, shown
from sdeflow.plot.style import BLACK, GREY, Colour, check_axes, check_colour
from sdeflow.solvers.path import Path

States = Path | Tensor | np.ndarray
"""A path, or its states (T, n, d) alone, whose times are then 0, 1, ..."""


def trails(
    ax: Axes, path: States, particles: Sequence[int], colour: Colour = GREY,
    label: str | None = None,
) -> list[Line2D]:  # fmt: skip
    """Draw the paths of some particles as thin lines: in the plane, or x(t) in one dimension.

    Args:
        ax: the axes.
        path: a path, or states (T, n, d), of one or two coordinates.
        particles: the indices of the particles.
        colour: the colour of all lines.
        label: name in the legend.
    """
    check_axes(ax)
    colour = check_colour(colour)
    _, points = _chosen(ax, path, particles)
    lines = [
        ax.plot(*one.T, color=colour, lw=0.5, alpha=0.8, rasterized=True)[0] for one in points
    ]
    if label is not None:
        lines[0].set_label(check_kind(label, str, "label"))
    return lines


def trajectories(
    ax: Axes, path: States, particles: Sequence[int], colours: str = "viridis", ends: bool = True
) -> LineCollection:
    """Draw the paths of some particles, coloured by time t; `colour_bar(ax, artist)` shows t.

    Args:
        ax: the axes.
        path: a path, or states (T, n, d), of one or two coordinates and two times or more.
        particles: the indices of the particles.
        colours: a colour map of matplotlib.
        ends: whether to mark starts by open dots and ends by full ones.
    """
    check_axes(ax)
    t, points = _chosen(ax, path, particles)
    if len(t) < 2:
        raise ValueError("path holds one state; solve with save=100 to keep the states on the way")
    pieces = np.stack([points[:, :-1], points[:, 1:]], 2)
    middles = np.broadcast_to((t[1:] + t[:-1]) / 2, pieces.shape[:2])
    lines = LineCollection(
        list(pieces.reshape(-1, 2, 2)),
        cmap=_colours(colours),
        lw=0.7,
        rasterized=True,
        label="_$t$",
    )
    lines.set_array(middles.reshape(-1))
    lines.set_clim(float(t.min()), float(t.max()))
    ax.add_collection(lines)
    ax.autoscale_view()
    if ends:
        for k, face, label in ((0, "white", "start"), (-1, BLACK, "end")):
            (dots,) = ax.plot(*points[:, k].T, "o", ms=2.5, mec=BLACK, mew=0.5, label=label)
            dots.set_markerfacecolor(face)
    return lines


def _colours(name: object) -> str:
    if not isinstance(name, str) or name not in mpl.colormaps:
        raise ValueError(f"colours must be a colour map of matplotlib, got {shown(name)}")
    return name


def _chosen(ax: Axes, path: object, particles: object) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and points (k, T, 2) of the chosen particles; label the axes if x is a line."""
    if isinstance(path, Path):
        t, x = path.t.detach().cpu().numpy(), path.x
    elif isinstance(path, Tensor | np.ndarray) and path.ndim == 3 and len(path):
        t, x = np.arange(len(path)), check_numbers(path, "path")
    else:
        raise TypeError(f"path must be a Path or states (T, n, d), got {shown(path)}")
    n, d = x.shape[1:]
    if d > 2:
        raise ValueError(f"path has {d} coordinates, but one or two are drawn; choose two of them")
    chosen = check_labels(particles, "particles", n - 1).reshape(-1)
    found = x[:, chosen].detach().double().cpu().numpy().swapaxes(0, 1)
    if d == 2:
        return t, found
    ax.set(xlabel="$t$", ylabel="$x$ (data unit)")
    return t, np.stack([np.broadcast_to(t, found.shape[:2]), found[:, :, 0]], 2)
