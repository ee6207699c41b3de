"""Draw densities on grids."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import StepPatch
from torch import Tensor

from sdeflow._validation import check_kind
from sdeflow.density import Density, Grid
from sdeflow.plot.style import BLUE, check_axes

SHOWN = 0.998  # of the mass is inside the window of a density


def density(ax: Axes, p: Density) -> AxesImage | StepPatch:
    """The density p = mass / volume of each cell (1 / length^d), where 99.8 % of the mass is.

    In two dimensions as a map, whose colours scale with the peak; in one as steps.

    Raises:
        TypeError: p is no `Density`.
    """
    check_axes(ax)
    check_kind(p, Density, "p", "evolve and on_grid")
    height = p.mass / p.grid.volume
    if p.grid.dim == 1:
        return steps(ax, height, p, "p (1 / data unit)")
    return windowed(ax, colour_map(ax, height, p.grid, "Blues", 0.0, None), p)


def steps(ax: Axes, values: Tensor, p: Density, name: str) -> StepPatch:
    """The values of the cells of p, in one dimension, as steps."""
    ax.set(xlim=held(p, 0), ylabel=name)
    return ax.stairs(values.numpy(), p.grid.edges(0).numpy(), color=BLUE)


def colour_map(
    ax: Axes, values: Tensor, grid: Grid, colours: str, low: float, high: float | None
) -> AxesImage:
    """The values of the cells of a grid as colours."""
    ends = (grid.low[0], grid.high[0], grid.low[1], grid.high[1])
    image = ax.imshow(
        values.T.numpy(), origin="lower", extent=ends, cmap=colours, vmin=low, vmax=high,
        interpolation="nearest",
    )  # fmt: skip
    ax.set(xticks=[], yticks=[])
    return image


def held(p: Density, axis: int) -> tuple[float, float]:
    """The interval of one axis that holds the mass shown."""
    share = p.marginal(axis).mass.cumsum(0) / p.total()
    edges = p.grid.edges(axis)
    tail = (1 - SHOWN) / 4
    low, high = (int(torch.searchsorted(share, q)) for q in (tail, 1 - tail))
    return float(edges[low]), float(edges[min(high + 1, len(edges) - 1)])


def windowed(ax: Axes, image: AxesImage, p: Density) -> AxesImage:
    """The image, in the square window that holds the mass of p."""
    ends = [held(p, i) for i in range(2)]
    half = max(b - a for a, b in ends) / 2
    (a, b), (c, d) = ends
    ax.set_xlim((a + b) / 2 - half, (a + b) / 2 + half)
    ax.set_ylim((c + d) / 2 - half, (c + d) / 2 + half)
    ax.set_xlabel(f"window $\\pm${half:.2g} data units")
    return image
