"""Make a figure in the style of a venue, and write it to a file with its provenance."""

from __future__ import annotations

import io
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import is_color_like
from matplotlib.figure import Figure as Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from sdeflow._validation import check_file, check_int, check_kind, check_positive, shown
from sdeflow.provenance import picture_metadata, provenance, write_bytes

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY = "#999999"
Colour = str | tuple[float, ...]
FILES: dict[str, Any] = {
    "savefig.dpi": 300, "savefig.facecolor": "white",
    "pdf.fonttype": 42, "ps.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "none", "svg.hashsalt": "sdeflow",  # text stays text; ids stay the same
}  # fmt: skip
STYLE: dict[str, Any] = FILES | {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1.2,
    "figure.titlesize": 8, "figure.labelsize": 8,
    "font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans", "text.usetex": False,
}  # fmt: skip
TIMES: dict[str, Any] = {"font.family": "STIXGeneral", "mathtext.fontset": "stix"}
"""The Times-like font of matplotlib; the venues set their text in Times."""
SCRIPTS = re.compile(r"\$[^$]*[_^][^$]*\$")
NARROW = 0.8  # width (inches) of a panel below which its label takes two lines
WITH_SCRIPTS = 8.6
"""Size (points) of a text with sub- or superscripts, which then have 0.7 of it, 6 points."""
VENUES: dict[str, tuple[float, ...]] = {
    "neurips": (5.5,),  # its instructions: text in 5.5 by 9 inches
    "icml": (3.25, 6.75),  # its style file: text 6.75 in, columns 0.25 in apart
    "iclr": (5.5,),  # its instructions: text 5.5 inches (33 picas) wide
    "cvpr": (3.25, 6.875),  # its guidelines: text 6 7/8 in, columns 3 1/4 in
    "jmlr": (6.0,),  # jmlr2e.sty: text 6 in
    "prl": (8.6 / 2.54, 17.8 / 2.54),  # APS: one column 8.6 cm, two 17.8 cm
    "prl2": (17.8 / 2.54,),  # the same, both columns
}
"""Widths (inches) of a venue's text: of one column, of two, ..."""


def check_colour(value: object, name: str = "colour") -> Colour:
    """Return `value` if it is one colour of matplotlib."""
    if not isinstance(value, str | tuple) or not is_color_like(value):
        raise TypeError(f"{name} must be a colour, such as 'red' or '#0072B2', got {shown(value)}")
    return value


def check_axes(ax: object) -> Axes:
    """Return `ax` if it is the axes of a figure."""
    return check_kind(ax, Axes, "ax", "fig.subplots() makes them")


class _Legible(Figure):
    """A figure in which sub- and superscripts have 6 points, whatever the size of their text."""

    def draw(self, renderer: RendererBase) -> None:
        """Enlarge text whose scripts are too small, then lay out and draw."""
        for axes in self.findobj(Axes):
            both = axes.xaxis, axes.yaxis
            labels = [one for axis in both for one in axis.get_ticklabels(which="both")]
            if _raised([*labels, *(axis.get_offset_text() for axis in both)]):
                axes.tick_params(which="both", labelsize=WITH_SCRIPTS)
        for legend in self.findobj(Legend):
            _raised(legend.get_texts())
        for text in self.findobj(Text):
            _raised([text])
        super().draw(renderer)


def _raised(texts: Iterable[Text]) -> bool:
    """Enlarge texts of one size if one of them has scripts that are too small; return whether."""
    row = list(texts)
    sizes = [float(one.get_fontsize()) for one in row]
    found = any(
        SCRIPTS.search(one.get_text()) and size < WITH_SCRIPTS
        for one, size in zip(row, sizes, strict=True)
    )
    for one, size in zip(row, sizes, strict=True):
        one.set_fontsize(max(size, WITH_SCRIPTS) if found else size)
    return found


@contextmanager
def figure(
    width: float | None = None, height: float | None = None, venue: str | None = None,
    columns: int = 1, panels: tuple[int, int] | None = None, aspect: float | None = None,
) -> Iterator[Figure]:  # fmt: skip
    """Make an empty figure of 7 x 4 inches, or one as wide as a venue's text.

    The style is active inside `with` alone: draw and save there. Sub- and superscripts have 6
    points at least.

    Args:
        width, height: size in inches.
        venue: a key of `VENUES`, which sets the width and a Times-like font.
        columns: number of columns of the venue's text that the figure spans.
        panels: (rows, columns) of panels, from which the height is computed.
        aspect: height over width of a panel, by default 1 for panels side by side, 0.7 for one.

    Raises:
        TypeError, ValueError: a size that is not positive, an unknown venue, more columns than it
            has, or both width and venue.
    """
    if venue is not None:
        if width is not None:
            raise ValueError("a venue sets the width; leave out width, or venue")
        width = _text_width(venue, columns)
    elif check_int(columns, "columns") != 1:
        raise ValueError("columns count those of a venue's text; give venue=, or width= in inches")
    width = 7.0 if width is None else check_positive(width, "width")
    if height is None and (venue is not None or panels is not None):
        height = _height(width, (1, 1) if panels is None else panels, aspect)
    height = 4.0 if height is None else check_positive(height, "height")
    with mpl.rc_context(cast(Any, STYLE if venue is None else STYLE | TIMES)):
        yield _Legible(figsize=(width, height), layout="constrained")


def _text_width(venue: object, columns: int) -> float:
    """The width (inches) of some columns of a venue's text."""
    if not isinstance(venue, str) or venue.lower() not in VENUES:
        raise ValueError(f"venue must be one of {', '.join(VENUES)}, got {shown(venue)}")
    widths = VENUES[venue.lower()]
    if check_int(columns, "columns") > len(widths):
        raise ValueError(f"{venue} has {len(widths)} column(s) of text, got columns={columns}")
    return widths[columns - 1]


def _height(width: float, panels: object, aspect: float | None) -> float:
    """The height (inches) that gives panels their aspect, with room for titles and labels."""
    if not isinstance(panels, tuple | list) or len(panels) != 2:
        raise TypeError(f"panels must be a pair (rows, columns), got {shown(panels)}")
    rows, across = check_int(panels[0], "panels[0]"), check_int(panels[1], "panels[1]")
    default = 1.0 if across > 1 else 0.7
    aspect = default if aspect is None else check_positive(aspect, "aspect")
    label = 0.4 if 0.8 * width / across > NARROW else 0.55  # inches, for one line or two
    return rows * (aspect * max(width - 0.3, 0.5) / across + label)


def write(
    fig: Figure, path: str | pathlib.Path, about: Mapping[str, object] | None = None
) -> pathlib.Path:
    """Save a figure with its provenance: command, commit, versions.

    The same figure, written by the same command, has the same bytes. `sdeflow provenance FILE`
    prints the provenance.

    Args:
        fig: the figure.
        path: a file name that ends in .png, .pdf or .svg.
        about: names and values to add to the provenance, such as seed and settings.

    Raises:
        TypeError, ValueError: another suffix, or none.
        OSError: the file cannot be written; an older file stays as it was.
    """
    check_kind(fig, Figure, "fig", "plot.figure makes one")
    path = check_file(path)
    given = {} if about is None else about
    made = {**provenance(), **given} if isinstance(given, Mapping) else given
    metadata = picture_metadata(path, made)
    buffer = io.BytesIO()
    with mpl.rc_context(cast(Any, FILES)):  # also for a figure that was made elsewhere
        fig.savefig(buffer, format=path.suffix[1:].lower(), metadata=metadata)
    write_bytes(path, buffer.getvalue())
    return path
