"""Draw a score, a drift, a velocity or a probability current as arrows or streamlines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.quiver import Quiver
from matplotlib.streamplot import StreamplotSet
from torch import Tensor

from sdeflow._validation import (
    check_between,
    check_finite,
    check_int,
    check_kind,
    check_numbers,
    check_positive,
    shown,
)
from sdeflow.fields.field import Field
from sdeflow.grid import Grid
from sdeflow.plot.panels import Where, Window, as_window
from sdeflow.plot.style import GREY, Colour, check_axes, check_colour
from sdeflow.sdes.sde import SDE

Flow = Field | SDE | Callable[[Tensor, Tensor], Tensor] | Tensor | np.ndarray
"""A field (its score is drawn), an SDE (its drift, in the direction of the run: towards data for a
reverse SDE), a function (x (n, 2), t ()) -> (n, 2), or vectors (n, m, 2) at the centres of the
cells of a grid, such as those of `probability_current`."""

LENGTH = 0.8  # length of the longest arrow over the distance of neighbours


def arrows(
    ax: Axes, flow: Flow, t: float | None, where: Where | None = None, nodes: int = 13,
    colour: Colour = GREY, proportional: bool = False,
) -> Quiver:  # fmt: skip
    """Draw a vector field at time t as arrows at nodes x nodes points of a window.

    Args:
        ax: the axes.
        flow: a `Flow`; vectors on a grid are averaged over blocks of cells.
        t: the time; None for vectors on a grid.
        where: the window, by default the limits of the axes; for vectors on a grid, the grid.
        nodes: arrows along each axis.
        colour: the colour of the arrows.
        proportional: whether the length of an arrow is proportional to that of the vector;
            otherwise all arrows have one length and show the direction alone.

    Raises:
        TypeError, ValueError: flow is not a `Flow` in two dimensions, or t is outside its times.
    """
    check_axes(ax)
    colour, nodes = check_colour(colour), check_int(nodes, "nodes", 2)
    axes, vectors = sampled(flow, t, _place(ax, flow, where), nodes)
    longest = np.linalg.norm(vectors, axis=-1).max()
    drawn = vectors / (longest or 1.0) if proportional else directions(vectors)
    x, y = np.meshgrid(*axes, indexing="ij")
    gap = min(axes[0][1] - axes[0][0], axes[1][1] - axes[1][0])
    return ax.quiver(
        x, y, drawn[..., 0], drawn[..., 1], color=colour, pivot="mid", zorder=0.5,
        angles="xy", scale_units="xy", scale=1 / (LENGTH * gap), width=0.006, headwidth=4,
    )  # fmt: skip


def directions(vectors: np.ndarray) -> np.ndarray:
    """The unit vectors along vectors (..., 2)."""
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # A vector smaller than the rounding error of the largest has no direction.
    return np.where(size > 1e-12 * size.max(), vectors / np.where(size > 0, size, 1.0), 0.0)


def streamlines(
    ax: Axes, flow: Flow, t: float | None, where: Where | None = None, nodes: int = 48,
    closeness: float = 1.0, colour: Colour = GREY,
) -> StreamplotSet:  # fmt: skip
    """Draw the streamlines of a vector field at time t, which are parallel to it at every point.

    Args:
        ax: the axes.
        flow: a `Flow`.
        t: the time; None for vectors on a grid.
        where: the window, by default the limits of the axes; for vectors on a grid, the grid.
        nodes: points along each axis at which the field is evaluated.
        closeness: how close the lines are; 2 draws about twice as many.
        colour: the colour of the lines.

    Raises:
        TypeError, ValueError: flow is not a `Flow` in two dimensions or is zero everywhere, or t
            is outside its times.
    """
    check_axes(ax)
    colour, nodes = check_colour(colour), check_int(nodes, "nodes", 4)
    closeness = check_positive(closeness, "closeness")
    axes, vectors = sampled(flow, t, _place(ax, flow, where), nodes)
    if not vectors.any():
        raise ValueError("the flow is zero everywhere and has no streamlines; draw another one")
    u, v = vectors[..., 0].T, vectors[..., 1].T
    x, y = axes
    return ax.streamplot(
        x, y, u, v, density=closeness, color=colour, linewidth=0.5, arrowsize=0.5, zorder=0.5
    )


def _place(ax: Axes, flow: object, where: Where | None) -> Where:
    """The window of a flow: the limits of the axes, if none is given."""
    if where is not None:
        return where
    if isinstance(flow, Tensor | np.ndarray):
        raise TypeError("where must be the grid at whose cell centres these vectors are")
    (a, b), (c, d) = ax.get_xlim(), ax.get_ylim()
    return Window((a, c), (b, d))


def sampled(
    flow: object, t: float | None, where: Where, nodes: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """The points along both axes, and the vectors at them, (n, m, 2)."""
    if isinstance(flow, Tensor | np.ndarray):
        return _blocks(flow, where, nodes)
    function = _function(flow, t)
    box = as_window(where, "where")
    rows = []
    for a, b in zip(box.low, box.high, strict=True):
        rows.append(a + (b - a) * (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes)
    try:
        with torch.no_grad():
            found = function(torch.cartesian_prod(*rows).to(torch.get_default_dtype()))
    except RuntimeError as error:  # of torch, where shapes do not fit
        text = " ".join(str(error).split())
        raise ValueError(f"flow must take points (n, 2), but it failed: {text:.120}") from error
    if not isinstance(found, Tensor | np.ndarray) or found.shape != (nodes**2, 2):
        raise ValueError(
            f"flow must give vectors {(nodes**2, 2)} for points {(nodes**2, 2)}, got "
            f"{shown(found)}"
        )
    vectors = check_numbers(found, "flow").reshape(nodes, nodes, 2)
    return [row.numpy() for row in rows], vectors.numpy()


def _function(flow: object, t: float | None) -> Callable[[Tensor], Tensor]:
    """The function x -> vectors at time t."""
    if isinstance(flow, type) or not (isinstance(flow, Field | SDE) or callable(flow)):
        raise TypeError(
            "flow must be a Field (its score), an SDE (its drift), a function of (x, t), or "
            f"vectors on a grid in a tensor or an array, got {shown(flow)}"
        )
    if t is None:
        raise TypeError("t must be a number; only vectors on a grid have no time")
    time = check_finite(t, "t")
    if isinstance(flow, Field):
        if flow.dim not in (None, 2):
            raise ValueError(f"flow must have dimension 2, but the field has dimension {flow.dim}")
        return lambda x: flow.score(x, time)
    at = torch.tensor(time, dtype=torch.float64)
    if isinstance(flow, SDE):
        check_between(time, "t", *sorted((flow.t_start, flow.t_end)))
        return lambda x: flow.direction * flow.drift(x, at)
    return lambda x: flow(x, at)


def _blocks(
    values: Tensor | np.ndarray, where: object, nodes: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Average vectors at cell centres over blocks of cells, so that about `nodes` remain."""
    grid = check_kind(where, Grid, "where", "the grid of the density")
    found = check_numbers(values, "flow", (*grid.shape, 2)).numpy()
    if grid.dim != 2:
        raise ValueError("flow must be on a grid of two dimensions, but the grid has one axis")
    axes = []
    for i, cells in enumerate(grid.shape):
        block = max(1, round(cells / nodes))
        whole = cells // block * block
        start = (cells - whole) // 2
        part = np.take(found, range(start, start + whole), axis=i)
        shape = (*part.shape[:i], whole // block, block, *part.shape[i + 1 :])
        found = part.reshape(shape).mean(i + 1)
        middles = grid.middles(i).numpy()[start : start + whole]
        axes.append(middles.reshape(-1, block).mean(1))
    return axes, found
