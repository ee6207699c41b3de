"""Check what a film shows, paths with their densities and fields, and draw one frame of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import is_color_like, to_hex, to_rgba_array
from torch import Tensor

from sdeflow._validation import FLOAT32_EPS, check_kind, check_numbers, check_positive, shown
from sdeflow.density import Density
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fokker_planck.density_path import DensityPath, Diagnostics
from sdeflow.grid import Grid
from sdeflow.plot.clouds import cloud, coordinates
from sdeflow.plot.densities import density
from sdeflow.plot.fields import arrows
from sdeflow.plot.panels import Where, Window, as_window, frame, peak, window
from sdeflow.plot.style import Colour, Figure, check_colour
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.path import Path

Drift = Field | SDE | Callable[[Tensor, Tensor], Tensor]
"""A field (its score is drawn), an SDE (its drift), or a function (x (n, 2), t ()) -> (n, 2)."""
HEADROOM = 1.1  # height of the axis over the highest p, in one dimension
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Leg:
    """One path of a film: times t (T,), states x (T, n, d), and what is drawn below them.

    Attributes:
        named: whether t are times of a process; otherwise t counts the states.
    """

    t: np.ndarray
    x: Tensor
    named: bool
    densities: tuple[Density, ...] | None
    field: Drift | None


def legs(path: object, history: object, field: object) -> list[Leg]:
    """Check the paths of a film, and put the densities and the field of each beside it."""
    row = list(path) if isinstance(path, list | tuple) else [path]
    if not row:
        raise ValueError("path is empty; give one path or more")
    below, flows = _for_each(history, len(row), "history"), _for_each(field, len(row), "field")
    found = [_leg(*three) for three in zip(row, below, flows, strict=True)]
    if len({leg.x.shape[2] for leg in found}) > 1:
        raise ValueError("paths of one and two dimensions have no common window; make two films")
    return found


def _for_each(value: object, count: int, name: str) -> list:
    """Repeat one value for each path, or check that there is one for each."""
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} must be one, or a list with one for each of the {count} path(s)")
    return list(value)


def _leg(path: object, history: object, field: object) -> Leg:
    if isinstance(path, Path):
        t, x = path.t.detach().cpu().double().numpy(), path.x
    elif isinstance(path, Tensor | np.ndarray) and path.ndim == 3:
        t, x = np.arange(len(path), dtype=float), check_numbers(path, "path")
    else:
        raise TypeError(
            f"path must be a Path, states (T, n, d) or a list of such, got {shown(path)}"
        )
    if len(t) < 2:
        raise ValueError("path holds one state; solve with save=100 to film the states on the way")
    if x.shape[2] > 2:
        raise ValueError(
            f"path has {x.shape[2]} coordinates, but a film shows one or two; choose two: "
            "dataclasses.replace(path, x=path.x[:, :, [0, 1]])"
        )
    coordinates(x.flatten(0, 1), "path")
    timed = isinstance(path, Path)
    if field is not None:
        if isinstance(field, Tensor | np.ndarray):
            raise TypeError("field must depend on time in a film: a Field, an SDE or f(x, t)")
        if x.shape[2] == 1 or not timed:
            why = "states alone have no times" if x.shape[2] > 1 else "arrows need two dimensions"
            raise ValueError(f"{why}; leave out field{'' if timed else ', or give a Path'}")
        for at in (t[0], t[-1]):  # a wrong field is refused before the first frame is drawn
            arrows(Figure().subplots(), field, float(at), 1.0, 2)  # type: ignore[arg-type]
    if isinstance(history, Grid):
        history = _exact(history, field, path)
    below = None if history is None else _at_times(history, t, x.shape[2])
    return Leg(t, x, timed, below, field)  # type: ignore[arg-type]


def _exact(grid: Grid, field: object, path: object) -> DensityPath:
    """The densities of an exact field on a grid, at the times of a path."""
    if not isinstance(field, ExactField) or not isinstance(path, Path):
        raise TypeError("a grid as history needs an ExactField as field, and a Path as path")
    at = tuple(field.density(grid, float(t)) for t in path.t)
    return DensityPath(path.t, at, Diagnostics())


def _at_times(history: object, t: np.ndarray, dim: int) -> tuple[Density, ...]:
    """The densities of a `DensityPath` at the times of the states."""
    known = check_kind(history, DensityPath, "history", "evolve gives one")
    if known[0].grid.dim != dim:
        raise ValueError(
            f"history has densities of {known[0].grid.dim} dimension(s), but the path has {dim}; "
            "use those of the same data"
        )
    times = known.t.detach().cpu().double().numpy()
    away = np.abs(times[:, None] - t)
    missing = away.min(0) > 4 * FLOAT32_EPS * max(np.abs(t).max(), np.abs(times).max())
    if missing.any():
        raise ValueError(
            f"history has no density at t = {t[missing][0]:g}, a time of the path; use "
            "evolve(sde, start, path.t)"
        )
    return tuple(known[int(k)] for k in away.argmin(0))


@dataclass(frozen=True, eq=False)
class Look:
    """What all frames share: the window, the scale of p, the colour and size of dots, the unit."""

    where: Window
    vmax: float | None
    colour: str | np.ndarray
    size: float
    unit: str
    digits: int
    arrows: bool

    @property
    def dim(self) -> int:
        """The dimension of the data, 1 or 2."""
        return len(self.where.low)

    def draw(self, ax: Axes, leg: Leg, k: int) -> None:
        """Draw the k-th state of a path on empty axes."""
        p = leg.densities[k] if leg.densities else None
        if p is not None:
            density(ax, p, self.where, self.vmax, self.unit).set(
                zorder=0.3 if self.dim == 2 else 2, label="density"
            )
        if leg.field is not None:
            arrows(ax, leg.field, float(leg.t[k]), self.where)
        cloud(ax, leg.x[k], self.colour, self.size, "particles")
        ax.set_title(f"$t$ = {self._time(leg.t[k])}" if leg.named else f"state {k}", loc="left")
        if self.dim == 1:
            ax.set(xlim=(self.where.low[0], self.where.high[0]), ylim=(0.0, self.vmax))
            if p is not None:
                ax.legend(loc="upper right")
            return
        frame(ax, self.where)
        lines = [f"window $\\pm${self.where.half:.2g} ({self.unit})"]
        if self.arrows:  # an empty line where other paths have one, so that no panel moves
            named = (
                f"arrows: direction of the {_name(leg.field)}" if leg.field is not None else " "
            )
            lines.append(named)
        ax.set_xlabel("\n".join(lines))
        if p is not None:
            highest = peak(p)
            top = self.vmax or highest
            ends = "=" if highest <= top else r"$\geq$"
            ax.set_title(f"darkest: $p$ {ends} {top:.2g} / {self.unit}$^2$", loc="right")

    def _time(self, t: float) -> str:
        """Write a time with as many digits as the longest time, at least two that are not zero."""
        own = 1 - floor(log10(abs(t)) + 1e-6) if t else 0  # times may be rounded to float32
        return f"{t:.{min(max(self.digits, own), 6)}f}"


def _name(field: Drift) -> str:
    if isinstance(field, Field):
        return "score"
    return "drift" if isinstance(field, SDE) else getattr(field, "__name__", "field")


def look(
    row: Sequence[Leg], where: Where | None, vmax: float | None,
    colour: Colour | Tensor | np.ndarray, size: float, unit: str,
) -> Look:  # fmt: skip
    """Choose the window, the scale of p and the colours for a film of these paths."""
    dim = row[0].x.shape[2]
    inks: str | np.ndarray
    if isinstance(colour, str | tuple) and is_color_like(colour):
        inks = to_hex(to_rgba_array(check_colour(colour))[0].tolist(), keep_alpha=True)
    elif dim == 1:
        raise TypeError(f"colour must be one colour in one dimension, got {shown(colour)}")
    else:
        inks = check_numbers(colour, "colour, if it is no colour,").numpy()
        if any(inks.shape != (leg.x.shape[1],) for leg in row):
            raise ValueError(f"colour must have one number for each particle, got {inks.shape}")
    below = [p for leg in row for p in leg.densities or ()]
    if where is None:
        box = window(*(leg.x.flatten(0, 1) for leg in row), *below)
    else:
        box = as_window(where, "where", dim)
    top = None if vmax is None else check_positive(vmax, "vmax")
    if dim == 1 and top is None:
        top = HEADROOM * max([_highest(leg.x) for leg in row] + ([peak(below)] if below else []))
    longest = max(float(np.abs(leg.t).max()) for leg in row)
    digits = min(max(2 - floor(log10(longest)), 0), 6) if longest > 0 else 2
    return Look(
        box,
        top,
        inks,
        check_positive(size, "size"),
        check_kind(unit, str, "unit"),
        digits,
        any(leg.field is not None for leg in row),
    )


def _highest(x: Tensor) -> float:
    """The height of the highest bar in the histograms of all states (T, n, 1)."""
    ax = Figure().subplots()
    return max(float(np.max(cloud(ax, state).get_data().values)) for state in x)  # type: ignore
