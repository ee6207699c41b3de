r"""Move a density under an SDE: the Fokker-Planck equation, on a grid.

    dp/dt = -div(f p) + (1/2) sum_i d_i d_i (g_i^2 p)                          (Ito; forward in t)

`evolve` returns the density at given times, with diagnostics. In general it takes steps, by Strang
splitting (`splitting`): semi-Lagrangian transport and exact diffusion. For a linear SDE whose
transition kernel is known it needs no steps (`linear`), unless mass reaches an end of the grid.
Between walls, and where mass reaches an end of the grid, the steps are implicit (`walled`). A
`Rescaling` makes the grid follow the size of the cloud. The same run with cells and steps twice as
large estimates the error. Under an SDE that runs down in t, the density spreads as t falls.

There are two other ways to move a density: `sampler_density` by the steps of a sampler, and
`markov_generator` by rates between cells, for an SDE that does not depend on time.

See docs/theory.md, (8.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.density import Density
from sdeflow.fokker_planck.arguments import check_arguments, on_axes_of
from sdeflow.fokker_planck.cell_masses import CellMasses
from sdeflow.fokker_planck.density_path import (
    REFUSE,
    DensityPath,
    Diagnostics,
    can_be_coarsened,
    cells_per_feature,
    check_diagnostics,
)
from sdeflow.fokker_planck.field_table import ROUNDING, with_fewer_levels
from sdeflow.fokker_planck.linear import LinearTransitions
from sdeflow.fokker_planck.rescaling import Rescaling, rescale
from sdeflow.fokker_planck.splitting import StrangSplitting
from sdeflow.fokker_planck.walled import WalledSteps, check_grid_of_walls
from sdeflow.sdes.coefficients import check_each_alone
from sdeflow.sdes.sde import SDE, Times


def evolve(
    sde: SDE,
    density: Density,
    times: Times,
    *,
    steps: int = 200,
    time_grid: Times | None = None,
    rescaling: Rescaling | None = None,
    estimate: bool = True,
    refuse: Diagnostics = REFUSE,
) -> DensityPath:
    r"""The density at each of `times` under an SDE, from the density at times[0].

        dp/dt = -div(f p) + (1/2) sum_i d_i d_i (g_i^2 p)

    It is of second order in cells and steps, and exact in time if the SDE has a transition kernel
    (`SDE.transition`) that carries no mass through a wall. The ends of the grid reflect. Where the
    SDE has no walls, mass that reaches them is an error unless `refuse` allows it.
    Densities lie on the CPU; a network is called on its own device.

    Args:
        sde: any SDE; diffusion (), (d,) or (n, d), Ito or Stratonovich, or None; with `noises`
            a matrix that does not depend on the state.
        density: at times[0]. If its masses add up to less than 1, the rest is outside the grid.
        times: (T,) within the span of the SDE, in its direction.
        steps: over the whole span, on the SDE's own time grid; with a rescaling, uniform in the
            rescaled time. `times` are added to the steps.
        time_grid: (K + 1,) the steps themselves; then no transition kernel is used.
        rescaling: the grid at t is that of `density` times s(t) / s(times[0]).
        estimate: run also with cells and steps twice as large (an eighth of the work); a third of
            the difference is each density's `error`, or all of it at walls where cells are wide
            for the noise; a single step is halved for it. With a `FieldTable` a third run
            estimates the error of the table.
        refuse: limits of the diagnostics, above which they raise; above `WARN` they warn.

    Raises:
        SdeflowError: a diagnostic is above `refuse`, or the drift is NaN or infinite.

    Source: Strang 1968; Colella and Woodward 1984 for the transport.
    """
    check_arguments(sde, density, rescaling, refuse)
    check_grid_of_walls(sde.walls, density.grid)
    times = sde.check_times(times)
    steps, limits = check_int(steps, "steps"), _limits(sde, refuse)
    if time_grid is not None:
        time_grid = sde.check_times(time_grid, "time_grid")
    scales = [1.0] * len(times) if rescaling is None else [rescaling(t) for t in times]
    runs = [(sde, density.scaled(1 / scales[0]))]
    if estimate and can_be_coarsened(density.grid):
        coarse, fewer = runs[0][1].coarsen(), with_fewer_levels(sde)
        runs += [(each, coarse) for each in (sde, fewer) if each is not None]
    at = times if rescaling is None else rescaling.rescaled_time(times)
    with torch.no_grad(), on_axes_of(density.grid):
        if sde.transition is None:
            check_each_alone(sde, density.grid.centres(), float(times[0]))
        cells, masses = _moved(runs, at, steps, time_grid, rescaling, limits)
    errors: Sequence[float | None] = (
        _errors(masses[0], masses[1], at, cells.share) if len(masses) > 1 else [None] * len(times)
    )
    error = math.nan if errors[0] is None else max(e for e in errors if e is not None)
    grid = runs[0][1].grid
    out = tuple(
        Density(grid.scaled(s), torch.from_numpy(masses[0][u]), e)
        for s, u, e in zip(scales, at.tolist(), errors, strict=True)
    )
    diagnostics = cells.diagnostics(
        error, cells_per_feature(grid, rescaling, times), _table_error(masses)
    )
    return DensityPath(times, out, check_diagnostics(diagnostics, limits))


def _limits(sde: SDE, refuse: Diagnostics) -> Diagnostics:
    """`refuse`; under a diffusion matrix the ends of the grid do not reflect, and none is hit."""
    if sde.noises is None:
        return refuse
    return replace(refuse, boundary_mass=min(refuse.boundary_mass, REFUSE.boundary_mass))


def _moved(
    runs: list[tuple[SDE, Density]],
    times: Tensor,
    steps: int,
    time_grid: Tensor | None,
    rescaling: Rescaling | None,
    limits: Diagnostics,
) -> tuple[CellMasses, list[dict[float, np.ndarray]]]:
    """Move each of `runs`; return the cells of the first, and the masses of each at `times`.

    `times` are rescaled times. All runs but the first take steps twice as large.
    """
    sde, carried = runs[0][0], 0.0
    moving = sde if rescaling is None else rescale(sde, rescaling)
    if time_grid is None:
        if moving.transition is not None:
            exact = [LinearTransitions(moving, p) for _, p in runs]
            masses = [run.masses(times) for run in exact]
            cells, carried = exact[0].cells, exact[0].through_wall
            cells.boundary_mass = max(cells.boundary_mass, carried)
            if carried <= REFUSE.boundary_mass:
                return cells, masses
        time_grid = moving.times(steps)
    elif rescaling is not None:
        time_grid = rescaling.rescaled_time(time_grid)
    fine = _merged(times, time_grid)
    if len(runs) > 1 and len(fine) == 2:  # the coarse run needs steps twice as large
        fine = torch.stack([fine[0], fine.mean(), fine[1]])
    wide = torch.cat([fine[:-1:2], fine[-1:]])
    grids = [fine, wide, wide][: len(runs)]
    known = torch.cat([fine, *((u[1:] + u[:-1]) / 2 for u in (fine, wide))])
    moved = [(each if rescaling is None else rescale(each, rescaling, known), p, u)
             for (each, p), u in zip(runs, grids, strict=True)]  # fmt: skip
    cells, masses = _stepped(StrangSplitting if sde.walls is None else WalledSteps, moved, times)
    reached = REFUSE.boundary_mass < cells.boundary_mass <= limits.boundary_mass
    carried = max(carried, cells.boundary_mass)
    if sde.walls is None and sde.diffusion is not None and reached:
        cells.share = 1.0  # split steps lose their order at such ends
        implicit = _stepped(WalledSteps, moved, times) if rescaling is None else (cells, masses)
        if implicit[0].share < 1.0:
            cells, masses = implicit
    cells.boundary_mass = max(cells.boundary_mass, carried)
    return cells, masses


def _stepped(
    kind: type[StrangSplitting | WalledSteps], runs: list[tuple[SDE, Density, Tensor]],
    times: Tensor,
) -> tuple[CellMasses, list[dict[float, np.ndarray]]]:  # fmt: skip
    """The cells of the first of `runs`, and the masses of each at `times`, by steps of a kind."""
    steppers = [kind(*run) for run in runs]
    masses = [stepper.masses(times) for stepper in steppers]
    return steppers[0].cells, masses


def _merged(times: Tensor, time_grid: Tensor) -> Tensor:
    """`times`, and the part of the time grid between the first and the last of them."""
    low, high = times.aminmax()
    inside = time_grid[(time_grid > low) & (time_grid < high)]
    if len(inside):
        near = (inside[:, None] - times).abs().min(1).values
        inside = inside[near > 1e-9 * (high - low)]
    falls = bool(times[0] > times[-1])
    return torch.cat([inside, times]).sort(descending=falls).values


def _table_error(masses: list[dict[float, np.ndarray]]) -> float:
    """The total variation between the second run and the third, plus rounding."""
    if len(masses) < 3:
        return math.nan
    _, whole, half = masses
    return max(float(abs(whole[t] - half[t]).sum()) / 2 for t in whole) + ROUNDING


def _errors(
    fine: dict[float, np.ndarray], coarse: dict[float, np.ndarray], times: Tensor, share: float
) -> list[float]:
    """A share of the total variation between two runs, interpolated between the coarse times."""
    at, values = [], []
    for t in coarse:
        a, b = fine[t], coarse[t]
        n = b.shape
        blocks = a.reshape([m for cells in n for m in (cells, 2)])
        merged = blocks.sum(tuple(range(1, 2 * len(n), 2)))
        at.append(t)
        values.append(share * abs(merged - b).sum() / 2)
    order = np.argsort(at)
    return np.interp(times.numpy(), np.array(at)[order], np.array(values)[order]).tolist()
