r"""A density through time, and what the run that made it has to confess.

A `History` is a sequence of densities at the times that were asked for. A numerical density is
never the true one, and how far off it is depends on things that one cannot see in it: so every
run keeps `Guards`, numbers that are zero for a perfect run, each with the cure for what it tells.

    clipped    negative mass set to zero       cells too wide
    wall       mass at the walls               box too small
    stretch    L dt of the drift               steps too long
    error      against doubled cells, steps    either
    drifted    change of the total             rounding, or a fault of ours
    cells      cells over narrowest feature    cells too wide, by what the ruler knows

Above `WARN` a number is told in a warning, above `REFUSE` the run ends in an error: a wrong
density that looks right is worse than none. The bounds are arguments, so whoever knows better
says so where it can be read.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from torch import Tensor

from sdeflow import _validation as door
from sdeflow._validation import SdeflowError
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.rescaling import Ruler
from sdeflow.sdes.sde import SDE


@dataclass(frozen=True)
class Guards:
    """What a run of a density has to confess.

    Attributes:
        clipped: negative mass that was set to zero, over the whole run: cells too wide.
        wall: the largest mass that ever lay in the two outermost layers of cells, or that a
            sampler's step carried out of the box: a box too small.
        stretch: the largest root mean square of L dt, L = max |d_j f_i|: steps too long (the
            total variation is about 0.065 stretch^2).
        error: the largest estimate of the total variation, from the same run with cells and steps
            twice as large; NaN where none was made.
        drifted: the largest relative change of the total mass over a step, before it was put
            right: rounding.
        cells: the widest cell over the narrowest feature that the ruler tells of, at the worst of
            the times asked for; NaN where it tells of none.
    """

    clipped: float = 0.0
    wall: float = 0.0
    stretch: float = 0.0
    error: float = math.nan
    drifted: float = 0.0
    cells: float = math.nan


WARN = Guards(clipped=1e-6, wall=1e-5, stretch=0.5, error=0.02, drifted=1e-11, cells=1.0)
REFUSE = Guards(clipped=1e-4, wall=1e-3, stretch=1.5, error=0.05, drifted=1e-9, cells=1.0)
CURES = {
    "clipped": "{:.1e} of the mass came out negative and was set to zero: the grid does not "
    "resolve this density; use finer cells, or a smaller box",
    "wall": "{:.1e} of the mass reached the wall of the grid; use a larger box, or a ruler",
    "stretch": "the drift changes by {:.2g} of itself over one step (L dt); use more steps",
    "error": "twice the cell and twice the step change the density by a total variation of about "
    "3 x {:.2g}; use finer cells or more steps",
    "drifted": "a step changed the total mass by {:.1e} of itself; report this as a fault of ours",
    "cells": "the cells are {:.2g} times as wide as the narrowest feature, by the ruler's width; "
    "use finer cells",
}


@dataclass(frozen=True, eq=False)
class History(Sequence[Density]):
    """A density at several times, in the order of the run: a sequence of `Density`.

    Attributes:
        t: (T,) times.
        densities: one per time.
        guards: what the run has to confess.
    """

    t: Tensor
    densities: tuple[Density, ...]
    guards: Guards

    def __len__(self) -> int:
        """T."""
        return len(self.densities)

    @overload
    def __getitem__(self, k: int) -> Density: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[Density, ...]: ...
    def __getitem__(self, k: int | slice) -> Density | tuple[Density, ...]:
        """The density at t[k]."""
        return self.densities[k]

    def __iter__(self) -> Iterator[Density]:
        """In the order of the run."""
        return iter(self.densities)


def judged(guards: Guards, refuse: Guards) -> Guards:
    """These guards, after a warning of any that is above `WARN`.

    Raises:
        SdeflowError: one is above `refuse`.
    """
    for name, cure in CURES.items():
        value, limit = getattr(guards, name), getattr(refuse, name)
        if value > limit:
            raise SdeflowError(f"{cure.format(value)} (refused above {limit:g})")
    for name, cure in CURES.items():
        value = getattr(guards, name)
        if value > getattr(WARN, name):
            warnings.warn(cure.format(value), RuntimeWarning, stacklevel=3)
    return guards


def check_nouns(sde: object, density: object, ruler: object) -> None:
    """Refuse what is no law, no density or no ruler (or None).

    Raises:
        TypeError: one of them is something else.
    """
    for thing, kind, meant in (
        (sde, SDE, "sde must be an SDE"),
        (density, Density, "density must be a Density"),
        (ruler, Ruler | None, "ruler must be a Ruler"),
    ):
        if not isinstance(thing, kind):
            raise TypeError(
                f"{meant}, got {type(thing).__name__}; the arguments are (sde, density, times) "
                "and ruler="
            )


def asked(sde: SDE, times: Tensor, name: str = "times") -> Tensor:
    """These times, if they lie in the law's span and run its way.

    Raises:
        TypeError, ValueError: they do not, or are no times.
    """
    low, high = sorted((sde.t_start, sde.t_end))
    times = door.times(times, low, high, name)
    if (times[-1] > times[0]) != (sde.t_end > sde.t_start):
        raise ValueError(
            f"{name} run from {times[0]:g} to {times[-1]:g}, but this law runs from "
            f"{sde.t_start:g} to {sde.t_end:g}; flip them"
        )
    return times


def coarseness(grid: Grid, ruler: Ruler | None, times: Tensor) -> float:
    """The cells of a grid in the ruler's units over the narrowest feature, at the worst time."""
    if ruler is None or ruler.width == 0.0:
        return math.nan
    sizes = ruler.reading(times)[0]
    return float((max(grid.width) * sizes / ruler.feature(times)).max())


def halves(grid: Grid) -> bool:
    """Whether there are cells twice as wide to make an estimate with; it says if not."""
    if any(n % 2 or n < 8 for n in grid.shape):
        warnings.warn(
            f"no error is estimated: the cells, {grid.shape}, cannot be merged two by two; use "
            "even numbers from 8 on, or say estimate=False",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True
