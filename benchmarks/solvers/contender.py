"""Describe a solver of the comparison: its name, SDE, function and time grids.

A solver is any function (sde, x, times, seed) -> x. The field counts its calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.problems import PROCESS, Problem
from sdeflow.fields.field import Evaluate, Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import angle_times, karras_times, log_snr_times
from sdeflow.sdes.sde import SDE

Grid = Callable[[int], Tensor]
"""K -> times (K + 1,)."""


class OverBudgetError(Exception):
    """A run has evaluated its field more often than allowed."""


@dataclass(frozen=True, eq=False, repr=False)
class Counted(Field):
    """A field that counts the particles that it is evaluated for, and refuses more than `most`."""

    inner: Field
    asked: list[int]
    most: float = math.inf

    @property
    def dim(self) -> int | None:
        """Forward to the field."""
        return self.inner.dim

    def row(self, c: Coefficients) -> tuple:
        """Forward to the field."""
        return self.inner.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """Forward to the field."""
        evaluate = self.inner.at(t, c, like)

        def counted(x: Tensor) -> Tensor:
            self.asked[0] += len(x)
            if self.asked[0] > self.most:
                raise OverBudgetError
            return evaluate(x)

        return counted


@dataclass(frozen=True)
class Contender:
    """A solver under a name.

    Attributes:
        name: the name of the solver.
        sde: (problem, field, calls) -> the SDE that the solver is given.
        solve: the solver.
        stages: calls of the field in a step.
        grids: names of its time grids, its own first.
        package: the package that it comes from.
        coordinates: the state and time variables that the solver uses, in words.
        version: digest of a user's file; empty for solvers of the repository.
    """

    name: str
    sde: Callable[[Problem, Field, int], SDE]
    solve: Solver
    stages: int
    grids: tuple[str, ...]
    package: str = "sdeflow"
    coordinates: str = "t"
    version: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is a sampler of sdeflow alone, and no classic method."""
        return self.name.startswith("multistep")

    @property
    def about(self) -> dict[str, object]:
        """The entries of a row with which rows are compared without the package."""
        return {"package": self.package, "own grid": self.grids[0], "ours": self.ours}

    def times(self, problem: Problem, sde: SDE, grid: str, calls: int) -> Tensor:
        """The times of a run, with the largest number of steps for this number of calls."""
        steps = calls // self.stages
        return sde.times(steps) if grid == "own" else grids(problem)[grid](steps)


def grids(problem: Problem) -> dict[str, Grid]:
    """The time grids by name."""
    widest = problem.spread.widest
    vp = sf.VP(t_min=1e-6)
    return {
        "log SNR": lambda k: log_snr_times(PROCESS, k),
        "Karras": lambda k: karras_times(PROCESS, k),
        "VP time": uniform_in(vp.time_of, vp.noise_level),
        "angle 1": lambda k: angle_times(PROCESS, k, 1.0, 1.0),
        "angle 2": lambda k: angle_times(PROCESS, k, 1.0, 2.0),
        "angle 3": lambda k: angle_times(PROCESS, k, 1.0, 3.0),
        "angle 2, wide": lambda k: angle_times(PROCESS, k, widest, 2.0),
        "flow time": uniform_in(lambda rho: rho / (1 + rho), lambda s: s / (1 - s)),
        "azula's VP time": uniform_in(_azula, _of_azula),
        "squared sine": uniform_in(_ipndm, lambda u: torch.tan(torch.asin(torch.sin(u) ** 2))),
    }


def uniform_in(time: Callable[[Tensor], Tensor], level: Callable[[Tensor], Tensor]) -> Grid:
    """The time grid uniform in a function `time` of the noise level, whose inverse is `level`."""

    def times(steps: int) -> Tensor:
        ends = torch.tensor([PROCESS.t_max, PROCESS.t_min], dtype=torch.float64)
        row = time(PROCESS.noise_level(ends)).tolist()
        found = PROCESS.time_of(level(sf.processes.uniform_times(*row, steps)))
        found[0], found[-1] = ends
        return found

    return times


def _azula(rho: Tensor) -> Tensor:
    """The time u of azula's VPSchedule: alpha = exp(-u^2 / 2), sigma(0) = 0.001."""
    return torch.sqrt(torch.log1p((rho**2 - 1e-6) / (1 + 1e-6)))


def _of_azula(u: Tensor) -> Tensor:
    """The inverse of `_azula`."""
    return torch.sqrt(torch.expm1(u**2) * (1 + 1e-6) + 1e-6)


def _ipndm(rho: Tensor) -> Tensor:
    """The time u of diffusers' IPNDM: sigma / sqrt(alpha^2 + sigma^2) = sin(u)^2."""
    return torch.asin(torch.sqrt(torch.sin(torch.atan(rho))))


ALL = ("log SNR", "Karras", "VP time", "angle 1", "angle 2", "angle 3", "angle 2, wide")
FEW = ("log SNR", "Karras", "angle 2")


def first(own: str) -> tuple[str, ...]:
    """The names of all grids, the solver's own first."""
    return (own, *(name for name in ALL if name != own))


def few(own: str) -> tuple[str, ...]:
    """The names of the solver's own grid, and of at most three others."""
    return (own, *(name for name in FEW if name != own))
