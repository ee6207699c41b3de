"""Give several panels the same scale: windows, the largest density, frames, colour bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.ticker import AutoLocator
from torch import Tensor

from sdeflow._validation import check_finite, check_kind, check_positive, shown
from sdeflow.density import Density
from sdeflow.grid import Grid
from sdeflow.plot.clouds import coordinates
from sdeflow.plot.style import NARROW, check_axes
from sdeflow.solvers.path import Path

CENTRED = 0.05  # largest offset from the origin, over half the side, of a window "around" it
SHOWN = 0.998  # share of the mass inside the window of a density


@dataclass(frozen=True)
class Window:
    """The box [low, high] that a panel shows, in one or two dimensions.

    Args:
        low, high: (d,) corners in units of the data, low below high.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the corners, and turn them into tuples."""
        for name in ("low", "high"):
            given = getattr(self, name)
            row = given if np.iterable(given) and not isinstance(given, str) else (given,)
            corner = tuple(check_finite(c, f"an entry of {name}") for c in row)
            object.__setattr__(self, name, corner)
        ordered = len(self.low) == len(self.high) in (1, 2)
        if not ordered or not all(a < b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(
                f"a window has one or two axes, low below high, got {self.low} and {self.high}"
            )

    @property
    def half(self) -> float:
        """Half the length of the longest side."""
        return max(b - a for a, b in zip(self.low, self.high, strict=True)) / 2


Where = Window | Grid | float
"""A window, a grid (its box), or half the side of a square around the origin."""


def as_window(where: object, name: str = "window", dim: int = 2) -> Window:
    """Turn a window, a grid or half the side of a square into a window of `dim` dimensions."""
    if isinstance(where, Window | Grid):
        if len(where.low) != dim:
            raise ValueError(f"{name} must have {dim} dimension(s), got {len(where.low)}")
        return Window(where.low, where.high)
    if not isinstance(where, int | float | Tensor | np.generic) or isinstance(where, bool):
        raise TypeError(
            f"{name} must be a plot.window(...), a Grid or half the side, got {shown(where)}"
        )
    half = check_positive(where, name)  # type: ignore[arg-type]
    return Window((-half,) * dim, (half,) * dim)


Thing = Tensor | np.ndarray | Path | Density
THINGS = (Tensor, np.ndarray, Path, Density)


def window(*things: Thing | Sequence[Thing], margin: float = 0.05) -> Window:
    """The smallest window that shows all given things, for panels of one scale.

    It is a square in two dimensions. It holds every particle of a cloud, or of all states of a
    path, and 99.8 % of the mass of a density on each axis.

    Args:
        things: clouds, paths and densities, or lists of them.
        margin: the space on each side of a cloud, as a share of its extent.

    Raises:
        TypeError, ValueError: there is nothing to show, or things of different dimensions.
    """
    margin = check_positive(margin, "margin", zero=True)
    row = list(_each(things))
    if not row:
        raise ValueError("there is nothing to show; give clouds, paths or densities")
    ends = [held(one) if isinstance(one, Density) else _extent(one, margin) for one in row]
    if len({len(low) for low, _ in ends}) > 1:
        raise ValueError("things of one and two dimensions share no window; make two windows")
    low, high = (np.array(row) for row in zip(*ends, strict=True))
    a, b = low.min(0), high.max(0)
    half = float((b - a).max()) / 2 or 1.0  # for a single point any window will do
    return Window(tuple((a + b) / 2 - half), tuple((a + b) / 2 + half))


def _each(things: Sequence[object]) -> Iterator[object]:
    """Yield things, and the items of lists and of density paths; a list of numbers is a cloud."""
    for one in things:
        inside = isinstance(one, Sequence) and any(isinstance(each, THINGS) for each in one)
        yield from one if inside and isinstance(one, Sequence) else [one]


def _extent(thing: object, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the box around all particles, at all saved times, with its margin."""
    x = coordinates(thing.x.flatten(0, 1) if isinstance(thing, Path) else thing, "a thing")
    low, high = x.min(0), x.max(0)
    pad = margin * float((high - low).max())
    return low - pad, high + pad


def held(p: Density) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the box that holds 99.8 % of the mass on each axis."""
    ends = []
    for i in range(p.grid.dim):
        share = p.marginal(i).mass.cumsum(0) / p.total()
        edges = p.grid.edges(i)
        tail = (1 - SHOWN) / 4
        low, high = (int(torch.searchsorted(share, q)) for q in (tail, 1 - tail))
        ends.append((float(edges[low]), float(edges[min(high + 1, len(edges) - 1)])))
    low_, high_ = np.array(ends).T
    return low_, high_


def peak(*densities: Density | Sequence[Density]) -> float:
    """The largest value of p in all given densities, for use as `vmax` of panels of one scale."""
    row = [
        check_kind(p, Density, "each of densities", "evolve gives them") for p in _each(densities)
    ]
    if not row:
        raise ValueError("there is no density; give one or more")
    return max(float(p.mass.max()) / p.grid.volume for p in row)


def frame(ax: Axes, where: Where, title: str | None = None, unit: str | None = None) -> Axes:
    """Set the limits of the axes to a window with equal scales, with ticks if a unit is given."""
    check_axes(ax)
    box = as_window(where, "where")
    (a, c), (b, d) = box.low, box.high
    ax.set(xlim=(a, b), ylim=(c, d), aspect="equal")
    if unit is None:
        ax.set(xticks=[], yticks=[])
    else:
        for axis in ax.xaxis, ax.yaxis:
            axis.set_major_locator(AutoLocator())  # an earlier call may have removed the ticks
        ax.set(xlabel=f"$x_1$ ({unit})", ylabel=f"$x_2$ ({unit})")
    if title is not None:
        ax.set_title(check_kind(title, str, "title"))
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def window_label(box: Window, unit: str, ax: Axes | None = None) -> str:
    """The size of a window in words, in two lines for narrow axes.

    It reads "window +- half the side" around the origin, and "width" elsewhere.
    """
    away = max(abs(a + b) / 2 for a, b in zip(box.low, box.high, strict=True))
    around = away < CENTRED * box.half
    half = f"window $\\pm${box.half:.2g}" if around else f"width {2 * box.half:.2g}"
    narrow = ax is not None and ax.get_window_extent().width / ax.figure.dpi < NARROW
    return f"{half}\n({unit})" if narrow else f"{half} ({unit})"


def colour_bar(
    axes: Axes | Sequence[Axes] | np.ndarray, artist: ScalarMappable, label: str | None = None
) -> Colorbar:
    """Draw the colour bar of an artist beside one panel, or beside several that share it.

    The bar has pointed ends where values lie beyond the colours.

    Args:
        axes: one panel or several.
        artist: what `density`, `cloud`, `tube`, ... returned.
        label: quantity and unit, by default those that the artist carries (in its label, which
            begins with _ so that legends omit it).

    Raises:
        TypeError, ValueError: no axes, or an artist whose colours do not stand for numbers.
    """
    given = axes.ravel().tolist() if isinstance(axes, np.ndarray) else axes
    row = [check_axes(ax) for ax in (given if isinstance(given, list | tuple) else [given])]
    if not row:
        raise ValueError("axes is empty; give one panel or more")
    check_kind(artist, ScalarMappable, "artist", "plot.density in the plane gives one")
    values = artist.get_array()
    if values is None:
        raise TypeError(
            "artist has one colour; give cloud numbers as colour, one for each particle"
        )
    low, high = artist.get_clim()
    beyond = float(np.nanmin(values)) < low, float(np.nanmax(values)) > high
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[beyond]
    one_row = len({round(ax.get_position().y0, 6) for ax in row}) == 1
    # Beside one row of panels the bar has their height; constrained layout would make it higher.
    beside = row[-1].inset_axes((1.04, 0, 0.05, 1)) if one_row else None
    bar = row[0].figure.colorbar(artist, cax=beside, ax=None if one_row else row, extend=extend)
    own = str(getattr(artist, "get_label", str)())
    bar.set_label("" if own.startswith("_child") else own.removeprefix("_"))
    if label is not None:
        bar.set_label(check_kind(label, str, "label"))
    bar.outline.set_linewidth(0.6)
    return bar
