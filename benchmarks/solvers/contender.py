"""What a solver of the comparison is: a name, an SDE, a function, and the time grids to run it on.

A solver is any function (sde, x, times, seed) -> x. Its calls are counted at the field.
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
    """A run has asked its field more often than it may."""


@dataclass(frozen=True, eq=False, repr=False)
class Counted(Field):
    """A field that counts for how many particles it was asked, and answers for `most` of them."""

    inner: Field
    asked: list[int]
    most: float = math.inf

    @property
    def dim(self) -> int | None:
        """See `Field`."""
        return self.inner.dim

    def row(self, c: Coefficients) -> tuple:
        """See `Field`."""
        return self.inner.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Evaluate:
        """See `Field`."""
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
        name: of the solver.
        sde: (problem, field, calls) -> the SDE that it is given.
        solve: the solver itself.
        stages: calls of the field in a step, from which the number of steps follows.
        grids: names of the time grids to run it on, its own first.
        package: whose it is.
        clock: the coordinate and the time that the solver works in, in words.
        version: the digest of a user's file; empty where the commit says it.
    """

    name: str
    sde: Callable[[Problem, Field, int], SDE]
    solve: Solver
    stages: int
    grids: tuple[str, ...]
    package: str = "sdeflow"
    clock: str = "t"
    version: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is one of sdeflow's own samplers, and not a classic that it also has."""
        return self.name.startswith("multistep")

    @property
    def about(self) -> dict[str, object]:
        """What a row says of it, so that rows can be compared where the package is not there."""
        return {"package": self.package, "own grid": self.grids[0], "ours": self.ours}

    def times(self, problem: Problem, sde: SDE, grid: str, calls: int) -> Tensor:
        """The times of a run that may ask the field so often: of as many steps as fit."""
        steps = calls // self.stages
        return sde.times(steps) if grid == "own" else grids(problem)[grid](steps)


def grids(problem: Problem) -> dict[str, Grid]:
    """Time grids by name."""
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


def uniform_in(clock: Callable[[Tensor], Tensor], level: Callable[[Tensor], Tensor]) -> Grid:
    """A time grid uniform in a function of the noise level, whose inverse is `level`."""

    def times(steps: int) -> Tensor:
        ends = torch.tensor([PROCESS.t_max, PROCESS.t_min], dtype=torch.float64)
        row = clock(PROCESS.noise_level(ends)).tolist()
        found = PROCESS.time_of(level(sf.processes.uniform_times(*row, steps)))
        found[0], found[-1] = ends
        return found

    return times


def _azula(rho: Tensor) -> Tensor:
    """The time of azula's VPSchedule, in its unit: alpha = exp(-u^2 / 2), sigma(0) = 0.001."""
    return torch.sqrt(torch.log1p((rho**2 - 1e-6) / (1 + 1e-6)))


def _of_azula(u: Tensor) -> Tensor:
    """The inverse of `_azula`."""
    return torch.sqrt(torch.expm1(u**2) * (1 + 1e-6) + 1e-6)


def _ipndm(rho: Tensor) -> Tensor:
    """That of diffusers' IPNDM: sigma / sqrt(alpha^2 + sigma^2) = sin(u)^2."""
    return torch.asin(torch.sqrt(torch.sin(torch.atan(rho))))


ALL = ("log SNR", "Karras", "VP time", "angle 1", "angle 2", "angle 3", "angle 2, wide")
FEW = ("log SNR", "Karras", "angle 2")


def first(own: str) -> tuple[str, ...]:
    """All grids, with the solver's own first."""
    return (own, *(name for name in ALL if name != own))


def few(own: str) -> tuple[str, ...]:
    """The solver's own grid, and at most three others."""
    return (own, *(name for name in FEW if name != own))
