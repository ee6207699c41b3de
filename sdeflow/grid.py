"""Divide a box of one or two dimensions into equal cells: `Grid`.

Cells are numbered with the last axis fastest, as in numpy and torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import as_numbers, check_cloud, check_int, check_kind, check_positive


@dataclass(frozen=True)
class Grid:
    """A box [low, high] of one or two dimensions, divided into equal cells.

    Args:
        low, high: (d,) corners of the box (length); one number stands for all axes.
        shape: (d,) the number of cells along each axis, at least 4.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        cells = self.shape if np.iterable(self.shape) else (self.shape,)
        shape = tuple(check_int(n, "every entry of shape", 4) for n in cells)
        if len(shape) not in (1, 2):
            raise ValueError(f"a grid has one or two axes, got shape {shape}")
        low, high = (
            _corner(c, len(shape), n) for c, n in ((self.low, "low"), (self.high, "high"))
        )
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"low must lie below high on every axis, got {low} and {high}")
        if not all(1e-152 <= b - a <= 1e152 for a, b in zip(low, high, strict=True)):
            raise ValueError(f"a grid must be 1e-152 to 1e152 wide, got {low} to {high}; rescale")
        if any(b - a <= 1e-12 * n * max(-a, b) for a, b, n in zip(low, high, shape, strict=True)):
            raise ValueError(
                f"the cells between {low} and {high} are as narrow as the rounding errors of "
                "positions there; measure positions from a point in the grid"
            )
        for name, value in (("low", low), ("high", high), ("shape", shape)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"grid of {self}"

    def __str__(self) -> str:
        box = " x ".join(f"[{a:g}, {b:g}]" for a, b in zip(self.low, self.high, strict=True))
        return f"{' x '.join(map(str, self.shape))} cells in {box}"

    @property
    def dim(self) -> int:
        """d, the number of axes."""
        return len(self.shape)

    @property
    def width(self) -> tuple[float, ...]:
        """h (d,), the widths of a cell along each axis (length)."""
        return tuple((b - a) / n for a, b, n in zip(self.low, self.high, self.shape, strict=True))

    @property
    def volume(self) -> float:
        """prod_i h_i, the volume of a cell."""
        return math.prod(self.width)

    def edges(self, axis: int) -> Tensor:
        """Edges of the cells along one axis, (n + 1,)."""
        axis = check_axis(axis, self.dim)
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

        It is found on the CPU in float64, and lies on the device of x.
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
        return torch.where(inside, which, -1).to(x.device)

    def count(self, x: Tensor) -> tuple[Tensor, int]:
        """The number of particles of x (n, d) in each cell, (*shape), and the number outside."""
        which = self.cell(x).cpu()
        inside = which[which >= 0]
        counts = torch.bincount(inside, minlength=math.prod(self.shape))
        return counts.reshape(self.shape), len(which) - len(inside)

    def scaled(self, factor: float) -> Grid:
        """The grid with all lengths multiplied by `factor`."""
        factor = check_positive(factor, "factor")
        low, high = (tuple(factor * c for c in ends) for ends in (self.low, self.high))
        return Grid(low, high, self.shape)

    def coarser(self, factor: int = 2) -> Grid:
        """The same box with cells `factor` times as wide; at least 4 must be left on each axis."""
        factor = check_int(factor, "factor")
        if any(n % factor for n in self.shape):
            raise ValueError(
                f"{' x '.join(map(str, self.shape))} cells cannot be merged {factor} by {factor}; "
                "take a factor that divides them"
            )
        return Grid(self.low, self.high, tuple(n // factor for n in self.shape))

    def same(self, other: Grid) -> bool:
        """Whether two grids have the same cells, up to 1e-6 of a cell."""
        check_grid(other)
        if self.shape != other.shape:
            return False
        return all(
            abs(a - b) <= 1e-6 * h + 1e-15 * abs(a)
            for p, q in ((self.low, other.low), (self.high, other.high))
            for a, b, h in zip(p, q, self.width, strict=True)
        )


def check_grid(grid: object) -> Grid:
    """Return `grid` if it is a Grid."""
    return check_kind(grid, Grid, "grid", "make one by Grid(low, high, shape)")


def check_axis(axis: int, dim: int) -> int:
    """Return an axis, from -dim to dim - 1, as a number from 0 to dim - 1."""
    axis = check_int(axis, "axis", -dim)
    if axis >= dim:
        raise ValueError(f"axis must be 0 to {dim - 1}, got {axis}")
    return axis % dim


def _corner(value: object, d: int, name: str) -> tuple[float, ...]:
    row = as_numbers(value, name)
    row = row if row.ndim else row.expand(d)
    if row.shape != (d,) or not torch.isfinite(row).all():
        raise ValueError(
            f"{name} must hold {d} finite numbers, one per axis, got {row.tolist()!r:.60}"
        )
    return tuple(row.tolist())


def _product(axes: list[Tensor]) -> Tensor:
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
