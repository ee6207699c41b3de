"""The schedulers of diffusers, through `sdeflow.integrations.diffusers.solver`.

Their default levels are uniform in the time of a VP process with linear beta ("VP time"); those of
Karras are an option, recommended for DPM++. Schedulers with a method of ours or of k-diffusion
(DDIM, DDPM, Heun, KDPM2) run on their own grid alone. SDE-DPM++ 3M as released (0.42.1) has 0.5
with the wrong sign in its last term, which then does not vanish with the step (for N(0, 1) data
and 20 steps the variance is 1.20, that of k-diffusion's 3M SDE 1.04); it is run as released.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module

from benchmarks.solvers.contender import Contender, few, first
from benchmarks.solvers.ours import flow, reverse
from benchmarks.solvers.peers.loading import not_here
from sdeflow.integrations.diffusers import Solver, solver

SKIPPED = ""
try:
    diffusers = import_module("diffusers")
    diffusers.utils.logging.set_verbosity_error()
except ModuleNotFoundError as error:
    SKIPPED = not_here(error, "pip install diffusers")

LAST = {"final_sigmas_type": "sigma_min"}
PLUS = {"algorithm_type": "dpmsolver++", **LAST}
NOISE = {"algorithm_type": "sde-dpmsolver++", **LAST}
SINGLE = {**PLUS, "lower_order_final": True}
VP = "x / sqrt(alpha^2 + sigma^2) at levels sigma / alpha"
KARRAS = "x / alpha at levels sigma / alpha"
STRAIGHT = "x / (alpha + sigma) at sigma / (alpha + sigma)"


def scheduler(kind: str, **config: object) -> Solver:
    """A solver by the scheduler of this name, which is made when it first runs."""

    @cache
    def made() -> Solver:
        with warnings.catch_warnings():  # it hands torch tensors to numpy
            warnings.simplefilter("ignore", DeprecationWarning)
            return solver(getattr(diffusers, f"{kind}Scheduler")(**config))

    return lambda sde, x, times, seed: made()(sde, x, times, seed)


def of_flow(
    name: str, kind: str, grids: tuple[str, ...], coordinates: str = VP, stages: int = 1,
    **config: object,
) -> Contender:  # fmt: skip
    """A scheduler for the probability flow."""
    return Contender(
        name, flow, scheduler(kind, **config), stages, grids, "diffusers", coordinates
    )


def of_sde(name: str, kind: str, grids: tuple[str, ...], **config: object) -> Contender:
    """A scheduler for the reverse SDE."""
    return Contender(name, reverse, scheduler(kind, **config), 1, grids, "diffusers", VP)


def adams(order: int, everywhere: bool = False) -> dict[str, object]:
    """SA-Solver with its default tau, 1 from timestep 200 to 800 and else 0, or with tau = 1."""
    own = {
        "predictor_order": order,
        "corrector_order": order,
        "algorithm_type": "data_prediction",
    }
    return {**own, "tau_func": lambda t: 1.0} if everywhere else own


MULTI, SINGLESTEP = "DPMSolverMultistep", "DPMSolverSinglestep"

FLOWS = [
    of_flow("DPM++ 2M", MULTI, first("Karras"), solver_order=2, **PLUS),
    of_flow("DPM++ 3M", MULTI, first("Karras"), solver_order=3, **PLUS),
    of_flow("UniPC 2", "UniPCMultistep", first("log SNR"), solver_order=2, **LAST),
    of_flow("UniPC 3", "UniPCMultistep", first("log SNR"), solver_order=3, **LAST),
    of_flow("DEIS 2", "DEISMultistep", first("VP time"), solver_order=2),
    of_flow("DEIS 3", "DEISMultistep", first("VP time"), solver_order=3),
    of_flow("DPM++ 2S", SINGLESTEP, few("VP time"), solver_order=2, **SINGLE),
    of_flow("DPM++ 3S", SINGLESTEP, few("VP time"), solver_order=3, **SINGLE),
    of_flow("IPNDM", "IPNDM", few("squared sine")),
    of_flow("FlowMatchEuler", "FlowMatchEulerDiscrete", few("flow time"), STRAIGHT),
    of_flow("DDIM (diffusers)", "DDIM", ("VP time",), clip_sample=False),
    of_flow("Heun (diffusers)", "HeunDiscrete", ("VP time",), KARRAS, 2),
    of_flow("KDPM2 (diffusers)", "KDPM2Discrete", ("VP time",), KARRAS, 2),
]

NOISY = [
    of_sde("SDE-DPM++ 2M", MULTI, first("Karras"), solver_order=2, **NOISE),
    of_sde("SDE-DPM++ 3M", MULTI, first("Karras"), solver_order=3, **NOISE),
    of_sde("SA 2/2", "SASolver", first("Karras"), **adams(2)),
    of_sde("SA 3/3", "SASolver", first("Karras"), **adams(3)),
    of_sde("SA 2/2, tau 1", "SASolver", first("Karras"), **adams(2, True)),
    of_sde("SA 3/3, tau 1", "SASolver", first("Karras"), **adams(3, True)),
    of_sde("DDPM (diffusers)", "DDPM", ("VP time",), clip_sample=False),
]

if SKIPPED:
    FLOWS, NOISY = [], []
