r"""Move a density between walls: implicit steps of the Markov chain on the cells.

    dm/dt = L(t) m

with the rates of `exponential_fitting`, which keep or take mass at each wall as it should be, where
the split steps of `splitting` would be of first order. A step from t to t + dt takes L at its
middle and is TR-BDF2, of second order and damping.

Source: Bank et al. 1985 for the step.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import splu
from torch import Tensor

from sdeflow.density import Density
from sdeflow.fokker_planck.cell_masses import CellMasses
from sdeflow.fokker_planck.exponential_fitting import fitted_rates
from sdeflow.sdes.sde import SDE
from sdeflow.sdes.walls import Box
from sdeflow.grid import Grid

GAMMA = 2 - math.sqrt(2)


class WalledSteps:
    """A density under an SDE with walls, stepped over a time grid."""

    def __init__(self, sde: SDE, start: Density, time_grid: Tensor) -> None:
        self.sde, self.time_grid = sde, time_grid
        self.cells = CellMasses(start, sde.walls)
        self._matrix, self._length = scipy.sparse.csc_matrix((0, 0)), 0.0

    def masses(self, times: Tensor) -> dict[float, np.ndarray]:
        """The cell masses at those of `times` that the time grid holds."""
        wanted = set(times.tolist())
        kept = {float(self.time_grid[0]): self.cells.mass}
        for start, stop in pairwise(self.time_grid.tolist()):
            self._step((start + stop) / 2, abs(stop - start))
            if stop in wanted:
                kept[stop] = self.cells.mass
        return kept

    def _step(self, middle: float, dt: float) -> None:
        matrix = fitted_rates(self.sde, self.cells.grid, middle, None).matrix
        if not (_equal(matrix, self._matrix) and abs(dt - self._length) < 1e-9 * dt):
            implicit = scipy.sparse.eye(matrix.shape[0]) - GAMMA / 2 * dt * matrix
            self._solve = splu(implicit.tocsc()).solve
            self._matrix, self._length = matrix, dt
        m = self.cells.mass.ravel()
        between = self._solve(m + GAMMA / 2 * dt * (matrix @ m))
        after = self._solve((between - (1 - GAMMA) ** 2 * m) / (GAMMA * (2 - GAMMA)))
        self.cells.take(after)


def _equal(a: scipy.sparse.csc_matrix, b: scipy.sparse.csc_matrix) -> bool:
    return a.nnz == b.nnz and a.shape == b.shape and bool(np.array_equal(a.data, b.data))


def check_grid_of_walls(walls: Box | None, grid: Grid) -> None:
    """Check that a grid ends at the walls.

    Raises:
        ValueError: it does not.
    """
    if walls is None:
        return
    for i, axis in enumerate(walls.axes(grid.dim)):
        for wall, end in ((axis.low, grid.low[i]), (axis.high, grid.high[i])):
            if math.isfinite(wall) and abs(wall - end) > 1e-6 * grid.width[i]:
                raise ValueError(
                    f"along axis {i} a wall stands at {wall:g} and the grid ends at {end:g}; give "
                    f"a Grid that ends at the walls, {walls}"
                )
