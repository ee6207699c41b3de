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
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_int, check_kind, check_positive
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.arguments import (
    check_moment,
    check_potential,
    check_rates,
    check_refuse,
    check_target,
    on_axes_of,
)
from sdeflow.fokker_planck.density_path import REFUSE, WARN, Diagnostics, can_be_coarsened
from sdeflow.fokker_planck.elimination import (
    Elimination,
    closed_classes,
    in_a_narrow_band,
    reaching,
)
from sdeflow.fokker_planck.exponential_fitting import NumericalDiffusion, Rates, fitted_rates
from sdeflow.fokker_planck.long_times import propagated
from sdeflow.fokker_planck.merged_cells import (
    AS_DISTANCE,
    block_means,
    change_by_merging,
    merged_energy,
    neighbours,
)
from sdeflow.fokker_planck.relaxation import slowest_rates
from sdeflow.fokker_planck.walled import check_grid_of_walls
from sdeflow.sdes.coefficients import check_each_alone
from sdeflow.sdes.requirements import check_no_matrix
from sdeflow.sdes.sde import SDE, check_sde


@dataclass(frozen=True, eq=False)
class MarkovGenerator:
    """The generator L of a Markov chain on the cells of a grid.

        dm/dt = L m    for the cell masses m

    The ends of the grid reflect, unless the SDE has other walls there.

    Attributes:
        grid: the cells.
        matrix: L (cells, cells), sparse: rates from column to row (1 / time), and a diagonal that
            makes each column add up to zero.
        coarse: the generator of the same SDE on cells twice as wide, to estimate errors; None for
            no estimates.
        refuse: an estimated error above `refuse.error` raises, one above `WARN.error` warns.
        lost: (cells,) the rates at which absorbing walls take mass; None if no wall absorbs.
        periodic: whether each axis (d,) is a ring; it sets the order of the cells.
    """

    grid: Grid
    matrix: scipy.sparse.csc_matrix
    coarse: MarkovGenerator | None = None
    refuse: Diagnostics = REFUSE
    lost: np.ndarray | None = None
    periodic: tuple[bool, ...] = (False, False)

    def __post_init__(self) -> None:
        check_kind(self.grid, Grid, "grid")
        check_refuse(self.refuse)
        object.__setattr__(self, "matrix", check_rates(self.matrix, self.grid, self.lost))

    def __repr__(self) -> str:
        return f"Markov generator on {self.grid}"

    def rate(self, density: Density) -> Tensor:
        """The rate at which the masses of a density change, dm/dt = L m, in the grid's shape."""
        return self._shaped(self.matrix @ self._row(density))

    def propagate(self, density: Density, time: float) -> Density:
        """The density after a time >= 0, exp(time L) m.

        Raises:
            SdeflowError: the cells are too wide, or the motion is hardly damped over a long time.
        """
        row, order, span = self._row(density), self._order, check_positive(time, "time", zero=True)
        mass = np.empty(len(row))
        part, lost = self.matrix[order][:, order].tocsc(), self._lost[order]
        mass[order] = propagated(part, row[order], span, lost)
        mass = np.maximum(mass, 0.0)
        if self.lost is None:
            mass *= density.total() / mass.sum()
        later = Density(self.grid, self._shaped(mass))
        if self.coarse is None:
            return later
        change = change_by_merging(later, self.coarse.propagate(density.coarsen(), span))
        what = "the density, a total variation,"
        error = self._checked(change, what, later.mass.numpy().ravel(), span)
        return Density(self.grid, later.mass, error)

    def stationary(self) -> Density:
        """The stationary density, L m = 0, of total mass 1.

        Raises:
            SdeflowError: it is not unique, because some cells cannot be reached from others; or
                the cells are too wide.
        """
        self._check_kept("stationary density")
        density = Density(self.grid, self._shaped(self._stationary))
        if self.coarse is None:
            return density
        wide = Density(self.coarse.grid, self.coarse._shaped(self.coarse._typical))
        error = self._checked(
            change_by_merging(density, wide),
            "the stationary density, a total variation,",
            self._stationary,
        )
        return Density(self.grid, density.mass, error)

    def passage_time(self, target: Tensor | None = None) -> Tensor:
        r"""The mean time to reach a set of cells from each cell, (shape).

            L^T tau = -1 outside the target, tau = 0 in it

        The target begins at the centres of its cells. The time is infinite from cells from which
        the target may never be reached. Absorbing walls belong to the target.

        Args:
            target: bool, (shape), true in the cells of the target; None: the walls alone.

        Raises:
            SdeflowError: the cells are too wide.
        """
        inside = check_target(target, self.grid, optional=self.lost is not None)
        tau = self._mean_time(inside.ravel(), np.zeros(inside.size))
        finite = np.isfinite(tau)
        if self.coarse is None or not tau[finite].any():
            return self._shaped(tau)
        # On wide cells the times next to the target are given, so that the boundary is the same.
        times, near = block_means(tau, self.grid), block_means(inside.ravel() * 1.0, self.grid) > 0
        known = (near | neighbours(near, self.coarse.grid)) & np.isfinite(times)
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
        self._check_kept("relaxation rates")
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

    @property
    def _lost(self) -> np.ndarray:
        return np.zeros(self.matrix.shape[0]) if self.lost is None else self.lost

    def _check_kept(self, what: str) -> None:
        if self.lost is not None:
            raise SdeflowError(f"absorbing walls leave no {what}; ask for propagate, passage_time")

    @cached_property
    def _order(self) -> np.ndarray:
        """The cells in the order in which L has its narrowest band."""
        return in_a_narrow_band(self.grid.shape, self.periodic)

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
        with suppress(SdeflowError):
            if self.lost is None:
                return self._stationary
        cells = self.matrix.shape[0]
        return np.full(cells, 1 / cells)

    def _mean_time(self, known: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The solution of L^T tau = -1 where `known` is false, tau = times elsewhere; (cells,)."""
        never = ~reaching(self.matrix, known | (self._lost > 0))
        infinite = reaching(self.matrix @ scipy.sparse.diags(1.0 * ~known), never)
        order = self._order[~(known | infinite)[self._order]]
        tau = np.where(infinite & ~known, np.inf, times)
        if len(order):
            into = self.matrix[known][:, order]
            leaving = np.asarray(into.sum(0)).ravel() + self._lost[order]
            chain = Elimination(self.matrix[order][:, order], leaving)
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
        grid: the cells. Where the SDE has no walls, the edges of the grid reflect.
        t: the time of drift and diffusion; needed if they depend on it.
        potential: U / kT at the centres, in the grid's shape, where f = -D grad U / kT; it takes
            the place of the drift.
        estimate: compare each result with that on cells twice as wide. Where cells cannot be
            merged two by two, the error is estimated from the numerical diffusion alone.
        refuse: a result with an estimated error above `refuse.error` raises: a total variation
            for densities, relative for times and rates.

    Raises:
        ValueError: drift or diffusion depend on time, and t is not given.
        SdeflowError: drift or diffusion is NaN or infinite.

    Source: Scharfetter and Gummel 1969; for many dimensions Heida, Kantner and Stephan 2020.
    """
    check_no_matrix(check_sde(sde), "a Markov generator")
    check_kind(grid, Grid, "grid", "make one by Grid(low, high, shape)")
    check_grid_of_walls(sde.walls, grid)
    check_refuse(refuse)
    energy = None if potential is None else check_potential(potential, grid)
    with on_axes_of(grid):
        when = check_moment(sde, t, grid.centres(), drift=energy is None)
        rates = fitted_rates(sde, grid, when, energy)
        if energy is None:
            check_each_alone(sde, grid.centres(), when)
        coarse = None
        if estimate and can_be_coarsened(grid):
            wide = grid.coarser()
            merged = None if energy is None else merged_energy(energy, grid)
            coarse = _made(sde, wide, fitted_rates(sde, wide, when, merged), None, refuse)
    generator = _made(sde, grid, rates, coarse, refuse)
    if estimate and coarse is None:  # the numerical diffusion is known without coarse cells
        generator._checked(0.0, "the stationary density, a total variation,", generator._typical)
    return generator


def _made(
    sde: SDE, grid: Grid, rates: Rates, coarse: MarkovGenerator | None, refuse: Diagnostics
) -> MarkovGenerator:
    lost = rates.lost if rates.lost.any() else None
    axes = () if sde.walls is None else sde.walls.axes(grid.dim)
    ring = tuple(a.at_low == "periodic" for a in axes) or (False,) * grid.dim
    return MarkovGenerator(grid, rates.matrix, coarse, refuse, lost, ring)
