"""Make a figure in the style of the package, and write it with its provenance."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure as Figure

from sdeflow._validation import check_file, check_kind, check_positive, shown
from sdeflow.provenance import picture_metadata, provenance, write_bytes

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#999999"
Colour = str | tuple[float, ...]
STYLE: dict[str, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.2,
    "savefig.dpi": 300,
    "pdf.fonttype": 42, "ps.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "none", "svg.hashsalt": "sdeflow",  # text stays text
}  # fmt: skip


def check_colour(value: object, name: str = "colour") -> Colour:
    """Return `value` if it is one colour of matplotlib's.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, str | tuple) or not is_color_like(value):
        raise TypeError(f"{name} must be a colour, such as 'red' or '#0072B2', got {shown(value)}")
    return value


def check_axes(ax: object) -> Axes:
    """Return `ax` if it is the axes of a figure.

    Raises:
        TypeError: it is not.
    """
    return check_kind(ax, Axes, "ax", "fig.subplots() makes them")


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


def frame(ax: Axes, half: float, title: str | None = None) -> Axes:
    """A square window [-half, half]^2 without ticks, for snapshots that share a scale."""
    check_axes(ax)
    half = check_positive(half, "half")
    ax.set(xlim=(-half, half), ylim=(-half, half), xticks=[], yticks=[], aspect="equal")
    if title is not None:
        ax.set_title(title)
    ax.spines[["top", "right"]].set_visible(True)
    return ax
