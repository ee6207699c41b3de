r"""A time-independent SDE as a Markov chain on the cells of a grid: dm/dt = L m.

One sparse matrix L then answers what one asks about long times, by linear algebra:

    L m = 0                       the stationary density
    e^{time L} m                  any density, later
    L^T tau = -1                  mean first-passage times
    L v = -k v                    relaxation rates k

The rates between two cells are exact for constant drift and noise (exponential fitting). All are
positive, whatever the drift, and the columns of L add up to zero. The Boltzmann density of a given
potential is stationary up to rounding, because detailed balance holds for each pair of cells.

Source: Scharfetter and Gummel 1969; Chang and Cooper 1970.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from scipy.sparse import linalg
from torch import Tensor

from sdeflow._validation import SdeflowError, check_int, check_positive
from sdeflow.density import Density, Grid
from sdeflow.sdes.coefficients import checked_diffusion, checked_drift
from sdeflow.sdes.sde import SDE


@dataclass(frozen=True, eq=False)
class MarkovGenerator:
    """The generator L of a Markov chain on the cells, dm/dt = L m, with reflecting walls.

    Attributes:
        grid: the cells.
        matrix: L (cells, cells), sparse: rates from column to row, 1 / time, and a diagonal that
            makes each column add up to zero.
    """

    grid: Grid
    matrix: scipy.sparse.csc_matrix

    def __repr__(self) -> str:
        """In words."""
        return f"Markov generator on {self.grid}"

    def rate(self, density: Density) -> Tensor:
        """dm/dt = L m, in the grid's shape.

        Raises:
            ValueError: the density has another grid.
        """
        return self._shaped(self.matrix @ self._row(density))

    def propagate(self, density: Density, time: float) -> Density:
        """exp(time L) m, time >= 0.

        Raises:
            TypeError, ValueError: time is negative or no number, or the density has another grid.
        """
        check_positive(time, "time", zero=True)
        mass = linalg.expm_multiply(self.matrix * time, self._row(density))
        mass = np.maximum(mass, 0.0)
        return Density(self.grid, self._shaped(mass * (density.total() / mass.sum())))

    def stationary(self) -> Density:
        """The stationary density: L m = 0, total 1.

        Raises:
            SdeflowError: it is not unique, because some cells cannot be reached from others.
        """
        # Fix the mass of one cell and solve for the rest. A cell with little mass would lose it
        # to rounding, so take the one in which the chain spends most of its time.
        size, scale = self.matrix.shape[0], float(abs(self.matrix.diagonal()).max())
        if scale == 0:
            raise SdeflowError("this SDE has no unique stationary density: its rates are all zero")
        stay = scipy.sparse.identity(size, format="csc") * (1e-9 * scale) - self.matrix
        mass = self._null(int(np.argmax(linalg.splu(stay.tocsc()).solve(np.ones(size)))))
        return Density(self.grid, self._shaped(mass / mass.sum()))

    def _null(self, pinned: int) -> np.ndarray:
        """The null vector of L that is 1 in one cell."""
        free = np.delete(np.arange(self.matrix.shape[0]), pinned)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", linalg.MatrixRankWarning)
            block = self.matrix[free][:, free].tocsc()
            rest = linalg.spsolve(block, -self.matrix[free][:, [pinned]].toarray()[:, 0])
        if not np.isfinite(rest).all():
            raise SdeflowError("this SDE has no unique stationary density on this grid")
        row: np.ndarray = np.insert(np.maximum(rest, 0.0), pinned, 1.0)
        return row

    def passage_time(self, target: Tensor) -> Tensor:
        r"""The mean time to reach the cells of `target` (bool, shape) from each cell, (shape).

        L^T tau = -1 outside the target, tau = 0 in it; the target begins at its cells' centres.

        Raises:
            ValueError: target of another shape or kind, or empty.
        """
        if target.dtype != torch.bool or target.shape != self.grid.shape or not target.any():
            raise ValueError(
                f"target must be a boolean {self.grid.shape} with at least one true cell, got "
                f"{target.dtype} {tuple(target.shape)}"
            )
        free = np.flatnonzero(~target.numpy().ravel())
        tau = np.zeros(self.matrix.shape[0])
        block = self.matrix[free][:, free].T.tocsc()
        tau[free] = linalg.spsolve(block, -np.ones(len(free)))
        return self._shaped(tau)

    def relaxation_rates(self, count: int = 4) -> Tensor:
        """The `count` smallest relaxation rates, complex (count,), sorted by real part.

        They are minus the eigenvalues of L next to 0 (1 / time), real if the chain is reversible.

        Raises:
            TypeError, ValueError: count is no whole number from 1 on.
        """
        check_int(count, "count")
        scale = float(abs(self.matrix.diagonal()).max())
        start = np.random.default_rng(0).standard_normal(self.matrix.shape[0])
        found = linalg.eigs(
            self.matrix, count + 1, sigma=1e-9 * scale, v0=start, return_eigenvectors=False
        )
        rates = -found[np.argsort(-found.real)][1:]
        return torch.from_numpy(rates.astype(np.complex128))

    def _row(self, density: Density) -> np.ndarray:
        if not density.grid.same(self.grid):
            raise ValueError("the density has another grid than the generator; use generator.grid")
        row: np.ndarray = density.mass.numpy().ravel()
        return row

    def _shaped(self, row: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(row)).reshape(self.grid.shape)


def markov_generator(
    sde: SDE, grid: Grid, *, t: float | None = None, potential: Tensor | None = None
) -> MarkovGenerator:
    r"""The generator of an SDE frozen at one time, by exponential fitting.

    Between neighbouring cells: rate right = D B(-P) / h^2, left = D B(P) / h^2, with D = g^2 / 2,
    B(z) = z / (e^z - 1) and P = f h / D at the face. With a potential P is minus its difference
    between the cells, and the Boltzmann density is exactly stationary.

    Args:
        t: where drift and diffusion are read, t_start by default; an SDE that runs down in t is
            read in the order of the run.
        potential: U / kT at the centres, in the grid's shape, where f = -D grad U / kT: used
            instead of the drift.

    Raises:
        ValueError: shapes that do not fit.
        SdeflowError: drift or diffusion is NaN or infinite.

    Source: Scharfetter and Gummel 1969; for many dimensions Heida, Kantner and Stephan 2020.
    """
    when = torch.tensor(sde.t_start if t is None else float(t), dtype=torch.float64)
    if potential is not None and potential.shape != grid.shape:
        raise ValueError(
            f"potential must be {grid.shape}, one number per cell, got {tuple(potential.shape)}"
        )
    sign = sde.direction
    cells = np.arange(math.prod(grid.shape)).reshape(grid.shape)
    rows, columns, rates = [], [], []
    for i, h in enumerate(grid.width):
        here, there = (np.take(cells, range(j, grid.shape[i] - 1 + j), i).ravel() for j in (0, 1))
        axes = [grid.edges(j)[1:-1] if j == i else grid.middles(j) for j in range(grid.dim)]
        faces = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dim)
        spread, tilt = _face_noise(sde, grid, faces, when, i)
        if potential is not None:
            u = potential.double().numpy().ravel()
            drift = -(u[there] - u[here]) * spread / h
        else:
            drift = sign * _face_drift(sde, faces, when)[:, i] - tilt
        right, left = _fitted(drift * h, spread)
        for source, sink, rate in ((here, there, right), (there, here, left)):
            rows += [sink, source]
            columns += [source, source]
            rates += [rate / h**2, -rate / h**2]
    size = cells.size
    matrix = scipy.sparse.coo_matrix(
        (np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns))), (size, size)
    )
    return MarkovGenerator(grid, matrix.tocsc())


def _face_drift(sde: SDE, x: Tensor, t: Tensor) -> np.ndarray:
    with torch.no_grad():
        out: np.ndarray = checked_drift(sde.drift(x, t), x, t).numpy()
    return out


def _face_noise(
    sde: SDE, grid: Grid, x: Tensor, t: Tensor, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """D and `tilt` on the faces across one axis; the current is (f - tilt) p - D grad p.

    tilt is D' for Ito and D' / 2 for Stratonovich.
    """
    if sde.diffusion is None:
        return np.zeros(len(x)), np.zeros(len(x))

    def half_square(at: Tensor) -> np.ndarray:
        assert sde.diffusion is not None
        with torch.no_grad():
            g = checked_diffusion(sde.diffusion(at, t), at, t).double()
        each = g[:, axis] if g.ndim else g.expand(len(at))
        out: np.ndarray = (each**2 / 2).numpy()
        return out

    step = torch.zeros(grid.dim, dtype=torch.float64)
    step[axis] = grid.width[axis] / 2
    slope = (half_square(x + step) - half_square(x - step)) / grid.width[axis]
    return half_square(x), slope if sde.calculus == "ito" else slope / 2


def _fitted(drift: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D B(-P) and D B(P) with P = drift / D; upwind where D = 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        peclet = drift / spread
        small = abs(peclet) < 1e-8
        left = np.where(small, spread - drift / 2, drift / np.expm1(peclet))
        right = np.where(small, spread + drift / 2, -drift / np.expm1(-peclet))
    still = (spread == 0) | ~np.isfinite(peclet)
    left = np.where(still, np.maximum(-drift, 0.0), left)
    return np.where(still, np.maximum(drift, 0.0), right), left
