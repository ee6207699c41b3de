r"""A law on a grid: the mass in each cell.

    m_i = int_{cell i} p(x) dx,    sum_i m_i = 1 - (mass outside the box).

Masses, not point values: they are what a histogram counts, they add up under coarsening, and what
a conservative scheme keeps. So a cloud is compared with a law by counting it on the law's own
cells, never by interpolating the law to the particles (that alone makes p-values of 1e-35).

A `Density` holds float64: masses below 1e-7 of the whole, which float32 would lose, are what the
guards of a `history` look at. It is a torch tensor like everything else of ours; scipy works
on the same memory. What a solver knows of its own error rides along in `error`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_positive
from sdeflow.random_streams import Stream, random_generator

ROUND_OFF = 1e-15  # cells below this share of the whole hold nothing but rounding


@dataclass(frozen=True)
class Grid:
    """A box [low, high] of shape[0] (x shape[1]) equal cells, in one or two dimensions.

    Args:
        low, high: (d,) corners of the box; one number stands for all axes.
        shape: (d,) cells along each axis, at least 4 of them.

    Raises:
        TypeError, ValueError: not one or two axes, corners that do not fit or are out of order.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Bring the arguments into form and refuse what is no box."""
        cells = self.shape if np.iterable(self.shape) else (self.shape,)
        shape = tuple(check_int(n, "every entry of shape", 4) for n in cells)
        if len(shape) not in (1, 2):
            raise ValueError(f"a grid has one or two axes, got shape {shape}")
        low, high = (
            _corner(c, len(shape), n) for c, n in ((self.low, "low"), (self.high, "high"))
        )
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"low must lie below high on every axis, got {low} and {high}")
        for name, value in (("low", low), ("high", high), ("shape", shape)):
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """d."""
        return len(self.shape)

    @property
    def width(self) -> tuple[float, ...]:
        """h (d,), the sides of one cell."""
        return tuple((b - a) / n for a, b, n in zip(self.low, self.high, self.shape, strict=True))

    @property
    def volume(self) -> float:
        """prod_i h_i, of one cell."""
        return math.prod(self.width)

    def edges(self, axis: int) -> Tensor:
        """Faces of the cells along one axis, (n + 1,)."""
        ends = self.low[axis], self.high[axis]
        return torch.linspace(*ends, self.shape[axis] + 1, dtype=torch.float64)

    def middles(self, axis: int) -> Tensor:
        """Centres of the cells along one axis, (n,)."""
        edges = self.edges(axis)
        return (edges[1:] + edges[:-1]) / 2

    def centres(self) -> Tensor:
        """Centres of all cells as a cloud, (cells, d), the last axis fastest."""
        return _product([self.middles(i) for i in range(self.dim)])

    def corners(self) -> Tensor:
        """Corners of all cells as a cloud, (prod(n + 1), d), the last axis fastest."""
        return _product([self.edges(i) for i in range(self.dim)])

    def cell(self, x: Tensor) -> Tensor:
        """The number of the cell that holds each particle of x (n, d), (n,); -1 outside.

        Raises:
            TypeError, ValueError: x is no finite cloud in the grid's dimension.
        """
        check_cloud(x, dim=self.dim)
        which = torch.zeros(len(x), dtype=torch.int64)
        inside = torch.ones(len(x), dtype=torch.bool)
        for i, n in enumerate(self.shape):
            coordinate = x[:, i].detach().to("cpu", torch.float64).contiguous()
            k = torch.searchsorted(self.edges(i), coordinate, right=True) - 1
            k = torch.where(coordinate == self.high[i], n - 1, k)
            inside &= (k >= 0) & (k < n)
            which = which * n + k
        return torch.where(inside, which, -1)

    def count(self, x: Tensor) -> tuple[Tensor, int]:
        """How many particles of x (n, d) are in each cell, in `shape`, and how many outside.

        Raises:
            TypeError, ValueError: as `cell`.
        """
        which = self.cell(x)
        inside = which[which >= 0]
        counts = torch.bincount(inside, minlength=math.prod(self.shape))
        return counts.reshape(self.shape), len(which) - len(inside)

    def scaled(self, factor: float) -> Grid:
        """The grid of the points factor x, x in this one.

        Raises:
            TypeError, ValueError: factor is no positive number.
        """
        factor = check_positive(factor, "factor")
        low, high = (tuple(factor * c for c in ends) for ends in (self.low, self.high))
        return Grid(low, high, self.shape)

    def coarser(self, factor: int = 2) -> Grid:
        """The same box with cells `factor` times as wide.

        Raises:
            TypeError, ValueError: factor is no whole number, or does not divide the cells of an
                axis into 4 or more.
        """
        factor = check_int(factor, "factor")
        if any(n % factor for n in self.shape):
            raise ValueError(f"{self.shape} cells cannot be merged {factor} by {factor}")
        return Grid(self.low, self.high, tuple(n // factor for n in self.shape))

    def same(self, other: Grid) -> bool:
        """Whether the two have the same cells, up to rounding."""
        slack = 1e-9 * max(abs(c) for c in (*self.low, *self.high))
        pairs = zip((*self.low, *self.high), (*other.low, *other.high), strict=False)
        return self.shape == other.shape and all(abs(a - b) <= slack for a, b in pairs)


def _corner(value: float | Sequence[float], d: int, name: str) -> tuple[float, ...]:
    row = tuple(value) if np.iterable(value) else (value,) * d
    try:
        row = tuple(float(c) for c in row)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must hold numbers, got {value!r}") from None
    if len(row) != d or not all(math.isfinite(c) for c in row):
        raise ValueError(f"{name} must hold {d} finite numbers, one per axis, got {value!r}")
    return row


def _product(axes: list[Tensor]) -> Tensor:
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


@dataclass(frozen=True, eq=False)
class Density:
    """The mass in every cell of a grid; what is missing from 1 lies outside.

    Args:
        grid: the cells.
        mass: grid.shape, not negative; kept in float64.
        error: a solver's own estimate of the total variation to the law that is meant, or None.

    Raises:
        TypeError, ValueError: shape, NaN, negative masses, a total that is zero or above 1.
    """

    grid: Grid
    mass: Tensor
    error: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no law."""
        if not isinstance(self.mass, Tensor) or self.mass.is_complex():
            raise TypeError(f"mass must be a tensor of numbers, got {type(self.mass).__name__}")
        mass = self.mass.detach().to("cpu", torch.float64).contiguous()
        if mass.shape != self.grid.shape:
            raise ValueError(
                f"mass must be {self.grid.shape}, one number per cell, got {tuple(mass.shape)}"
            )
        if not torch.isfinite(mass).all():
            raise ValueError("mass has NaN or infinite cells; a law has none")
        if (mass < 0).any():
            raise ValueError(f"mass is negative in {int((mass < 0).sum())} cells; a law has none")
        total = float(mass.sum())
        if not 0 < total <= 1 + 1e-9:
            raise ValueError(f"the masses add up to {total:.6g}; divide them by their sum")
        object.__setattr__(self, "mass", mass)

    @staticmethod
    def from_samples(grid: Grid, x: Tensor) -> Density:
        """The shares of a cloud x (n, d) in the cells; particles outside stay in the count.

        Raises:
            TypeError, ValueError: x is no cloud in the grid's dimension, or wholly outside.
        """
        counts, outside = grid.count(x)
        if outside == len(x):
            raise ValueError(
                f"no particle lies in the grid {grid.low} to {grid.high}; move or widen it"
            )
        return Density(grid, counts.double() / len(x))

    def total(self) -> float:
        """sum_i m_i: the mass inside the grid."""
        return float(self.mass.sum())

    def normalised(self) -> Density:
        """The law given that x is inside the grid: total 1."""
        return replace(self, mass=self.mass / self.mass.sum())

    def mean(self) -> Tensor:
        """E[x] inside the grid, (d,)."""
        return torch.stack([row @ x for row, x in self._margins()])

    def covariance(self) -> Tensor:
        """Cov[x] inside the grid, (d, d).

        Of the law whose masses these are: rounding to centres adds h^2 / 12 to each variance,
        which is taken off again (Sheppard 1898; exact for laws smooth on the scale of a cell).
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
        """Per axis, the shares and centres of its cells."""
        d, share = self.grid.dim, self.mass / self.mass.sum()
        rows = [share] if d == 1 else [share.sum(1), share.sum(0)]
        return [(rows[i], self.grid.middles(i)) for i in range(d)]

    def marginal(self, axis: int) -> Density:
        """The law of one coordinate, on that axis of the grid.

        Raises:
            ValueError: there is no such axis.
        """
        if not -self.grid.dim <= axis < self.grid.dim:
            raise ValueError(f"axis must be 0 to {self.grid.dim - 1}, got {axis}")
        if self.grid.dim == 1:
            return self
        axis %= 2
        g = self.grid
        line = Grid((g.low[axis],), (g.high[axis],), (g.shape[axis],))
        return Density(line, self.mass.sum(1 - axis), self.error)

    def coarsen(self, factor: int = 2) -> Density:
        """The same law on cells `factor` times as wide.

        Raises:
            TypeError, ValueError: as `Grid.coarser`.
        """
        grid = self.grid.coarser(factor)
        blocks = [n for cells in grid.shape for n in (cells, factor)]
        mass = self.mass.reshape(blocks).sum(tuple(range(1, 2 * grid.dim, 2)))
        return Density(grid, mass, self.error)

    def scaled(self, factor: float) -> Density:
        """The law of factor x: the same masses on a grid of another size.

        Raises:
            TypeError, ValueError: factor is no positive number.
        """
        return replace(self, grid=self.grid.scaled(factor))

    def log_prob(self, x: Tensor) -> Tensor:
        """ln(m_i / volume) of the cell that holds each particle of x (n, d), (n,) in float64.

        It is constant in a cell, and -inf where there is no mass and outside the grid.

        Raises:
            TypeError, ValueError: x is no finite cloud in the grid's dimension.
        """
        which = self.grid.cell(x)
        height = torch.log(self.mass.reshape(-1) / self.grid.volume)
        return torch.where(which >= 0, height[which.clamp_min(0)], -math.inf)

    def sample(self, n: int, seed: int) -> Tensor:
        """n draws (n, d) in float64, uniform in their cells, from the law inside the grid; the
        first k of them are the draw of size k.

        Raises:
            TypeError, ValueError: n is no whole number from 1 on, or seed none from 0 on.
        """
        check_int(n, "n")
        check_int(seed, "seed", 0)
        edges = torch.cumsum(self.mass.reshape(-1), 0)
        u = torch.from_numpy(random_generator(seed, Stream.CHOICE).random(n)) * edges[-1]
        last = int(self.mass.reshape(-1).nonzero()[-1])
        which = torch.searchsorted(edges, u, right=True).clamp_max(last)
        part = (
            torch.from_numpy(random_generator(seed, Stream.DATA).random((n, self.grid.dim))) - 0.5
        )
        return self.grid.centres()[which] + part * torch.tensor(self.grid.width)

    def entropy(self) -> float:
        """-sum_i m_i ln(m_i / volume): -E[ln p] (nats), for a law that is 1 inside the grid."""
        m = self.mass[self.mass > 0]
        return -float((m * torch.log(m / self.grid.volume)).sum())

    def kl(self, other: Density) -> float:
        """sum_i m_i ln(m_i / n_i) (nats), the outside being one more cell.

        Masses below 1e-15 are rounding: where both laws are below it the cells are merged, and
        where only the other one is, it counts as 1e-15. So the sum is always finite.

        Raises:
            ValueError: the grids differ.
        """
        p, q = self._cells(other)
        small = torch.maximum(p, q) < ROUND_OFF
        p, q = (torch.cat([m[~small], m[small].sum()[None]]) for m in (p, q))
        p, q = p[p > 0], q[p > 0].clamp_min(ROUND_OFF)
        return float((p * torch.log(p / q)).sum())

    def total_variation(self, other: Density) -> float:
        """(1/2) sum_i |m_i - n_i|, the outside being one more cell; between 0 and 1.

        Raises:
            ValueError: the grids differ.
        """
        p, q = self._cells(other)
        return float((p - q).abs().sum() / 2)

    def _cells(self, other: Density) -> tuple[Tensor, Tensor]:
        if not self.grid.same(other.grid):
            raise ValueError(
                f"the two laws stand on different grids: {self.grid} and {other.grid}; bring "
                "them to one first"
            )
        rows = [torch.cat([m.reshape(-1), 1 - m.sum()[None]]) for m in (self.mass, other.mass)]
        return rows[0].clamp_min(0), rows[1].clamp_min(0)


def captured(mass: np.ndarray, grid: Grid, missing: float) -> Density:
    """The density of these cell masses, if no more than `missing` of 1 lies outside the grid.

    Raises:
        ValueError: more is missing.
    """
    lost = 1 - float(mass.sum())
    if lost > missing:
        raise ValueError(
            f"the grid {grid.low} to {grid.high} misses {lost:.3g} of the mass; widen it, or "
            f"allow it by missing={lost:.1g}"
        )
    return Density(grid, torch.from_numpy(mass))
