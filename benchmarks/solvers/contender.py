"""What a solver of the comparison is: a name, an SDE, a function, and the time grids to run it on.

A solver is any function (sde, x, times, seed) -> x. Its calls are counted at the field.
"""

from __future__ import annotations

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


@dataclass(frozen=True, eq=False, repr=False)
class Counted(Field):
    """A field that counts for how many particles it was asked."""

    inner: Field
    asked: list[int]

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
            return evaluate(x)

        return counted


@dataclass(frozen=True)
class Contender:
    """A solver under a name.

    Attributes:
        name: of the solver.
        sde: (problem, field, calls) -> the SDE that it is given.
        solve: the solver itself.
        stages: calls of the field in a step.
        grids: names of the time grids to run it on, its own first.
        package: whose it is.
        clock: the times that the peer is given, as a function of ours, in words.
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

    def times(self, problem: Problem, sde: SDE, grid: str, calls: int) -> Tensor:
        """The times of a run that may ask the field so often."""
        steps = calls // self.stages
        return sde.times(steps) if grid == "own" else grids(problem)[grid](steps)


def grids(problem: Problem) -> dict[str, Grid]:
    """Time grids by name."""
    widest = problem.spread.widest
    return {
        "log SNR": lambda k: log_snr_times(PROCESS, k),
        "Karras": lambda k: karras_times(PROCESS, k),
        "VP time": _vp_times,
        "angle 1": lambda k: angle_times(PROCESS, k, 1.0, 1.0),
        "angle 2": lambda k: angle_times(PROCESS, k, 1.0, 2.0),
        "angle 3": lambda k: angle_times(PROCESS, k, 1.0, 3.0),
        "angle 2, wide": lambda k: angle_times(PROCESS, k, widest, 2.0),
    }


def _vp_times(steps: int) -> Tensor:
    """Uniform in the time of `VP`, where its noise level is that of the process."""
    vp = sf.VP(t_min=1e-6)
    ends = vp.time_of(torch.tensor([PROCESS.t_max, PROCESS.t_min], dtype=torch.float64)).tolist()
    times = vp.noise_level(sf.processes.uniform_times(*ends, steps))
    times[0], times[-1] = PROCESS.t_max, PROCESS.t_min
    return times


ALL = ("log SNR", "Karras", "VP time", "angle 1", "angle 2", "angle 3", "angle 2, wide")


def first(own: str) -> tuple[str, ...]:
    """All grids, with the solver's own first."""
    return (own, *(name for name in ALL if name != own))
