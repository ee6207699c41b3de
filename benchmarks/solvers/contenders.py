"""The solvers of the comparison: ours and those of diffusers, each on its own and on other times.

A peer is taken at the time grid that its authors recommend, and also at its best over all grids,
which nobody knows without the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import diffusers
import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.problems import PROCESS, Problem
from sdeflow.fields.field import Evaluate, Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.integrations.diffusers import solver as by_scheduler
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import angle_times, karras_times, log_snr_times
from sdeflow.sdes.sde import SDE

Grid = Callable[[int], Tensor]
"""K -> times (K + 1,)."""

diffusers.utils.logging.set_verbosity_error()


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
        ours: whether it is one of sdeflow's.
    """

    name: str
    sde: Callable[[Problem, Field, int], SDE]
    solve: Solver
    stages: int
    grids: tuple[str, ...]
    ours: bool = False

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


def flow(problem: Problem, field: Field, calls: int) -> SDE:
    """The probability flow."""
    return sf.reverse(field, 0.0)


def ode(method: str) -> Solver:
    """One of torchdiffeq's methods."""
    return lambda sde, x, times, seed: sf.ODESolver(method, times=times).solve(sde, x).x[-1]


def scheduler(kind: type, **config: object) -> Solver:
    """One of diffusers' schedulers."""
    return by_scheduler(kind(**config))


def _default(problem: Problem, field: Field, calls: int) -> SDE:
    return sf.multistep(field, spread=problem.spread)


def _calibrated(problem: Problem, field: Field, calls: int) -> SDE:
    fitted = sf.sdes.calibrate(
        problem.field, calls, problem.start(128, 9000), spread=problem.spread
    )
    return replace(fitted, field=field, **_parts(problem, field))


def _parts(problem: Problem, field: Field) -> dict[str, object]:
    made = sf.multistep(field, spread=problem.spread)
    parts = {name: getattr(made, name) for name in ("drift", "diffusion", "coefficients")}
    return {**parts, "made_for": (made.drift, made.diffusion)}


DPM, UNI, DEIS = (
    diffusers.DPMSolverMultistepScheduler,
    diffusers.UniPCMultistepScheduler,
    diffusers.DEISMultistepScheduler,
)
LAST = {"final_sigmas_type": "sigma_min"}
PLUS = {"algorithm_type": "dpmsolver++", **LAST}

FLOWS = [
    Contender("multistep, default", _default, ode("euler"), 1, ("own",), ours=True),
    Contender("multistep, calibrated", _calibrated, ode("euler"), 1, ("own",), ours=True),
    Contender("DDIM", lambda p, f, k: sf.ancestral(f, 0.0), ode("euler"), 1, first("log SNR")),
    Contender("Heun (EDM)", lambda p, f, k: sf.sdes.comoving(f), ode("heun2"), 2, first("Karras")),
    Contender("DPM++ 2M", flow, scheduler(DPM, solver_order=2, **PLUS), 1, first("Karras")),
    Contender("DPM++ 3M", flow, scheduler(DPM, solver_order=3, **PLUS), 1, first("Karras")),
    Contender("UniPC 2", flow, scheduler(UNI, solver_order=2, **LAST), 1, first("log SNR")),
    Contender("UniPC 3", flow, scheduler(UNI, solver_order=3, **LAST), 1, first("log SNR")),
    Contender("DEIS 2", flow, scheduler(DEIS, solver_order=2), 1, first("VP time")),
    Contender("DEIS 3", flow, scheduler(DEIS, solver_order=3), 1, first("VP time")),
]
"""For the probability flow."""
