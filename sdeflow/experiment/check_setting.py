"""Choose the end of a check, its grid, the time steps of its particles, the table of its field."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_int
from sdeflow.density import Density, Grid
from sdeflow.distributions.mixture import prior_density
from sdeflow.experiment.problem import Problem
from sdeflow.fields.field import Field
from sdeflow.fokker_planck.field_table import tabulate_field
from sdeflow.fokker_planck.rescaling import Rescaling

RESOLVED = 2.5  # cells in the narrowest width for an error of 1e-3 in total variation
MAX_CELLS = 2048  # along each axis
PARTICLE_STEP = 0.08  # step of Heun's method for 20,000 particles, in the rescaled time
TABULATED = 512  # cells along an axis above which a table takes hundreds of megabytes
SMOOTH = 5e-3  # largest `half_error` of a table, whose estimate is then below 3e-4 (measured)
LEVELS = 129  # most noise levels of a table; a field that needs more is not smooth in time


def check_sizes(n: int, cells: int, steps: int, chain: int) -> None:
    """Refuse sizes of a check that are too small or too large, or an odd number of cells."""
    check_int(n, "n", 1000)
    if check_int(cells, "cells", 32) > MAX_CELLS:
        raise ValueError(
            f"cells must be at most {MAX_CELLS}, got {cells}; memory grows as the square of cells"
        )
    if cells % 2:
        raise ValueError(
            f"cells must be even, got {cells}; the error is estimated with half as many cells"
        )
    check_int(steps, "steps")
    check_int(chain, "chain")


@dataclass(frozen=True, eq=False)
class Setting:
    """The end of a check, and the grid there; `rescaling` gives the grids of earlier times."""

    rescaling: Rescaling
    noise_level: float
    t_end: float
    grid: Grid

    def prior(self) -> Density:
        """The density of the process at t_max, on the grid of that time."""
        process = self.rescaling.process
        wider = self.rescaling(process.t_max) / self.rescaling(self.t_end)
        return prior_density(self.grid.scaled(wider), process)


def scales(problem: Problem, cells: int) -> tuple[Rescaling, float, float]:
    """Choose a rescaling s(t) such that a box of half-width 5 s(t) holds the cloud at every time.

    Also returns the noise level and the time at which the narrowest part of the density is 2.5 of
    its cells wide. The data lie within R of the centre, so that R + 4.4 rho must stay below 5 s.
    The worst noise level is rho = 0.78 R, for which s^2 = 0.176 R^2 + rho^2 is just sufficient.
    """
    process = problem.process
    reach = float(problem.standard.sample(20_000, problem.config.seed).abs().max())
    std = 0.42 * reach
    width = 0.0 if problem.truth is None else problem.truth.distribution.narrowest()
    least = RESOLVED * 10 * std / cells
    clean = float(process.noise_level(torch.tensor(process.t_min, dtype=torch.float64)))
    noise_level = max(math.sqrt(max(least**2 - width**2, 0.0)), clean)
    rescaling = Rescaling(process, std, max(width, least))
    end = float(process.time(torch.tensor(-2 * math.log(noise_level), dtype=torch.float64)))
    end = max(end, process.t_min)
    if end >= process.t_max:
        raise SdeflowError(
            f"the data reach {reach:.3g} data std from their centre, and a cell of a grid of that "
            "size is wider than the noise; drop the far points, or take more cells"
        )
    return rescaling, noise_level, end


def setting_of(problem: Problem, cells: int) -> Setting:
    """The end of a check, and a grid that holds the cloud there, of one or two axes."""
    rescaling, noise_level, end = scales(problem, cells)
    half, d = 5 * rescaling(end), problem.dim
    return Setting(rescaling, noise_level, end, Grid((-half,) * d, (half,) * d, (cells,) * d))


def until(times: Tensor, end: float) -> Tensor:
    """The times, which decrease, up to `end`, and `end` itself."""
    last = torch.tensor([end], dtype=torch.float64)
    near = (times[1] - times[0]).abs() * 1e-6
    return torch.cat([times[times > end + near], last])


def steps_between(rescaling: Rescaling, first: float, end: float, n: int) -> Tensor:
    """Even steps in the rescaled time, so short that n particles do not detect their error.

    Heun's weak error is of second order in the step h, so that it adds an amount proportional to
    n h^4 to a test's chi-square: 1 to 2 for h = 0.08 and 20,000 particles (measured with the
    characteristic-function test), whose mean is 10 or more.
    """
    ends = torch.tensor([first, end], dtype=torch.float64)
    high, low = rescaling.rescaled_time(ends).tolist()
    count = math.ceil((high - low) / (PARTICLE_STEP * (20_000 / n) ** 0.25))
    times = rescaling.time(torch.linspace(high, low, max(count, 8) + 1, dtype=torch.float64))
    times[[0, -1]] = ends
    return times


def tabulated(field: Field, setting: Setting, prior: Density) -> Field:
    """The field as a table, if it is smooth in time and the grid is small; else the field."""
    if max(setting.grid.shape) > TABULATED:
        return field
    span = [field.process.t_max, setting.t_end]
    table = tabulate_field(field, prior.grid, span, rescaling=setting.rescaling)
    while table.half_error() > SMOOTH and len(table.levels) < LEVELS:
        table = table.denser()
    return table if table.half_error() <= SMOOTH else field
