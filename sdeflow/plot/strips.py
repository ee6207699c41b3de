"""Draw whole panels in one line: a row of things, paths over a density, a verdict."""

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
from sdeflow.diagnostics.verdict import Verdict, format_p_value
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.plot.clouds import cloud, coordinates
from sdeflow.plot.densities import density, tube
from sdeflow.plot.panels import Where, as_window, colour_bar, frame, peak, window, window_label
from sdeflow.plot.paths import trails, trajectories
from sdeflow.plot.style import BLUE, VERMILION, check_axes
from sdeflow.plot.verdicts import residual
from sdeflow.solvers.path import Path

Shown = Density | Tensor | np.ndarray | Path
"""What one panel shows: a density, a cloud (n, 2), or the last cloud of a path."""
FEW = 30  # paths that a panel shows, if it is not said which


def strip(
    fig: FigureBase, things: DensityPath | Mapping[str, Shown] | Sequence[Shown],
    below: Density | None = None, where: Where | None = None, vmax: float | None = None,
    decades: float | None = None, size: float = 1.0, unit: str = "data unit",
) -> list[Axes]:  # fmt: skip
    """A row of panels of the plane that share one window and one scale of p; their axes.

    Args:
        fig: an empty figure, or one of its subfigures.
        things: densities and clouds by title; without titles in a list; or a `DensityPath`, whose
            titles are its times.
        below: a density that is drawn under every cloud.
        where: what all panels show, by default the window of everything that is drawn.
        vmax: p at the end of the colours, by default the largest of all densities.
        decades: powers of ten over which the colours then run, by default they are linear.
        size: of a dot, in points squared.
        unit: of length.

    Raises:
        TypeError, ValueError: nothing to show, or things that are not of the plane.
    """
    check_kind(fig, FigureBase, "fig", "plot.figure")
    row = _titled(things)
    drawn = [each for _, each in row] + ([] if below is None else [below])
    maps = [check_kind(p, Density, "below") for p in drawn if p is below or _is_density(p)]
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
    """What the panels show, with their titles.

    Raises:
        TypeError, ValueError: it is nothing, or no things of the plane.
    """
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
                f"a strip shows the plane, got {dim} coordinate; use tube, or a panel for each"
            )
    return row


def _is_density(thing: object) -> bool:
    return isinstance(thing, Density)


def paths(
    ax: Axes, path: Path, below: DensityPath | Density | None = None, where: Where | None = None,
    particles: Sequence[int] | None = None, unit: str = "data unit",
) -> ScalarMappable | None:  # fmt: skip
    """The paths of a few particles over a density, in a window, with the bar of the colours.

    On a line x(t), over p(x, t) if `below` is a `DensityPath`; in the plane coloured by time, over
    one density if it is given.

    Args:
        ax: the axes.
        path: in one or two dimensions.
        below: the density.
        where: what to show, by default the window of the path and the density.
        particles: which, by default the first 30.
        unit: of length.

    Returns:
        What the colours of the bar stand for; None on a line without a density.

    Raises:
        TypeError, ValueError: path is no `Path`, or the density is not of its kind.
    """
    check_axes(ax)
    n, d = check_kind(path, Path, "path", "solve").x.shape[1:]
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
    """A cloud of the plane, the density that it should have, and (count - expected) / sd.

    Below the residual stands the p-value of `check_density` after Holm, "p > 0.5" above a half.

    Args:
        fig: an empty figure, or one of its subfigures, for three panels of one window.
        x: the cloud (n, 2), or a path, whose last cloud is meant.
        p: the density.
        where: what all panels show, by default the window of p.
        limit: the residual (sd) at which the colours end.
        unit: of length.

    Returns:
        The verdict of `check_density`.

    Raises:
        TypeError, ValueError: as `check_density`; not of the plane.
    """
    check_kind(fig, FigureBase, "fig", "plot.figure")
    check_kind(p, Density, "p", "evolve and on_grid")
    limit = check_positive(limit, "limit")
    if p.grid.dim != 2:
        raise ValueError(f"p must be of the plane, got {p.grid.dim} dimension(s)")
    box = window(p) if where is None else as_window(where, "where")
    end = x.x[-1] if isinstance(x, Path) else x
    found = check_density(end, p)
    left, middle, right = fig.subplots(1, 3)
    cloud(left, end, size=0.5)
    frame(left, box, f"{len(end):,} particles").set_xlabel(window_label(box, unit, left))
    colour_bar(middle, density(middle, p, box, unit=unit))  # type: ignore[arg-type]
    middle.set(title="density", xlabel="")
    colour_bar(right, residual(right, found, p, limit, box, unit))  # type: ignore[arg-type]
    right.set(title="residual", xlabel=f"{format_p_value(found.p_value)}\nafter Holm")
    return found
