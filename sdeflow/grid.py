r"""Grids: a box of one or two dimensions, cut into equal cells.

Cells are counted with the last axis fastest, as numpy and torch do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_positive


@dataclass(frozen=True)
class Grid:
    """Equal cells, shape[0] (x shape[1]) of them, in a box [low, high] of one or two dimensions.

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
        """Check the arguments and make tuples of them."""
        cells = self.shape if np.iterable(self.shape) else (self.shape,)
        shape = tuple(check_int(n, "every entry of shape", 4) for n in cells)
        if len(shape) not in (1, 2):
            raise ValueError(f"a grid has one or two axes, got shape {shape}")
        low, high = (
            _corner(c, len(shape), n) for c, n in ((self.low, "low"), (self.high, "high"))
        )
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise ValueError(f"low must lie below high on every axis, got {low} and {high}")
        if any(b - a <= 1e-12 * n * max(-a, b) for a, b, n in zip(low, high, shape, strict=True)):
            raise ValueError(
                f"the cells between {low} and {high} are as narrow as the rounding errors of "
                "positions there; measure positions from a point in the grid"
            )
        for name, value in (("low", low), ("high", high), ("shape", shape)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        """In words."""
        return f"grid of {self}"

    def __str__(self) -> str:
        """The cells and the box, as a part of a sentence."""
        box = " x ".join(f"[{a:g}, {b:g}]" for a, b in zip(self.low, self.high, strict=True))
        return f"{' x '.join(map(str, self.shape))} cells in {box}"

    @property
    def dim(self) -> int:
        """d."""
        return len(self.shape)

    @property
    def width(self) -> tuple[float, ...]:
        """h (d,), the sides of a cell (length)."""
        return tuple((b - a) / n for a, b, n in zip(self.low, self.high, self.shape, strict=True))

    @property
    def volume(self) -> float:
        """prod_i h_i, the volume of a cell."""
        return math.prod(self.width)

    def edges(self, axis: int) -> Tensor:
        """Faces of the cells along one axis, (n + 1,).

        Raises:
            TypeError, ValueError: there is no such axis.
        """
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
        """The index of the cell that each particle of x (n, d) is in, (n,); -1 outside.

        Raises:
            TypeError, ValueError: x is no finite cloud of the grid's dimension.
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
        """The number of particles of x (n, d) in each cell, in `shape`, and the number outside.

        Raises:
            TypeError, ValueError: x is no finite cloud of the grid's dimension.
        """
        which = self.cell(x)
        inside = which[which >= 0]
        counts = torch.bincount(inside, minlength=math.prod(self.shape))
        return counts.reshape(self.shape), len(which) - len(inside)

    def scaled(self, factor: float) -> Grid:
        """The grid with all lengths multiplied by `factor`.

        Raises:
            TypeError, ValueError: factor is no positive number.
        """
        factor = check_positive(factor, "factor")
        low, high = (tuple(factor * c for c in ends) for ends in (self.low, self.high))
        return Grid(low, high, self.shape)

    def coarser(self, factor: int = 2) -> Grid:
        """The same box with cells `factor` times as wide.

        Raises:
            TypeError, ValueError: factor is no whole number, or the cells of an axis cannot be
                merged into 4 or more.
        """
        factor = check_int(factor, "factor")
        if any(n % factor for n in self.shape):
            raise ValueError(f"{self.shape} cells cannot be merged {factor} by {factor}")
        return Grid(self.low, self.high, tuple(n // factor for n in self.shape))

    def same(self, other: Grid) -> bool:
        """Whether the two have the same cells, up to 1e-6 of a cell.

        Raises:
            TypeError: other is no Grid.
        """
        check_grid(other)
        if self.shape != other.shape:
            return False
        return all(
            abs(a - b) <= 1e-6 * h + 1e-15 * abs(a)
            for p, q in ((self.low, other.low), (self.high, other.high))
            for a, b, h in zip(p, q, self.width, strict=True)
        )


def check_grid(grid: object) -> None:
    """Check that an argument is a Grid.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(grid, Grid):
        raise TypeError(
            f"grid must be a Grid, got {type(grid).__name__}; make one by Grid(low, high, shape)"
        )


def check_axis(axis: int, dim: int) -> int:
    """An axis, from -dim to dim - 1, as one from 0 on.

    Raises:
        TypeError, ValueError: there is no such axis.
    """
    axis = check_int(axis, "axis", -dim)
    if axis >= dim:
        raise ValueError(f"axis must be 0 to {dim - 1}, got {axis}")
    return axis % dim


def _corner(value: float | Sequence[float], d: int, name: str) -> tuple[float, ...]:
    row = tuple(value) if np.iterable(value) else (value,) * d
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        row = tuple(float(c) for c in row)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must hold numbers, got {' '.join(repr(value).split())}") from None
    if len(row) != d or not all(math.isfinite(c) for c in row):
        got = " ".join(repr(value).split())
        raise ValueError(f"{name} must hold {d} finite numbers, one per axis, got {got}")
    return row


def _product(axes: list[Tensor]) -> Tensor:
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
