r"""Compute stationary densities, passage times and relaxation rates of a time-independent SDE.

The SDE becomes a Markov chain on the cells of a grid, dm/dt = L m, with one sparse matrix L:

    L m = 0                       the stationary density
    e^{time L} m                  a density after a time, however long
    L^T tau = -1                  mean first-passage times
    L v = -k v                    relaxation rates k

All rates are positive for any drift (`exponential_fitting`), and nothing is subtracted
(`elimination`): events that are rarer than rounding errors, such as the crossing of a barrier of
60 kT, have the right rate. Wide cells add numerical diffusion, so each result is compared with
that on cells twice as wide, and an estimated error above a limit raises.

Source: Scharfetter and Gummel 1969; Grassmann, Taksar and Heyman 1985.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_int, check_kind, check_positive
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.arguments import (
    check_potential,
    check_rates,
    check_refuse,
    check_target,
    check_time,
    on_axes_of,
)
from sdeflow.fokker_planck.density_path import REFUSE, WARN, Diagnostics, can_be_coarsened
from sdeflow.fokker_planck.elimination import Elimination, closed_classes, reaching
from sdeflow.fokker_planck.exponential_fitting import NumericalDiffusion, fitted_rates
from sdeflow.fokker_planck.long_times import propagated
from sdeflow.fokker_planck.relaxation import slowest_rates
from sdeflow.sdes.coefficients import check_each_alone
from sdeflow.sdes.sde import SDE, check_sde

AS_DISTANCE = 1 / 3  # the total variation that a relative change 1 of a variance causes, about


@dataclass(frozen=True, eq=False)
class MarkovGenerator:
    """The generator L of a Markov chain on the cells of a grid, with reflecting walls.

        dm/dt = L m    for the cell masses m

    Attributes:
        grid: the cells.
        matrix: L (cells, cells), sparse: rates from column to row (1 / time), and a diagonal that
            makes each column add up to zero.
        coarse: the generator of the same SDE on cells twice as wide, to estimate errors; None for
            no estimates.
        refuse: an estimated error above `refuse.error` raises, one above `WARN.error` warns.
    """

    grid: Grid
    matrix: scipy.sparse.csc_matrix
    coarse: MarkovGenerator | None = None
    refuse: Diagnostics = REFUSE

    def __post_init__(self) -> None:
        """Check the rates."""
        check_kind(self.grid, Grid, "grid")
        check_refuse(self.refuse)
        object.__setattr__(self, "matrix", check_rates(self.matrix, self.grid))

    def __repr__(self) -> str:
        """In words."""
        return f"Markov generator on {self.grid}"

    def rate(self, density: Density) -> Tensor:
        """The rate at which the masses of a density change, dm/dt = L m, in the grid's shape."""
        return self._shaped(self.matrix @ self._row(density))

    def propagate(self, density: Density, time: float) -> Density:
        """The density after a time >= 0, exp(time L) m.

        Raises:
            SdeflowError: the cells are too wide, or the motion is hardly damped over a long time.
        """
        row, order = self._row(density), self._order
        span = check_positive(time, "time", zero=True)
        mass = np.empty(len(row))
        mass[order] = propagated(self.matrix[order][:, order].tocsc(), row[order], span)
        mass = np.maximum(mass, 0.0)
        later = Density(self.grid, self._shaped(mass * (density.total() / mass.sum())))
        if self.coarse is None:
            return later
        change = _change(later, self.coarse.propagate(density.coarsen(), span))
        what = "the density, a total variation,"
        error = self._checked(change, what, later.mass.numpy().ravel(), span)
        return Density(self.grid, later.mass, error)

    def stationary(self) -> Density:
        """The stationary density, L m = 0, of total mass 1.

        Raises:
            SdeflowError: it is not unique, because some cells cannot be reached from others; or
                the cells are too wide.
        """
        density = Density(self.grid, self._shaped(self._stationary))
        if self.coarse is None:
            return density
        wide = Density(self.coarse.grid, self.coarse._shaped(self.coarse._typical))
        error = self._checked(
            _change(density, wide),
            "the stationary density, a total variation,",
            self._stationary,
        )
        return Density(self.grid, density.mass, error)

    def passage_time(self, target: Tensor) -> Tensor:
        r"""The mean time to reach a set of cells from each cell, (shape).

            L^T tau = -1 outside the target, tau = 0 in it

        The target begins at the centres of its cells. The time is infinite from cells from which
        the target may never be reached.

        Args:
            target: bool, (shape), true in the cells of the target.

        Raises:
            SdeflowError: the cells are too wide.
        """
        inside = check_target(target, self.grid)
        tau = self._mean_time(inside.ravel(), np.zeros(inside.size))
        finite = np.isfinite(tau)
        if self.coarse is None or not tau[finite].any():
            return self._shaped(tau)
        # On wide cells the times next to the target are given, so that the boundary is the same.
        times, near = _blocks(tau, self.grid), _blocks(inside.ravel() * 1.0, self.grid) > 0
        known = (near | _neighbours(near, self.coarse.grid)) & np.isfinite(times)
        free = np.isfinite(times) & ~known
        if free.any():
            wide = self.coarse._mean_time(known, np.where(known, times, 0.0))
            change = float(abs(wide - times)[free].max() / times[free].max())
            self._checked(change, "the passage time, over its largest value,", self._typical)
        return self._shaped(tau)

    def relaxation_rates(self, count: int = 4) -> Tensor:
        """The `count` smallest relaxation rates k, complex (count,), sorted by real part.

            L v = -k v    (1 / time), real if the chain is reversible

        Raises:
            SdeflowError: the stationary density is not unique, or the cells are too wide.
        """
        most = self.matrix.shape[0] - 3
        if check_int(count, "count") > most:
            raise ValueError(f"count must be at most {most} on this grid, got {count}")
        rates = self._rates(count)
        if self.coarse is not None:
            wide = self.coarse._rates(min(count + 2, self.coarse.matrix.shape[0] - 3))
            nearest = abs(rates[:, None] - wide).min(1)
            worst = int((nearest / abs(rates)).argmax())
            self._checked(
                float((nearest / abs(rates))[worst]),
                f"relaxation rate {worst + 1} of {count}, over its value,",
                self._stationary,
            )
        return torch.from_numpy(rates)

    @cached_property
    def _order(self) -> np.ndarray:
        """The cells, line by line along the shorter axis, so that the band of L is narrow."""
        cells = np.arange(math.prod(self.grid.shape)).reshape(self.grid.shape)
        return (cells.T if cells.ndim == 2 and len(cells) < cells.shape[1] else cells).ravel()

    @cached_property
    def _stationary(self) -> np.ndarray:
        """The stationary masses, (cells,)."""
        closed = closed_classes(self.matrix)
        if len(closed) > 1:
            raise SdeflowError(
                f"this SDE has no unique stationary density on this grid, because {len(closed)} "
                "sets of cells are never left; add noise, use finer cells, or a grid around one "
                "set"
            )
        order = self._order[closed[0][self._order]]
        log = Elimination(self.matrix[order][:, order], np.zeros(len(order))).log_null()
        mass = np.zeros(self.matrix.shape[0])
        mass[order] = np.exp(log - log.max())
        return mass / mass.sum()

    @property
    def _typical(self) -> np.ndarray:
        """The stationary masses, or equal ones where they are not unique."""
        try:
            return self._stationary
        except SdeflowError:
            cells = self.matrix.shape[0]
            return np.full(cells, 1 / cells)

    def _mean_time(self, known: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The solution of L^T tau = -1 where `known` is false, tau = times elsewhere; (cells,)."""
        never = ~reaching(self.matrix, known)
        infinite = reaching(self.matrix @ scipy.sparse.diags(1.0 * ~known), never)
        order = self._order[~(known | infinite)[self._order]]
        tau = np.where(infinite & ~known, np.inf, times)
        if len(order):
            into = self.matrix[known][:, order]
            chain = Elimination(self.matrix[order][:, order], np.asarray(into.sum(0)).ravel())
            found = chain.solve(1 + into.T @ times[known], transposed=True)
            tau[order] = np.where(np.isfinite(found), found, np.inf)  # beyond 1e308
        return tau

    def _rates(self, count: int) -> np.ndarray:
        order = self._order
        matrix = self.matrix[order][:, order].tocsc()
        return slowest_rates(matrix, self._stationary[order], count).astype(np.complex128)

    def _checked(
        self, change: float, what: str, mass: np.ndarray, time: float = math.inf
    ) -> float:
        """The estimated error of a result that cells twice as wide change by `change`.

        Raises:
            SdeflowError: it is above the limit.
        """
        added = NumericalDiffusion(self.matrix, mass, self.grid)
        widened = min(added.added, added.rate * time) if added.rate else 0.0
        error = max(change * added.remaining, min(1.0, widened * AS_DISTANCE))
        axis = int(np.argmax(added.peclet))
        told = (
            f"the error of {what} is about {error:.2g}, because the cells are wide (along axis "
            f"{axis} the cell Peclet number |f| h / D is {added.peclet[axis]:.2g}); use finer "
            "cells, `evolve`, or particles"
        )
        if error > self.refuse.error:
            raise SdeflowError(f"{told} (refused above {self.refuse.error:g})")
        if error > WARN.error:
            warnings.warn(told, RuntimeWarning, stacklevel=3)
        return error

    def _row(self, density: Density) -> np.ndarray:
        check_kind(density, Density, "density")
        if not density.grid.same(self.grid):
            raise ValueError("the density has another grid than the generator; use generator.grid")
        row: np.ndarray = density.mass.numpy().ravel()
        return row

    def _shaped(self, row: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(row)).reshape(self.grid.shape)


def markov_generator(
    sde: SDE,
    grid: Grid,
    *,
    t: float | None = None,
    potential: Tensor | None = None,
    estimate: bool = True,
    refuse: Diagnostics = REFUSE,
) -> MarkovGenerator:
    r"""The Markov generator of an SDE on a grid, with drift and diffusion at one time.

        rate right = D B(-P) / h^2,    rate left = D B(P) / h^2,    B(z) = z / (e^z - 1)

    between neighbouring cells, with D = g^2 / 2 and P = f h / D at the face. With a potential, P
    is minus its difference between the cells, and the Boltzmann density is exactly stationary.

    Args:
        sde: any SDE; if it runs down in t, so does the chain.
        grid: the cells.
        t: the time of drift and diffusion, t_start by default.
        potential: U / kT at the centres, in the grid's shape, where f = -D grad U / kT; it takes
            the place of the drift.
        estimate: compare each result with that on cells twice as wide. Where cells cannot be
            merged two by two, the error is estimated from the numerical diffusion alone.
        refuse: a result with an estimated error above `refuse.error` raises: a total variation
            for densities, relative for times and rates.

    Raises:
        SdeflowError: drift or diffusion is NaN or infinite.

    Source: Scharfetter and Gummel 1969; for many dimensions Heida, Kantner and Stephan 2020.
    """
    check_sde(sde)
    check_kind(grid, Grid, "grid", "make one by Grid(low, high, shape)")
    check_refuse(refuse)
    when = sde.t_start if t is None else check_time(sde, t)
    energy = None if potential is None else check_potential(potential, grid)
    with on_axes_of(grid):
        matrix = fitted_rates(sde, grid, when, energy)
        if energy is None:
            check_each_alone(sde, grid.centres(), when)
        coarse = None
        if estimate and can_be_coarsened(grid):
            wide = grid.coarser()
            merged = None
            if energy is not None:  # a merged cell has the free energy of its parts
                least = energy.min()
                mean = _blocks(np.exp(-(energy - least).numpy().ravel()), grid)
                merged = least - torch.from_numpy(np.log(mean)).reshape(wide.shape)
            coarse = MarkovGenerator(wide, fitted_rates(sde, wide, when, merged), None, refuse)
    generator = MarkovGenerator(grid, matrix, coarse, refuse)
    if estimate and coarse is None:  # the numerical diffusion is known without coarse cells
        generator._checked(0.0, "the stationary density, a total variation,", generator._typical)
    return generator


def _change(density: Density, wide: Density) -> float:
    """The total variation between a density and one on cells twice as wide, or more.

    The relative change of the variances counts too: the total variation is bounded, and does not
    grow where both densities are far from the exact one.
    """
    here = density.coarsen()
    square = torch.tensor(wide.grid.width, dtype=torch.float64) ** 2
    variances = [p.covariance().diagonal() for p in (here, wide)]
    grown = abs(variances[0] - variances[1]) / torch.maximum(variances[0], square)
    return max(here.total_variation(wide), min(1.0, AS_DISTANCE * float(grown.max())))


def _blocks(row: np.ndarray, grid: Grid) -> np.ndarray:
    """The means of a row (cells,) over cells twice as wide."""
    shape = [n for cells in grid.shape for n in (cells // 2, 2)]
    mean: np.ndarray = row.reshape(shape).mean(tuple(range(1, 2 * grid.dim, 2))).ravel()
    return mean


def _neighbours(inside: np.ndarray, grid: Grid) -> np.ndarray:
    """The cells next to those that are inside, as masks (cells,)."""
    mask = inside.reshape(grid.shape)
    near = np.zeros_like(mask)
    for axis in range(grid.dim):
        a, b = np.moveaxis(near, axis, 0), np.moveaxis(mask, axis, 0)
        a[1:] |= b[:-1]
        a[:-1] |= b[1:]
    return near.ravel()
