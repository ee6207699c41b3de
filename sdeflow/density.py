r"""Store a probability density as the mass in each cell of a grid: `Density`.

    m_i = int_{cell i} p(x) dx,    sum_i m_i = 1 - (mass outside the grid).

Masses are stored and not values at points, because a histogram counts masses, coarsening adds
them, and a conservative scheme keeps their sum. To compare a cloud with a density, count its
particles in the density's own cells; interpolating the density to the particles instead makes an
error that alone gives p-values of 1e-35.

Masses are float64: float32 would lose those below 1e-7 of the total.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path as FilePath
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import as_numbers, check_int, check_kind, check_positive, check_seed
from sdeflow.grid import Grid, check_axis, check_grid
from sdeflow.random_streams import Stream, random_generator, uniform
from sdeflow.storage import Stored, as_numpy, as_xarray, write_csv

__all__ = ["ROUND_OFF", "Density", "Grid", "captured"]

ROUND_OFF = 1e-15
"""The mass below which a cell holds nothing but rounding errors."""


@dataclass(frozen=True, eq=False)
class Density(Stored):
    """A probability density, as the mass in each cell of a grid.

    The masses add up to 1 minus the mass outside the grid.

    Args:
        grid: the cells.
        mass: grid.shape, not negative; a tensor, an array or nested lists, kept in float64.
        error: an estimate of the total variation distance to the exact density, or None.
    """

    grid: Grid
    mass: Tensor
    error: float | None = None

    def __post_init__(self) -> None:
        check_grid(self.grid)
        if self.error is not None and not isinstance(self.error, (int, float)):
            raise TypeError(f"error must be a number or None, got {type(self.error).__name__}")
        mass = as_numbers(self.mass, "mass").contiguous()
        if mass.shape != self.grid.shape:
            raise ValueError(
                f"mass must be {self.grid.shape}, one number per cell, got {tuple(mass.shape)}"
            )
        if not torch.isfinite(mass).all():
            raise ValueError("mass has NaN or infinite cells; set it to zero there")
        if (mass < 0).any():
            raise ValueError(
                f"mass is negative in {int((mass < 0).sum())} cells; set it to zero there"
            )
        total = float(mass.sum())
        # Masses that were divided by their sum in a shorter type add up to 1 within its rounding.
        given = self.mass
        given = given if isinstance(given, Tensor) else torch.from_numpy(np.array(given))
        eps = torch.finfo(given.dtype).eps if given.is_floating_point() else 0.0
        if not 0 < total <= 1 + max(1e-9, 4 * eps):
            raise ValueError(f"the masses add up to {total:.6g}; divide them by their sum")
        object.__setattr__(self, "mass", mass / total if total > 1 + 1e-9 else mass)

    def __repr__(self) -> str:
        error = "" if self.error is None else f", error about {self.error:.1g}"
        return f"density on {self.grid}, total mass {self.total():.6g}{error}"

    @staticmethod
    def from_samples(grid: Grid, x: Tensor) -> Density:
        """The histogram of a cloud x (n, d): the share of its particles in each cell."""
        check_grid(grid)
        counts, outside = grid.count(x)
        if outside == len(x):
            raise ValueError(
                f"no particle lies in the grid {grid.low} to {grid.high}; move or widen it"
            )
        return Density(grid, counts.double() / len(x))

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"mass": self.mass}, {**asdict(self.grid), "error": self.error}

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Self:
        error = plain.pop("error")
        return cls(Grid(**plain), tensors["mass"], error)

    def to_numpy(self) -> np.ndarray:
        """The masses, in the grid's shape."""
        return as_numpy(self.mass)

    def to_csv(self, path: str | FilePath) -> None:
        """Write a table with one row per cell: x1 (, x2) of its centre, mass."""
        names = [f"x{i + 1}" for i in range(self.grid.dim)]
        columns = [*self.grid.centres().T, self.mass.reshape(-1)]
        write_csv(path, [*names, "mass"], columns)

    def to_xarray(self) -> Any:
        """An xarray.DataArray of the masses over the centres x1 (, x2); needs xarray."""
        axes = {f"x{i + 1}": self.grid.middles(i).numpy() for i in range(self.grid.dim)}
        return as_xarray(self.to_numpy(), axes, "mass")

    def total(self) -> float:
        """sum_i m_i: the mass inside the grid."""
        return float(self.mass.sum())

    def normalised(self) -> Density:
        """The conditional density given that x is inside the grid: its total is 1."""
        return replace(self, mass=self.mass / self.mass.sum())

    def mean(self) -> Tensor:
        """E[x | x inside the grid], (d,), from the centres of the cells."""
        return torch.stack([row @ x for row, x in self._margins()])

    def covariance(self) -> Tensor:
        """Cov[x | x inside the grid], (d, d).

        It is computed from the centres of the cells, which adds h^2 / 12 to each variance if the
        density is smooth on the scale of a cell; that is subtracted.

        Source: Sheppard 1898.
        """
        off = [x - row @ x for row, x in self._margins()]
        share = self.mass / self.mass.sum()
        out = torch.zeros(self.grid.dim, self.grid.dim, dtype=torch.float64)
        for i, (row, _) in enumerate(self._margins()):
            out[i, i] = row @ off[i] ** 2 - self.grid.width[i] ** 2 / 12
        if self.grid.dim == 2:
            out[0, 1] = out[1, 0] = off[0] @ share @ off[1]
        return out

    def _margins(self) -> list[tuple[Tensor, Tensor]]:
        """For each axis, its normalised marginal masses and the centres of its cells."""
        d, share = self.grid.dim, self.mass / self.mass.sum()
        rows = [share] if d == 1 else [share.sum(1), share.sum(0)]
        return [(rows[i], self.grid.middles(i)) for i in range(d)]

    def marginal(self, axis: int) -> Density:
        """The marginal density of one coordinate, on a grid of one dimension."""
        axis = check_axis(axis, self.grid.dim)
        if self.grid.dim == 1:
            return self
        g = self.grid
        line = Grid((g.low[axis],), (g.high[axis],), (g.shape[axis],))
        return Density(line, self.mass.sum(1 - axis), self.error)

    def coarsen(self, factor: int = 2) -> Density:
        """The same density on cells `factor` times as wide, at least 4 on each axis."""
        grid = self.grid.coarser(factor)
        blocks = [n for cells in grid.shape for n in (cells, factor)]
        mass = self.mass.reshape(blocks).sum(tuple(range(1, 2 * grid.dim, 2)))
        return Density(grid, mass, self.error)

    def scaled(self, factor: float) -> Density:
        """The density of factor x, if this is the density of x: the same masses, a scaled grid."""
        return replace(self, grid=self.grid.scaled(factor))

    def log_prob(self, x: Tensor) -> Tensor:
        """ln p(x) = ln(m_i / volume) at each particle of x (n, d), (n,) in float64, on its device.

        It is constant in a cell, and -inf in cells without mass and outside the grid.
        """
        which = self.grid.cell(x)
        height = torch.log(self.mass.reshape(-1) / self.grid.volume).to(which.device)
        return torch.where(which >= 0, height[which.clamp_min(0)], -math.inf)

    def sample(self, n: int, seed: int) -> Tensor:
        """n draws (n, d) in float64 from the density inside the grid, uniform in each cell.

        The first k of n draws are the draws of a call with n = k.
        """
        check_int(n, "n")
        check_seed(seed)
        edges = torch.cumsum(self.mass.reshape(-1), 0)
        u = uniform(seed, 0, n) * edges[-1]
        last = int(self.mass.reshape(-1).nonzero()[-1])
        which = torch.searchsorted(edges, u, right=True).clamp_max(last)
        part = (
            torch.from_numpy(random_generator(seed, Stream.DATA).random((n, self.grid.dim))) - 0.5
        )
        return self.grid.centres()[which] + part * torch.tensor(
            self.grid.width, dtype=torch.float64
        )

    def entropy(self) -> float:
        """The entropy -sum_i m_i ln(m_i / volume) in nats; -E[ln p] if the total is 1."""
        m = self.mass[self.mass > 0]
        return -float((m * torch.log(m / self.grid.volume)).sum())

    def kl(self, other: Density) -> float:
        """The Kullback-Leibler divergence sum_i m_i ln(m_i / n_i), n_i the other's masses (nats).

        The outside of the grid is one more cell. Masses below 1e-15 are rounding errors: cells
        where both are below it are merged, and a smaller n_i counts as 1e-15, so that the sum is
        finite.
        """
        p, q = self._cells(other)
        small = torch.maximum(p, q) < ROUND_OFF
        p, q = (torch.cat([m[~small], m[small].sum()[None]]) for m in (p, q))
        p, q = p[p > 0], q[p > 0].clamp_min(ROUND_OFF)
        return float((p * torch.log(p / q)).sum())

    def total_variation(self, other: Density) -> float:
        """The total variation distance (1/2) sum_i |m_i - n_i|, from 0 to 1.

        The outside of the grid is one more cell.
        """
        p, q = self._cells(other)
        return float((p - q).abs().sum() / 2)

    def _cells(self, other: Density) -> tuple[Tensor, Tensor]:
        """The masses of both densities, with the mass outside the grid as the last one."""
        cure = "Density(grid, mass) and Density.from_samples(grid, x) make one"
        check_kind(other, Density, "other", cure)
        if not self.grid.same(other.grid):
            raise ValueError(
                f"the two densities are on different grids, {self.grid} and {other.grid}; make "
                "both on one grid"
            )
        rows = [torch.cat([m.reshape(-1), 1 - m.sum()[None]]) for m in (self.mass, other.mass)]
        return rows[0].clamp_min(0), rows[1].clamp_min(0)


def captured(mass: np.ndarray, grid: Grid, missing: float) -> Density:
    """The density with these cell masses, if at most `missing` lies outside the grid."""
    missing = check_positive(missing, "missing", zero=True)
    held = float(mass.sum())
    lost = 1 - held
    if not held > 0:
        raise ValueError(f"the grid {grid.low} to {grid.high} holds none of the mass; move it")
    if lost > missing:
        enough = lost + 10 ** math.floor(math.log10(lost)) / 2  # .1g then rounds it up
        raise ValueError(
            f"the grid {grid.low} to {grid.high} misses {lost:.3g} of the mass; widen it, or "
            f"allow it by missing={enough:.1g}"
        )
    return Density(grid, torch.from_numpy(mass))
