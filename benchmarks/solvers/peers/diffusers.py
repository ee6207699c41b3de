"""The schedulers of diffusers, through `sdeflow.integrations.diffusers.solver`."""

from __future__ import annotations

import diffusers

import sdeflow as sf
from benchmarks.solvers.contender import Contender, first
from benchmarks.solvers.ours import flow
from benchmarks.solvers.problems import Problem
from sdeflow.fields.field import Field
from sdeflow.integrations.diffusers import Solver, solver
from sdeflow.sdes.sde import SDE

diffusers.utils.logging.set_verbosity_error()

DPM, UNI, DEIS, SA = (
    diffusers.DPMSolverMultistepScheduler,
    diffusers.UniPCMultistepScheduler,
    diffusers.DEISMultistepScheduler,
    diffusers.SASolverScheduler,
)
LAST = {"final_sigmas_type": "sigma_min"}
PLUS = {"algorithm_type": "dpmsolver++", **LAST}
CLOCK = "levels sigma / alpha"


def scheduler(kind: type, **config: object) -> Solver:
    """One of diffusers' schedulers."""
    return solver(kind(**config))


def reverse(p: Problem, field: Field, calls: int) -> SDE:
    """The reverse SDE."""
    return sf.reverse(field)


def of_flow(name: str, kind: type, own: str, **config: object) -> Contender:
    """A scheduler for the probability flow."""
    return Contender(name, flow, scheduler(kind, **config), 1, first(own), "diffusers", CLOCK)


def of_sde(name: str, kind: type, **config: object) -> Contender:
    """A scheduler for the reverse SDE."""
    return Contender(
        name, reverse, scheduler(kind, **config), 1, first("Karras"), "diffusers", CLOCK
    )


def adams(order: int) -> dict[str, object]:
    """SA-Solver with tau = 1; its own is 0, no noise, for the step numbers that `solver` gives."""
    return {
        "predictor_order": order,
        "corrector_order": order,
        "algorithm_type": "data_prediction",
        "tau_func": lambda t: 1.0,
    }


NOISE = {"algorithm_type": "sde-dpmsolver++", **LAST}

FLOWS = [
    of_flow("DPM++ 2M", DPM, "Karras", solver_order=2, **PLUS),
    of_flow("DPM++ 3M", DPM, "Karras", solver_order=3, **PLUS),
    of_flow("UniPC 2", UNI, "log SNR", solver_order=2, **LAST),
    of_flow("UniPC 3", UNI, "log SNR", solver_order=3, **LAST),
    of_flow("DEIS 2", DEIS, "VP time", solver_order=2),
    of_flow("DEIS 3", DEIS, "VP time", solver_order=3),
]

NOISY = [
    of_sde("SDE-DPM++ 2M", DPM, solver_order=2, **NOISE),
    of_sde("SDE-DPM++ 3M", DPM, solver_order=3, **NOISE),
    of_sde("SA 2/2", SA, **adams(2)),
    of_sde("SA 3/3", SA, **adams(3)),
]
