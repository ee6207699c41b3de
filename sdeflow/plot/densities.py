"""Draw densities on grids, in units of p, and how they change with time."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage
from matplotlib.patches import StepPatch
from torch import Tensor

from sdeflow._validation import check_kind, check_positive
from sdeflow.density import Density
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.plot.panels import Where, Window, as_window, frame, peak, window, window_label
from sdeflow.plot.style import BLUE, Colour, check_axes, check_colour

COLOURS = "Blues"
LEVELS = 400  # cells along x in `tube`


def density(
    ax: Axes, p: Density, where: Where | None = None, vmax: float | None = None,
    unit: str = "data unit", colour: Colour = BLUE, decades: float | None = None,
) -> AxesImage | StepPatch:  # fmt: skip
    """Draw the density of each cell: a colour map in two dimensions, steps in one.

        p_i = m_i / volume of the cell        (1 / unit^d)

    Args:
        ax: the axes.
        p: the density, with cell masses m_i.
        where: the window shown, by default the one that holds 99.8 % of the mass on each axis.
        vmax: the value of p at the end of the colours or of the axis, by default its `peak`.
        unit: the unit of length; `colour_bar(ax, artist)` writes the unit of p.
        colour: the colour of the steps.
        decades: the powers of ten below vmax that the colours span; by default colours are
            linear in p.

    Raises:
        TypeError, ValueError: p is not a `Density`, or the window has another dimension.
    """
    check_axes(ax)
    check_kind(p, Density, "p", "evolve and on_grid give one")
    check_kind(unit, str, "unit")
    top = peak(p) if vmax is None else check_positive(vmax, "vmax")
    height = p.mass / p.grid.volume
    if p.grid.dim == 1:
        artist = steps(ax, height, p, f"$p$ (1 / {unit})", where, check_colour(colour))
        ax.set_xlabel(f"$x$ ({unit})")
        if vmax is not None:
            ax.set_ylim(0, top)
        return artist
    image = colour_map(ax, height, p, COLOURS, (0.0, top), where, unit)
    image.set_label(f"_$p$ (1 / {unit}$^2$)")
    if decades is not None:
        image.set_norm(LogNorm(top / 10 ** check_positive(decades, "decades"), top))
        ax.set_facecolor(image.get_cmap()(0.0))  # cells whose mass rounds to zero
    return image


def tube(
    ax: Axes, densities: DensityPath, where: Where | None = None, vmax: float | None = None,
    unit: str = "data unit",
) -> QuadMesh:  # fmt: skip
    """Draw the density p(x, t) of one coordinate as colours over time and x.

    Each density fills the time up to the middle between its time and the next.

    Raises:
        TypeError, ValueError: densities are not a one-dimensional `DensityPath` of two times or
            more.
    """
    check_axes(ax)
    check_kind(densities, DensityPath, "densities", "evolve gives one")
    row = densities.densities
    if row[0].grid.dim != 1 or len(row) < 2:
        raise ValueError(
            "a tube shows one coordinate at two times or more; use plot.density for one time, "
            "plot.strip for two coordinates"
        )
    shown = window(*row) if where is None else as_window(where, "where", 1)
    edges = torch.linspace(shown.low[0], shown.high[0], LEVELS + 1, dtype=torch.float64)
    at = ((edges[1:] + edges[:-1]) / 2)[:, None]
    p = torch.stack([each.log_prob(at).exp() for each in row], 1)
    t = np.asarray(densities.t.cpu(), dtype=float)
    between = np.r_[t[0], (t[1:] + t[:-1]) / 2, t[-1]]
    top = peak(*row) if vmax is None else check_positive(vmax, "vmax")
    mesh = ax.pcolormesh(
        between, edges.numpy(), p.numpy(), cmap=COLOURS, vmin=0.0, vmax=top, rasterized=True
    )
    mesh.set_label(f"_$p$ (1 / {unit})")
    ax.set(xlabel="$t$", ylabel=f"$x$ ({unit})")
    return mesh


def steps(
    ax: Axes, values: Tensor, p: Density, name: str, where: Where | None, colour: Colour
) -> StepPatch:
    """Draw values of the cells of p, in one dimension, as steps."""
    shown = window(p) if where is None else as_window(where, "where", 1)
    ax.set(xlim=(shown.low[0], shown.high[0]), ylabel=name)
    return ax.stairs(values.numpy(), p.grid.edges(0).numpy(), color=colour)


def colour_map(
    ax: Axes, values: Tensor, p: Density, colours: str, limits: tuple[float, float],
    where: Where | None, unit: str,
) -> AxesImage:  # fmt: skip
    """Draw values of the cells of p as colours, and write the size of the window below."""
    shown: Window = window(p) if where is None else as_window(where, "where")
    g = p.grid
    image = ax.imshow(
        values.T.numpy(), origin="lower", extent=(g.low[0], g.high[0], g.low[1], g.high[1]),
        cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest",
    )  # fmt: skip
    frame(ax, shown)
    ax.set_xlabel(window_label(shown, unit, ax))
    return image
