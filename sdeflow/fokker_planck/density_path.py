r"""A density through time, and what the run that made it has to confess.

A `History` is a sequence of densities at the times that were asked for. A numerical density is
never the true one, and how far off it is depends on things that one cannot see in it: so every
run keeps `Guards`, numbers that are zero for a perfect run, each with the cure for what it tells.

    negative_mass      set to zero             cells too wide
    boundary_mass      mass at the walls       box too small
    courant            L dt of the drift       steps too long
    error              against doubled cells, steps    either
    mass_drift         change of the total     rounding, or a fault of ours
    cells_per_feature  cell width over narrowest feature    cells too wide, by what the ruler knows

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

from sdeflow._validation import SdeflowError
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.sdes.sde import SDE


@dataclass(frozen=True)
class Diagnostics:
    """What a run of a density has to confess.

    Attributes:
        negative_mass: negative mass that was set to zero, over the whole run: cells too wide.
        boundary_mass: the largest mass that ever lay in the two outermost layers of cells, or that a
            sampler's step carried out of the box: a box too small.
        courant: the largest root mean square of L dt, L = max |d_j f_i|: steps too long (the
            total variation is about 0.065 courant^2).
        error: the largest estimate of the total variation, from the same run with cells and steps
            twice as large; NaN where none was made.
        mass_drift: the largest relative change of the total mass over a step, before it was put
            right: rounding.
        cells_per_feature: the widest cell over the narrowest feature that the ruler tells of, at the worst of
            the times asked for; NaN where it tells of none.
    """

    negative_mass: float = 0.0
    boundary_mass: float = 0.0
    courant: float = 0.0
    error: float = math.nan
    mass_drift: float = 0.0
    cells_per_feature: float = math.nan


WARN = Diagnostics(
    negative_mass=1e-6,
    boundary_mass=1e-5,
    courant=0.5,
    error=0.02,
    mass_drift=1e-11,
    cells_per_feature=1.0,
)
REFUSE = Diagnostics(
    negative_mass=1e-4,
    boundary_mass=1e-3,
    courant=1.5,
    error=0.05,
    mass_drift=1e-9,
    cells_per_feature=1.0,
)
CURES = {
    "negative_mass": "{:.1e} of the mass came out negative and was set to zero: the grid does not "
    "resolve this density; use finer cells, or a smaller box",
    "boundary_mass": "{:.1e} of the mass reached the wall of the grid; use a larger box, or a ruler",
    "courant": "the drift changes by {:.2g} of itself over one step (L dt); use more steps",
    "error": "twice the cell and twice the step change the density by a total variation of about "
    "3 x {:.2g}; use finer cells or more steps",
    "mass_drift": "a step changed the total mass by {:.1e} of itself; report this as a fault of ours",
    "cells_per_feature": "the cells are {:.2g} times as wide as the narrowest feature, by the ruler's width; "
    "use finer cells",
}


@dataclass(frozen=True, eq=False)
class DensityPath(Sequence[Density]):
    """A density at several times, in the order of the run: a sequence of `Density`.

    Attributes:
        t: (T,) times.
        densities: one per time.
        guards: what the run has to confess.
    """

    t: Tensor
    densities: tuple[Density, ...]
    diagnostics: Diagnostics

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


def warn_or_refuse(diagnostics: Diagnostics, refuse: Diagnostics) -> Diagnostics:
    """These guards, after a warning of any that is above `WARN`.

    Raises:
        SdeflowError: one is above `refuse`.
    """
    for name, cure in CURES.items():
        value, limit = getattr(diagnostics, name), getattr(refuse, name)
        if value > limit:
            raise SdeflowError(f"{cure.format(value)} (refused above {limit:g})")
    for name, cure in CURES.items():
        value = getattr(diagnostics, name)
        if value > getattr(WARN, name):
            warnings.warn(cure.format(value), RuntimeWarning, stacklevel=3)
    return diagnostics


def check_nouns(sde: object, density: object, rescaling: object) -> None:
    """Refuse what is no law, no density or no ruler (or None).

    Raises:
        TypeError: one of them is something else.
    """
    for thing, kind, meant in (
        (sde, SDE, "sde must be an SDE"),
        (density, Density, "density must be a Density"),
        (rescaling, Rescaling | None, "ruler must be a Ruler"),
    ):
        if not isinstance(thing, kind):
            raise TypeError(
                f"{meant}, got {type(thing).__name__}; the arguments are (sde, density, times) "
                "and ruler="
            )


def coarseness(grid: Grid, rescaling: Rescaling | None, times: Tensor) -> float:
    """The cells of a grid in the ruler's units over the narrowest feature, at the worst time."""
    if rescaling is None or rescaling.width == 0.0:
        return math.nan
    sizes = rescaling.reading(times)[0]
    return float((max(grid.width) * sizes / rescaling.feature(times)).max())


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
