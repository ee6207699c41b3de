r"""Hold densities at several times, with numerical diagnostics of the run that made them.

A numerical density has an error that it does not show. So every run keeps `Diagnostics`, numbers
that are zero for an exact run:

    negative_mass      negative mass that was set to zero        cells too wide
    boundary_mass      mass near the walls of the grid           grid too small
    courant            change of the drift over a step, L dt     steps too long
    error              change by doubled cells and steps         cells too wide, or steps too long
    mass_drift         change of the total mass                  rounding, or a fault of sdeflow
    cells_per_feature  cell width over the narrowest feature     cells too wide
    table_error        change by half the levels of the table    too few levels of a `FieldTable`

A number above `WARN` gives a warning, one above `REFUSE` an error. Both say what to change.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path as FilePath
from typing import Any, Self, overload

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow._wording import markdown_table
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.storage import Stored, as_numpy, as_xarray, write_csv


@dataclass(frozen=True)
class Diagnostics:
    """Numerical diagnostics of a run that moved a density; also limits for them.

    Attributes:
        negative_mass: negative mass that was set to zero, over the whole run.
        boundary_mass: the largest mass that was ever in the two outermost layers of cells, or that
            a step of a sampler carried out of the grid.
        courant: the largest root mean square of the Courant number L dt, L = max |d_j f_i|. The
            steps cause an error of about 0.065 courant^2 in total variation.
        error: the largest total variation from the exact density, estimated from the same run with
            cells and steps twice as large; NaN without an estimate.
        mass_drift: the largest relative change of the total mass over a step, before it is
            corrected.
        cells_per_feature: the cell width over the narrowest feature, the `width` of the rescaling,
            at the worst of the times asked for; NaN without one.
        table_error: the largest total variation by which the density changes if a `FieldTable`
            loses every second of its levels, on doubled cells and steps, plus 1e-7 for float32.
            The error of the whole table is smaller. NaN without a table.
    """

    negative_mass: float = 0.0
    boundary_mass: float = 0.0
    courant: float = 0.0
    error: float = math.nan
    mass_drift: float = 0.0
    cells_per_feature: float = math.nan
    table_error: float = math.nan

    def __post_init__(self) -> None:
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
        return markdown_table(headers, rows)

    _repr_markdown_ = __str__


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
    "negative_mass": "{:.1e} of the mass became negative and was set to zero, because the cells "
    "are too wide for this density; use finer cells, or a smaller box",
    "boundary_mass": "{:.1e} of the mass reached the wall of the grid; use a larger box, or a "
    "rescaling, or, where the wall is meant to reflect, dataclasses.replace(sde, "
    "walls=sf.sdes.Box(grid.low, grid.high))",
    "courant": "the Courant number of the steps, L dt of the drift, is {:.2g}; use more steps",
    "error": "the error of the density is about {:.2g} in total variation, by comparison with a "
    "coarser run; use finer cells or more steps",
    "mass_drift": "a step changed the total mass by a share of {:.1e}; report this as a fault of "
    "sdeflow",
    "cells_per_feature": "the cells are {:.2g} times as wide as the narrowest feature, the width "
    "of the rescaling; use finer cells",
    "table_error": "with half the levels of its table the field changes the density by a total "
    "variation of {:.1e}; take table.denser(), or the field itself if it jumps in time",
}


@dataclass(frozen=True, eq=False)
class DensityPath(Stored, Sequence[Density]):
    """The densities at several times of a run, as a sequence of `Density`.

    Attributes:
        t: (T,) times, in the order of the run.
        densities: one per time.
        diagnostics: of the run.
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
        return (
            f"path of {len(self)} densities, t from {float(self.t[0]):g} to "
            f"{float(self.t[-1]):g}, the last on {self.densities[-1].grid}"
        )

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"t": self.t} | {f"mass_{k}": p.mass for k, p in enumerate(self)}
        grids = [{**asdict(p.grid), "error": p.error} for p in self]
        return tensors, {"grids": grids, "diagnostics": asdict(self.diagnostics)}

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Self:
        errors = [grid.pop("error") for grid in plain["grids"]]
        densities = tuple(
            Density(Grid(**grid), tensors[f"mass_{k}"], error)
            for k, (grid, error) in enumerate(zip(plain["grids"], errors, strict=True))
        )
        return cls(tensors["t"], densities, Diagnostics(**plain["diagnostics"]))

    def to_numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (T,) and masses (T, *shape).

        Raises:
            ValueError: the densities have different numbers of cells.
        """
        shapes = {p.grid.shape for p in self}
        if len(shapes) > 1:
            raise ValueError("the densities have different numbers of cells; take p.to_numpy()")
        return as_numpy(self.t), np.stack([p.to_numpy() for p in self])

    def to_csv(self, path: str | FilePath) -> None:
        """Write a table with one row per time and cell: t, x1 (, x2) of its centre, mass."""
        columns = torch.cat([
            torch.cat([
                t.double().expand(p.mass.numel(), 1), p.grid.centres(), p.mass.reshape(-1, 1)
            ], 1)
            for t, p in zip(self.t, self, strict=True)
        ])  # fmt: skip
        names = ["t", *(f"x{i + 1}" for i in range(self[0].grid.dim)), "mass"]
        write_csv(path, names, tuple(columns.T))

    def to_xarray(self) -> Any:
        """An xarray.DataArray of the masses over time and the centres x1 (, x2); needs xarray.

        Raises:
            ValueError: the grid changes, as it does under a rescaling.
        """
        first = self[0].grid
        if not all(p.grid.same(first) for p in self):
            raise ValueError("the grid changes from time to time; take p.to_xarray() for each p")
        t, masses = self.to_numpy()
        axes = {f"x{i + 1}": first.middles(i).numpy() for i in range(first.dim)}
        return as_xarray(masses, {"time": t} | axes, "mass")

    def __len__(self) -> int:
        """The number of times, T."""
        return len(self.densities)

    @overload
    def __getitem__(self, k: int) -> Density: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[Density, ...]: ...
    def __getitem__(self, k: int | slice) -> Density | tuple[Density, ...]:
        """The density at t[k]."""
        return self.densities[k]

    def __iter__(self) -> Iterator[Density]:
        """The densities in the order of the run."""
        return iter(self.densities)


def check_diagnostics(diagnostics: Diagnostics, refuse: Diagnostics) -> Diagnostics:
    """Return the diagnostics, after a warning for each number above `WARN`.

    Raises:
        SdeflowError: a number is above `refuse`.
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
    """The largest ratio over `times` of the cell width to the narrowest feature.

    The grid is that of the rescaled coordinates.
    """
    if rescaling is None or rescaling.width == 0.0:
        return math.nan
    scales = rescaling.scale_and_rates(times)[0]
    return float((max(grid.width) * scales / rescaling.narrowest_feature(times)).max())


def can_be_coarsened(grid: Grid) -> bool:
    """Whether the cells can be merged two by two for an error estimate; warns if not."""
    if any(n % 2 or n < 8 for n in grid.shape):
        warnings.warn(
            f"no error is estimated, because {grid.shape} cells cannot be merged two by two; use "
            "even numbers from 8 on, or give estimate=False",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True
