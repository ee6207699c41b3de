"""Draw clouds, paths, densities, distances and errors; the only import of matplotlib.

    with plot.figure(3.4, 2.6) as fig:
        plot.cloud(fig.subplots(), x)
        plot.write(fig, "cloud.png")

Every function (ax, thing) -> artist draws one thing on the axes that it is given, in the units of
the data. Clouds are tensors, arrays or paths, of which the last state is drawn. Colours are those
of Okabe and Ito (2008), which colour-blind readers can tell apart; sizes are for print at column
width. Figures are made with `figure`, not with pyplot, so no global state changes.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import is_color_like
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure as Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.quiver import Quiver
from torch import Tensor

from sdeflow._validation import (
    check_file,
    check_int,
    check_kind,
    check_labels,
    check_numbers,
    check_plane,
    check_positive,
)
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.error_budget import ErrorBudget
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.fields.field import Field
from sdeflow.provenance import picture_metadata, provenance, write_bytes
from sdeflow.solvers.path import Path
from sdeflow.training.loss import LossReport

__all__ = [
    "figure", "write", "cloud", "trails", "arrows", "frame", "loss_levels", "distances", "density",
    "residual", "error_budget", "STYLE", "BLACK", "ORANGE", "SKY", "GREEN", "YELLOW", "BLUE",
    "VERMILION", "PURPLE", "GREY", "Figure",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#999999"
STYLE: dict[str, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.2,
    "savefig.dpi": 300,
    "pdf.fonttype": 42, "ps.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "none", "svg.hashsalt": "sdeflow",  # text stays text
}  # fmt: skip


@contextmanager
def figure(width: float = 7.0, height: float = 4.0) -> Iterator[Figure]:
    """An empty figure of this size in inches (one column: 3.4, two: 7.0).

    The style holds inside `with`: draw and save there.

    Raises:
        TypeError, ValueError: width or height is not positive.
    """
    width, height = check_positive(width, "width"), check_positive(height, "height")
    with mpl.rc_context(cast(Any, STYLE)):
        yield Figure(figsize=(width, height), layout="constrained")


def write(
    fig: Figure, path: str | pathlib.Path, about: Mapping[str, object] | None = None
) -> pathlib.Path:
    """Save a figure, all or nothing, with `about` (command, commit, seed, ...) in its metadata.

    Args:
        fig: the figure.
        path: ends in .png, .pdf, .svg or .eps.
        about: by default `provenance()`.

    Raises:
        ValueError: another suffix, or none.
        OSError: it cannot be written; what was there is left.
    """
    check_kind(fig, Figure, "fig", "plot.figure")
    path = check_file(path)
    metadata = picture_metadata(path, provenance() if about is None else about)
    buffer = io.BytesIO()
    with mpl.rc_context(cast(Any, STYLE)):  # also for a figure that was made elsewhere
        fig.savefig(buffer, format=path.suffix[1:].lower(), metadata=metadata)
    write_bytes(path, buffer.getvalue())
    return path


def cloud(
    ax: Axes, x: Tensor | np.ndarray | Path, colour: str | Tensor | np.ndarray = BLUE,
    size: float = 1.5, label: str | None = None,
) -> PathCollection:  # fmt: skip
    """Particles x (n, 2) as dots, equal scales on both axes; one colour or a number (n,) each.

    Raises:
        TypeError, ValueError: x is not a finite cloud in the plane, or colour no (n,).
    """
    check_kind(ax, Axes, "ax", "fig.subplots")
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


def trails(ax: Axes, path: Path, particles: Sequence[int], colour: str = GREY) -> list[Line2D]:
    """The paths of a few particles, one thin line each: in the plane, or x(t) in one dimension.

    Raises:
        TypeError, ValueError: path is no `Path`, or has more than two coordinates.
    """
    check_kind(path, Path, "path", "solvers")
    n, d = path.x.shape[1:]
    if d > 2:
        raise ValueError(f"path has {d} coordinates, trails show two; choose them")
    chosen = check_labels(particles, "particles", n - 1).reshape(-1)
    x = path.x[:, chosen].detach().cpu().numpy()
    across = x[:, :, 0] if d == 2 else path.t.cpu().numpy()
    return ax.plot(across, x[:, :, -1], color=colour, lw=0.5, alpha=0.8, rasterized=True)


def arrows(
    ax: Axes, field: Field, t: float, half: float, nodes: int = 13, colour: str = GREY
) -> Quiver:
    """Directions of the score on the square [-half, half]^2 at time t, all of one length.

    Raises:
        ValueError: the field is not one of the plane.
    """
    check_kind(field, Field, "field", "ExactField")
    if field.dim not in (None, 2):
        raise ValueError(f"arrows stand in a plane, the field has dimension {field.dim}")
    half, nodes = check_positive(half, "half"), check_int(nodes, "nodes", 2)
    grid = torch.cartesian_prod(*[torch.linspace(-half, half, nodes)] * 2)
    with torch.no_grad():
        toward = torch.nn.functional.normalize(-field.noise(grid, t), dim=1).cpu().numpy()
    return ax.quiver(
        *grid.T.numpy(), *toward.T, color=colour, scale=1.4 * nodes,
        width=0.006, headwidth=4, pivot="mid", zorder=0,
    )  # fmt: skip


def frame(ax: Axes, half: float, title: str | None = None) -> Axes:
    """A square window [-half, half]^2 without ticks, for snapshots that share a scale."""
    check_kind(ax, Axes, "ax", "fig.subplots() makes them")
    half = check_positive(half, "half")
    ax.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[], aspect="equal")
    if title is not None:
        ax.set_title(title)
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def loss_levels(ax: Axes, report: LossReport, noise_level: Tensor) -> list[Line2D]:
    """Irreducible part and excess of the noise loss at each noise level (L,), both axes log."""
    check_kind(report, LossReport, "report", "loss_decomposition")
    at = check_numbers(noise_level, "noise_level", report.excess.shape).numpy()
    lines = ax.plot(at, report.irreducible.numpy(), color=GREY, label="irreducible: exact field")
    lines += ax.plot(at, report.loss.numpy(), color=BLUE, label="loss: learned field")
    lines += ax.plot(at, report.excess.numpy(), color=VERMILION, label="excess: the difference")
    ax.set(xscale="log", yscale="log", xlabel=r"noise level $\sigma/\alpha$ (data std)")
    ax.set_ylabel(r"$E|\hat\epsilon-\epsilon|^2$ per coordinate")
    # Room for the legend below the curves, where small noise leaves the axes empty.
    ax.set_ylim(bottom=max(1e-9, float(report.excess.min()) / 300))
    ax.legend(loc="lower left")
    return lines


def distances(
    ax: Axes, names: Sequence[str], values: Sequence[float], sampling_floor: tuple[float, float],
    unit: str, colours: Sequence[str] | None = None,
) -> BarContainer:  # fmt: skip
    """Distances as bars, and the sampling floor of two samples of the data, mean +- 2 sd, as a
    band.
    """
    check_kind(ax, Axes, "ax", "fig.subplots() makes them")
    check_kind(names, Sequence, "names", "a list")
    check_kind([] if colours is None else colours, Sequence, "colours", "a list of names")
    places = np.arange(len(names))
    values = check_numbers(values, "values", (len(names),)).tolist()
    mean, sd = check_numbers(sampling_floor, "sampling_floor", (2,)).tolist()
    band: dict[str, Any] = {"color": GREY, "alpha": 0.35, "lw": 0, "zorder": 0}
    ax.axvspan(max(mean - 2 * sd, 0.0), mean + 2 * sd, label="two samples of the data", **band)
    bars = ax.barh(places, values, height=0.6, color=list(colours) if colours else BLUE, zorder=2)
    ax.set(yticks=places, yticklabels=list(names), xlabel=unit)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), handlelength=1.0, borderaxespad=0.0)
    return bars


SHOWN = 0.998  # of the mass is inside the window of a density


def density(ax: Axes, p: Density) -> AxesImage | StepPatch:
    """The density p = mass / volume of each cell (1 / length^d), where 99.8 % of the mass is.

    In two dimensions as a map, whose colours scale with the peak; in one as steps.

    Raises:
        TypeError: p is no `Density`.
    """
    check_kind(ax, Axes, "ax", "fig.subplots")
    check_kind(p, Density, "p", "evolve and on_grid")
    height = p.mass / p.grid.volume
    if p.grid.dim == 1:
        return _steps(ax, height, p, "p (1 / data unit)")
    return _windowed(ax, _map(ax, height, p.grid, "Blues", 0.0, None), p)


def residual(ax: Axes, verdict: Verdict, p: Density, limit: float = 5.0) -> AxesImage | StepPatch:
    """(count - expected) / sd of each bin, where p has mass: pale bins are chance, deep ones are
    not.

    Raises:
        TypeError, ValueError: verdict is no `Verdict`, p no `Density`, or their grids differ.
    """
    check_kind(p, Density, "p", "evolve and on_grid")
    check_kind(verdict, Verdict, "verdict", "check_density")
    if not verdict.grid.same(p.grid):
        raise ValueError(f"the verdict is on {verdict.grid}, the density on {p.grid}; use one")
    sizes = p.mass.flatten().sort().values
    rare = sizes[torch.searchsorted(sizes.cumsum(0), (1 - SHOWN) * p.total())]
    shown = torch.where(p.mass >= rare, verdict.residual, torch.nan)
    if p.grid.dim == 1:
        return _steps(ax, shown, p, "residual (sd)")
    return _windowed(ax, _map(ax, shown, verdict.grid, "PuOr", -limit, limit), p)


def _steps(ax: Axes, values: Tensor, p: Density, name: str) -> StepPatch:
    ax.set(xlim=_window(p, 0), ylabel=name)
    return ax.stairs(values.numpy(), p.grid.edges(0).numpy(), color=BLUE)


def _map(
    ax: Axes, values: Tensor, grid: Grid, colours: str, low: float, high: float | None
) -> AxesImage:
    ends = (grid.low[0], grid.high[0], grid.low[1], grid.high[1])
    image = ax.imshow(
        values.T.numpy(), origin="lower", extent=ends, cmap=colours, vmin=low, vmax=high,
        interpolation="nearest",
    )  # fmt: skip
    ax.set(xticks=[], yticks=[])
    return image


def _window(p: Density, axis: int) -> tuple[float, float]:
    """The interval of one axis that holds the mass shown."""
    share = p.marginal(axis).mass.cumsum(0) / p.total()
    edges = p.grid.edges(axis)
    tail = (1 - SHOWN) / 4
    low, high = (int(torch.searchsorted(share, q)) for q in (tail, 1 - tail))
    return float(edges[low]), float(edges[min(high + 1, len(edges) - 1)])


def _windowed(ax: Axes, image: AxesImage, p: Density) -> AxesImage:
    ends = [_window(p, i) for i in range(2)]
    half = max(b - a for a, b in ends) / 2
    (a, b), (c, d) = ends
    ax.set_xlim((a + b) / 2 - half, (a + b) / 2 + half)
    ax.set_ylim((c + d) / 2 - half, (c + d) / 2 + half)
    ax.set_xlabel(f"window $\\pm${half:.2g} data units")
    return image


def error_budget(ax: Axes, found: ErrorBudget) -> ErrorbarContainer:
    """Total variation of each source of error with its interval, log scale. The band holds what a
    cloud of this size cannot detect; a value left of the axis is an arrow with a bound beside it.
    """
    check_kind(found, ErrorBudget, "found", "error_budget")
    least = found.detectable / 300
    names = [source.name for source in found.sources]
    at = np.arange(len(names))
    value, low, high = np.array([(s.value, s.low, s.high) for s in found.sources]).T
    ax.axvspan(least, found.detectable, color=GREY, alpha=0.3, lw=0, zorder=0)
    ax.hlines(at, low.clip(least), high.clip(least), color=BLUE, lw=3, alpha=0.35)
    inside = value > least
    points = ax.errorbar(value[inside], at[inside], fmt="o", color=BLUE, ms=4)
    for k in at[~inside]:
        ax.plot(least, k, "<", color=BLUE, ms=4, clip_on=False)
        ax.annotate(f"< {least:.0e}", (least, k), (6, 0), textcoords="offset points", va="center")
    ax.set(xscale="log", yticks=at, yticklabels=names, xlabel="total variation")
    ax.set(xlim=(least, max(1.0, 1.3 * high.max())), ylim=(len(names) - 0.5, -0.5))
    ax.set_title(f"grey: undetected, n = {found.total.n:,}")
    return points
