"""Draw whole panels by one call: a row of densities and clouds, paths over a density, a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage
from torch import Tensor

from sdeflow._validation import check_kind, check_labels, check_positive, shown
from sdeflow.density import Density
from sdeflow.diagnostics.goodness_of_fit import check_density
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.plot.clouds import cloud, coordinates
from sdeflow.plot.densities import density, tube
from sdeflow.plot.panels import Where, as_window, colour_bar, frame, peak, window, window_label
from sdeflow.plot.paths import trails, trajectories
from sdeflow.plot.style import BLUE, VERMILION, check_axes
from sdeflow.plot.verdicts import p_value_label, residual
from sdeflow.solvers.path import Path

Shown = Density | Tensor | np.ndarray | Path
"""What one panel shows: a density, a cloud (n, 2), or the last state of a path."""
FEW = 30  # number of paths drawn by default


def strip(
    fig: FigureBase, things: DensityPath | Mapping[str, Shown] | Sequence[Shown],
    below: Density | None = None, where: Where | None = None, vmax: float | None = None,
    decades: float | None = None, size: float = 1.0, unit: str = "data unit",
) -> list[Axes]:  # fmt: skip
    """Draw densities and clouds in a row of panels of one window and one scale; return the axes.

    Args:
        fig: an empty figure, or one of its subfigures.
        things: title -> density or cloud in two dimensions; a list, for panels without titles; or
            a `DensityPath`, whose times are the titles.
        below: a density to draw under every cloud.
        where: the window of all panels, by default that of everything drawn.
        vmax: the value of p at the end of the colours, by default the largest of all densities.
        decades: the powers of ten below vmax that the colours span; by default colours are
            linear in p.
        size: area of a dot, in points squared.
        unit: the unit of length.

    Raises:
        TypeError, ValueError: there is nothing to show, or a thing is not two-dimensional.
    """
    check_kind(fig, FigureBase, "fig", "plot.figure makes one")
    row = _titled(things)
    drawn = [each for _, each in row] + ([] if below is None else [below])
    maps = [check_kind(p, Density, "below") for p in drawn if p is below or isinstance(p, Density)]
    box = window(*drawn) if where is None else as_window(where, "where")
    top = vmax if vmax is not None or not maps else peak(*maps)
    axes, image = list(fig.subplots(1, len(row), squeeze=False)[0]), None
    for ax, (title, each) in zip(axes, row, strict=True):
        p = each if isinstance(each, Density) else below
        if p is not None:
            image = density(ax, p, box, top, unit, decades=decades)
        if not isinstance(each, Density):
            cloud(ax, each, BLUE if below is None else VERMILION, size)
        frame(ax, box, title).set_xlabel("")
    every = "every panel: " if len(axes) > 1 else ""
    fig.supxlabel(every + window_label(box, unit))
    if isinstance(image, AxesImage):
        colour_bar(axes, image)
    return axes


def _titled(things: object) -> list[tuple[str, Shown]]:
    """Check what the panels show, and give each its title."""
    row: list[tuple[str, Shown]]
    if isinstance(things, DensityPath):
        row = [(f"$t$ = {float(t):.2g}", p) for t, p in zip(things.t, things, strict=True)]
    elif isinstance(things, Mapping):
        row = [(check_kind(k, str, "a title"), v) for k, v in things.items()]
    elif isinstance(things, list | tuple):
        row = [("", each) for each in things]
    else:
        raise TypeError(
            f"things must be a DensityPath, a list, or title -> thing, got {shown(things)}"
        )
    if not row:
        raise ValueError("there is nothing to show; give clouds or densities")
    for _, each in row:
        dim = each.grid.dim if isinstance(each, Density) else coordinates(each).shape[1]
        if dim != 2:
            raise ValueError(
                f"a strip shows two coordinates, got {dim}; use plot.tube, or a panel for each"
            )
    return row


def paths(
    ax: Axes, path: Path, below: DensityPath | Density | None = None, where: Where | None = None,
    particles: Sequence[int] | None = None, unit: str = "data unit",
) -> ScalarMappable | None:  # fmt: skip
    """Draw the paths of some particles over a density, with a colour bar.

    In one dimension the paths are x(t), over p(x, t); in two they are coloured by time.

    Args:
        ax: the axes.
        path: a path in one or two dimensions.
        below: a `DensityPath` in one dimension, a density in two; by default none.
        where: the window, by default that of the path and the density.
        particles: the indices of the particles, by default the first 30.
        unit: the unit of length.

    Returns:
        The artist that the colour bar belongs to; None in one dimension without a density.
    """
    check_axes(ax)
    n, d = check_kind(path, Path, "path", "solve gives one").x.shape[1:]
    few = check_labels(range(min(n, FEW)) if particles is None else particles, "particles", n - 1)
    chosen = few.reshape(-1).tolist()
    if d == 1:
        artist = None
        if below is not None:
            artist = tube(ax, below, where, unit=unit)  # type: ignore[arg-type]
            colour_bar(ax, artist)
        trails(ax, path, chosen, colour=VERMILION)
        ax.set_ylabel(f"$x$ ({unit})")
        return artist
    box = where if where is not None else window(path, *([] if below is None else [below]))
    if below is not None:
        density(ax, below, box, unit=unit)  # type: ignore[arg-type]
    lines = trajectories(ax, path, chosen)
    frame(ax, box, unit=unit)
    colour_bar(ax, lines)
    return lines


def comparison(
    fig: FigureBase, x: Tensor | Path, p: Density, where: Where | None = None,
    limit: float = 5.0, unit: str = "data unit",
) -> Verdict:  # fmt: skip
    """Draw a cloud, the density that it should have, and the residual (count - expected) / sd.

    The p-value of `check_density` after Holm's correction is written below the residual.

    Args:
        fig: an empty figure, or one of its subfigures, for three panels of one window.
        x: the cloud (n, 2), or a path, whose last state is checked.
        p: the density, in two dimensions.
        where: the window of all panels, by default that of p.
        limit: the residual (sd) at which the colours end.
        unit: the unit of length.

    Returns:
        The verdict of `check_density`.
    """
    check_kind(fig, FigureBase, "fig", "plot.figure makes one")
    check_kind(p, Density, "p", "evolve and on_grid give one")
    limit = check_positive(limit, "limit")
    if p.grid.dim != 2:
        raise ValueError(f"p must have two dimensions, got {p.grid.dim}")
    box = window(p) if where is None else as_window(where, "where")
    end = x.x[-1] if isinstance(x, Path) else x
    found = check_density(end, p)
    left, middle, right = fig.subplots(1, 3)
    cloud(left, end, size=0.5)
    frame(left, box, f"{len(end):,} particles").set_xlabel(window_label(box, unit, left))
    colour_bar(middle, density(middle, p, box, unit=unit))  # type: ignore[arg-type]
    middle.set(title="density", xlabel="")
    colour_bar(right, residual(right, found, p, limit, box, unit))  # type: ignore[arg-type]
    right.set(title="residual", xlabel=f"{p_value_label(found.p_value)}\nafter Holm")
    return found
