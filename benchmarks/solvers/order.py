"""Fit the order of convergence of every method, and of a solver of your own.

    print(order_of(my_solver, lambda field: sf.reverse(field, 0.0), declared=2, stages=2))

Runs with different numbers of steps use nested grids. `order_cases` and `linear_sampler` have the
problems, `convergence` the window of the fit, and `order_methods` the methods of sdeflow, of the
engines and of the peers. The field counts its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

import sdeflow as sf
from benchmarks.solvers import linear_sampler, order_cases
from benchmarks.solvers.convergence import Measured, OrderReport, report
from benchmarks.solvers.linear_sampler import Normals
from benchmarks.solvers.order_cases import EPS, SEED, Case, Grid, ToSDE
from benchmarks.solvers.problems import PROCESS
from sdeflow.fields.field import Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.processes.time_grids import angle_times
from sdeflow.sdes.sde import SDE

STEPS = {
    "ODE": (16, 32, 64, 128, 256, 512, 1024),
    "strong": (16, 32, 64, 128, 256, 512),
    "weak": (16, 32, 64, 128, 256, 512, 1024),
}
"""Numbers of steps, doubled so that each grid contains the one before."""

BATCHES = 10
"""Groups of particles, for the sampling error of a strong order."""


def probability_flow(field: Field) -> SDE:
    """The probability flow of a field."""
    return sf.reverse(field, 0.0)


def order_of(
    solve: Solver,
    to_sde: ToSDE = probability_flow,
    declared: float | None = None,
    stages: int = 1,
    once: int = 0,
    name: str = "a solver",
    steps: Sequence[int] = STEPS["ODE"],
    grid: Grid = angle_times,
    far: bool = False,
    eps: float = EPS,
) -> OrderReport:
    """Fit the order of a solver without noise, at the end of the probability flow.

    Args:
        solve: (sde, x (n, d), times (K + 1,), seed) -> the cloud at the last time, (n, d).
        to_sde: field -> the SDE that the solver is given.
        declared: the order to compare with.
        stages: evaluations of the field in a step, counted by hand.
        once: further evaluations in a run.
        name: the name in the report.
        steps: increasing numbers of steps, each of which divides the next.
        grid: (process, K) -> times (K + 1,).
        far: whether to begin at noise level 2000, where first steps of low order make no error.
        eps: the rounding error of the solver; 1.2e-7 for float32.
    """
    case = order_cases.flow(to_sde, grid, far)
    measured = endpoint(solve, case, steps, eps=eps)
    return report(name, "ODE", case.name, declared, stages, once, measured)


def strong_order_of(
    on_path: Callable[[torch.Tensor], Solver],
    case: Case,
    declared: float | None = None,
    stages: int = 1,
    once: int = 0,
    name: str = "a solver",
    steps: Sequence[int] = STEPS["strong"],
) -> OrderReport:
    """Fit the order of sqrt(E |X_h - X|^2), with all runs on one Brownian path.

    Args:
        on_path: the grid `fine` of the path -> a solver on it, such as `SDESolver(..., fine=fine)`
            or one with the increments of `Brownian(..., times=fine)`.
        case: `order_cases.double_well()`, `geometric(calculus)` or `reverse(to_sde)`.
        declared, stages, once, name, steps: as in `order_of`.
    """
    assert case.fine is not None
    measured = endpoint(on_path(case.fine), case, steps, BATCHES)
    return report(name, "strong", case.name, declared, stages, once, measured)


def weak_order_of(
    solve: Solver,
    to_sde: Callable[[Field, float], SDE],
    declared: float | None = None,
    stages: int = 1,
    once: int = 0,
    name: str = "a solver",
    steps: Sequence[int] = STEPS["weak"],
    normals: Normals = linear_sampler.of_generator(),  # noqa: B008
    eta: float = 1.0,
) -> OrderReport:
    """Fit the weak order by the first two moments of the reverse SDE of Gaussian data.

    A sampler of Gaussian data is a linear map of its start and its normals; the map is fitted, so
    that there is no sampling error.

    Args:
        to_sde: (field, eta) -> the SDE that the solver is given.
        normals: the normals that the solver draws, `linear_sampler.of_engine()` for `SDESolver`.
        eta: the noise of the SDE.
        solve, declared, stages, once, name, steps: as in `order_of`.

    Raises:
        ValueError: the solver draws other normals.
    """
    errors, floors, calls = [], [], []
    for k in steps:
        square, floor, asked = linear_sampler.moment_error(
            solve, lambda field: to_sde(field, eta), angle_times(PROCESS, k), normals, eta
        )
        errors.append(square)
        floors.append(max(floor, EPS * k**0.5))
        calls.append(asked)
    measured = Measured(tuple(steps), np.array(errors)[:, None], np.array(floors), tuple(calls))
    return report(name, "weak", f"Gaussian data, eta {eta:g}", declared, stages, once, measured)


def endpoint(
    solve: Solver, case: Case, steps: Sequence[int], batches: int = 1, eps: float = EPS
) -> Measured:
    """Measure mean square errors at the end, in batches of particles.

    The floor is the error of the truth, or the rounding error of all steps.
    """
    size = order_cases.rms(case.truth.end)
    squares, floors, calls = [], [], []
    for k in steps:
        asked = [0]
        sde = case.sde(asked)
        asked[0] = 0
        end = solve(sde, case.x, case.grid(k), SEED)
        square = (end - case.truth.end).square().mean(1)
        squares.append([float(part.mean()) for part in square.chunk(batches)])
        floors.append(max(case.truth.off, eps * k**0.5 * size))
        calls.append(asked[0] / len(case.x))
    return Measured(tuple(steps), np.array(squares), np.array(floors), tuple(calls))
