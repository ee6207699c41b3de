r"""Move a density between walls: implicit steps of the Markov chain on the cells.

    d(W m)/dt = A m

With L_i the rates along axis i (`exponential_fitting`), D_i = g_i^2 / 2 and cells of width h_i,

    W_i = 1 + (h_i^2 / 12) L_i / D_i,    W = W_1 W_2,    A = W_2 L_1 + W_1 L_2.

The fitted rates differ from the Fokker-Planck operator by (h^2 / 12 D) L^2, which W takes away:
where drift and noise are constant the scheme is of fourth order, else of second order. Cells that
are wide for the noise have W = 1, and there it is of first order. The split steps of `splitting`
would lose their order at a wall that the drift carries mass onto. A step is TR-BDF2, with the
coefficients of its middle.

Source: Bank et al. 1985 for the step.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from sdeflow.density import Density
from sdeflow.fokker_planck.cell_masses import CellMasses
from sdeflow.fokker_planck.exponential_fitting import centre_noise, rates_along
from sdeflow.grid import Grid
from sdeflow.sdes.sde import SDE
from sdeflow.sdes.walls import Box

GAMMA = 2 - math.sqrt(2)


class WalledSteps:
    """A density under an SDE with walls, stepped over a time grid."""

    def __init__(self, sde: SDE, start: Density, time_grid: Tensor) -> None:
        self.sde, self.time_grid = sde, time_grid
        self.cells = CellMasses(start, sde.walls)
        self._rates, self._length = list[scipy.sparse.csc_matrix](), 0.0

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
        """TR-BDF2 of dm/dt = L m."""
        rates = [
            rates_along(self.sde, self.cells.grid, middle, i, None).matrix
            for i in range(len(self.cells.shape))
        ]
        same = len(self._rates) and abs(dt - self._length) < 1e-9 * dt
        if not (same and all(map(_equal, rates, self._rates))):
            self._rates, self._length = rates, dt
            self._weights, self._matrix = self._compact(rates, middle)
            self._solve = splu((self._weights - GAMMA / 2 * dt * self._matrix).tocsc()).solve
        m = self.cells.mass.ravel()
        held = self._weights @ m
        between = self._weights @ self._solve(held + GAMMA / 2 * dt * (self._matrix @ m))
        after = self._solve((between - (1 - GAMMA) ** 2 * held) / (GAMMA * (2 - GAMMA)))
        self.cells.take(after)

    def _compact(
        self, rates: list[scipy.sparse.csc_matrix], t: float
    ) -> tuple[scipy.sparse.csc_matrix, scipy.sparse.csc_matrix]:
        """W and A of the scheme d(W m)/dt = A m."""
        grid = self.cells.grid
        one = scipy.sparse.identity(math.prod(grid.shape), format="csc")
        weights = [one] * grid.dim
        noise, mild = centre_noise(self.sde, grid, t), all(map(_mild, rates))
        if not mild:
            self.cells.share = 1.0
        if noise is not None and mild:
            weights = [
                one + rate @ scipy.sparse.diags(h * h / 12 / spread)
                for rate, h, spread in zip(rates, grid.width, noise, strict=True)
            ]
        if grid.dim == 1:
            return weights[0], rates[0]
        x, y = weights
        return x @ y, y @ rates[0] + x @ rates[1]


def _mild(rates: scipy.sparse.csc_matrix) -> bool:
    """Whether the rates in both directions across each face are of one size, |P| < 1."""
    there, back = rates.tocoo(), rates.T.tocsr()
    off = there.row != there.col
    pairs = np.asarray(back[there.row[off], there.col[off]]).ravel()
    return bool((there.data[off] < math.e * pairs).all())


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
