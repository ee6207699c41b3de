r"""Densities at several times, with numerical diagnostics of the run that made them.

A numerical density is never the exact one, and the error does not show in it. So every run keeps
`Diagnostics`, numbers that are zero for a perfect run:

    negative_mass      mass that was set to zero                 cells too wide
    boundary_mass      mass near the boundary                    grid too small
    courant            L dt of the drift                         steps too long
    error              against doubled cells and steps           either
    mass_drift         change of the total mass                  rounding, or a fault of sdeflow
    cells_per_feature  cell width over the narrowest feature     cells too wide
    table_error        against every second level of the table   too few levels of a `FieldTable`

A number above `WARN` gives a warning, one above `REFUSE` an error. Both say what to change.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import overload

from tabulate import tabulate
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.rescaling import Rescaling


@dataclass(frozen=True)
class Diagnostics:
    """Numerical diagnostics of a run that moved a density; also limits for them.

    Attributes:
        negative_mass: negative mass that was set to zero, over the whole run.
        boundary_mass: the largest mass that was ever in the two outermost layers of cells, or that
            a step of a sampler carried out of the grid.
        courant: the largest root mean square of the Courant number L dt, L = max |d_j f_i| (the
            total variation is about 0.065 courant^2).
        error: the largest estimate of the total variation, from the same run with cells and steps
            twice as large; NaN where none was made.
        mass_drift: the largest relative change of the total mass over a step, before its
            correction.
        cells_per_feature: the cell width over the narrowest feature that the rescaling knows, at
            the worst of the times asked for; NaN where it knows none.
        table_error: the largest change in total variation, on doubled cells and steps, where a
            `FieldTable` lacks every second of its levels, plus 1e-7 for a field in float32; that
            of the table itself is smaller. NaN where the field was not read from a table.
    """

    negative_mass: float = 0.0
    boundary_mass: float = 0.0
    courant: float = 0.0
    error: float = math.nan
    mass_drift: float = 0.0
    cells_per_feature: float = math.nan
    table_error: float = math.nan

    def __post_init__(self) -> None:
        """Check that all are numbers.

        Raises:
            TypeError: one is not.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (str, bool)) or not isinstance(value, (int, float)):
                raise TypeError(f"{each.name} must be a number, got {type(value).__name__}")

    def __repr__(self) -> str:
        """One line: what was estimated."""
        known = {k: v for k, v in vars(self).items() if not math.isnan(v)}
        return "diagnostics: " + ", ".join(f"{_words(k)} {v:.2g}" for k, v in known.items())

    def __str__(self) -> str:
        """A Markdown table, with the values that give a warning and an error."""
        rows = [
            (
                _words(k),
                "" if math.isnan(v) else f"{v:.2g}",
                *(f"{getattr(x, k):g}" for x in LIMITS),
            )
            for k, v in vars(self).items()
        ]
        headers = ("diagnostic", "value", "warning above", "error above")
        return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)

    def _repr_markdown_(self) -> str:
        return str(self)


def _words(name: str) -> str:
    return "Courant number" if name == "courant" else name.replace("_", " ")


WARN = Diagnostics(
    negative_mass=1e-6,
    boundary_mass=1e-5,
    courant=0.5,
    error=0.02,
    mass_drift=1e-11,
    cells_per_feature=1.0,
    table_error=0.01,
)
REFUSE = Diagnostics(
    negative_mass=1e-4,
    boundary_mass=1e-3,
    courant=1.5,
    error=0.05,
    mass_drift=1e-9,
    cells_per_feature=1.0,
    table_error=0.05,
)
LIMITS = (WARN, REFUSE)
CURES = {
    "negative_mass": "{:.1e} of the mass came out negative and was set to zero: the grid does not "
    "resolve this density; use finer cells, or a smaller box",
    "boundary_mass": "{:.1e} of the mass reached the wall of the grid; use a larger box, or a "
    "rescaling, or, where the wall is meant to reflect, "
    "refuse=dataclasses.replace(sf.fokker_planck.REFUSE, boundary_mass=1.0)",
    "courant": "the drift changes by {:.2g} of itself over one step (L dt); use more steps",
    "error": "twice the cell and twice the step change the density by a total variation of about "
    "3 x {:.2g}; use finer cells or more steps",
    "mass_drift": "a step changed the total mass by {:.1e} of itself; report this as a fault of "
    "sdeflow",
    "cells_per_feature": "the cells are {:.2g} times as wide as the narrowest feature, the width "
    "of the rescaling; use finer cells",
    "table_error": "half the levels of the field's table change the density by a total variation "
    "of {:.1e}; take table.denser(), or the field itself if it jumps in time",
}


@dataclass(frozen=True, eq=False)
class DensityPath(Sequence[Density]):
    """A density at several times, in the order of the run: a sequence of `Density`.

    Attributes:
        t: (T,) times.
        densities: one per time.
        diagnostics: of the run.

    Raises:
        TypeError, ValueError: not one Density for each time.
    """

    t: Tensor
    densities: tuple[Density, ...]
    diagnostics: Diagnostics

    def __post_init__(self) -> None:
        """Check that each time has a density."""
        if not isinstance(self.t, Tensor) or not isinstance(self.densities, tuple | list):
            raise TypeError("a DensityPath needs a tensor of times and a tuple of densities")
        if not all(isinstance(p, Density) for p in self.densities):
            raise TypeError("densities must hold a Density for each time")
        if not isinstance(self.diagnostics, Diagnostics):
            got = type(self.diagnostics).__name__
            raise TypeError(f"diagnostics must be Diagnostics, got {got}")
        if self.t.shape != (len(self.densities),):
            raise ValueError(
                f"t must hold one time for each of {len(self.densities)} densities, got "
                f"{tuple(self.t.shape)}"
            )
        object.__setattr__(self, "densities", tuple(self.densities))

    def __repr__(self) -> str:
        """In words."""
        return (
            f"path of {len(self)} densities, t from {float(self.t[0]):g} to "
            f"{float(self.t[-1]):g}, the last on {self.densities[-1].grid}"
        )

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


def check_diagnostics(diagnostics: Diagnostics, refuse: Diagnostics) -> Diagnostics:
    """These diagnostics, after a warning for each that is above `WARN`.

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


def cells_per_feature(grid: Grid, rescaling: Rescaling | None, times: Tensor) -> float:
    """The cell width over the narrowest feature, at the worst time; the grid is rescaled."""
    if rescaling is None or rescaling.width == 0.0:
        return math.nan
    scales = rescaling.scale_and_rates(times)[0]
    return float((max(grid.width) * scales / rescaling.narrowest_feature(times)).max())


def can_be_coarsened(grid: Grid) -> bool:
    """Whether the cells can be merged two by two for an error estimate; warns if not."""
    if any(n % 2 or n < 8 for n in grid.shape):
        warnings.warn(
            f"no error is estimated: the cells, {grid.shape}, cannot be merged two by two; use "
            "even numbers from 8 on, or say estimate=False",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True
