"""List the methods whose orders are fitted, with the orders that their authors state.

Left out are torchdiffeq's `implicit_adams`, whose order varies from 1 to 12, its adaptive methods,
which choose their steps, and fitted steps (`calibrate`), which exist for one number of steps.

Multistep samplers with noise are of weak order 2 for every polynomial, because the polynomial of
the next step corrects for the normal that a step without corrector does not use. They are of
strong order 1, because they use the increments of the path alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch

import sdeflow as sf
from benchmarks.solvers import order_cases
from benchmarks.solvers.contenders import FLOWS, NOISY
from benchmarks.solvers.convergence import OrderReport
from benchmarks.solvers.linear_sampler import Normals, of_engine, of_generator
from benchmarks.solvers.order import (
    order_of,
    probability_flow,
    strong_order_of,
    weak_order_of,
)
from benchmarks.solvers.order_cases import EPS, Case, Grid, ToSDE, on_path
from benchmarks.solvers.ours import euler, ode
from benchmarks.solvers.peers.diffusers import LAST, scheduler
from benchmarks.solvers.problems import F64, problem
from sdeflow.fields.field import Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.processes.time_grids import angle_times, log_snr_times
from sdeflow.sdes.sde import SDE

SINGLE = torch.finfo(torch.float32).eps


class Trial(NamedTuple):
    """One row: a method on a problem.

    Attributes:
        kind: "ODE", "strong" or "weak".
        name: the name of the method.
        run: increasing numbers of steps -> the report.
        package: the package that it comes from.
    """

    kind: str
    name: str
    run: Callable[[tuple[int, ...]], OrderReport]
    package: str = "sdeflow"


# -------------------------------------------------------------------------------------------- ODE

ENGINE_FLOW = {
    "euler": (1, 1),
    "midpoint": (2, 2),
    "heun2": (2, 2),
    "heun3": (3, 3),
    "rk4": (4, 4),
}
"""torchdiffeq's methods: order and stages."""

ADAMS = ((1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4), (1, 2, 2), (2, 3, 3), (3, 4, 4), (4, 4, 4))
"""Numbers of values in the polynomials of step and corrector; the order is the larger one."""

PEERS = {
    "DPM++ 2M": 2, "DPM++ 3M": 3, "UniPC 2": 3, "UniPC 3": 4, "DEIS 2": 2, "DEIS 3": 3,
    "DPM++ 2S": 2, "DPM++ 3S": 3, "IPNDM": 4, "FlowMatchEuler": 1, "KDPM2 (diffusers)": 2,
    "DPM2 (k-diffusion)": 2, "LMS 4 (k-diffusion)": 4, "DPM++ 2M (k-diffusion)": 2,
    "DPM++ 2S (k-diffusion)": 2, "zAB 2 (azula)": 2, "vAB 2 (azula)": 2, "zEAB 2 (azula)": 2,
    "xEAB 2 (azula)": 2, "REAB 2 (azula)": 2, "REAB 2, sigma 1 (azula)": 2,
    "REAB 3, sigma 1 (azula)": 3, "Midpoint (torchcfm)": 2,
    "Heun 3 (flow_matching)": 3,
}  # fmt: skip
"""Of samplers without noise; UniPC's corrector adds one to the order of UniP (Zhao et
al. 2023, theorem 3.1)."""


def _flow(
    name: str, solve: Solver, to_sde: ToSDE, order: float | None, stages: int = 1,
    grid: Grid = angle_times, far: bool = False, eps: float = EPS,
) -> Trial:  # fmt: skip
    name += ", far start" * far

    def run(steps: tuple[int, ...]) -> OrderReport:
        return order_of(solve, to_sde, order, stages, 0, name, steps, grid, far, eps)

    return Trial("ODE", name, run)


def _multistep(order: int, corrector: int, eta: float = 0.0) -> ToSDE:
    return lambda field: sf.multistep(field, eta, order, corrector)


def _peers() -> Iterator[Trial]:
    """The peers without noise, and UniPC with a last step of full order."""
    for one in FLOWS:
        if one.name not in PEERS:
            continue
        eps = SINGLE if one.name.startswith("DPM++") else EPS
        # A first step of order 1 does not lower an order of 2.
        for far in (False, True) if PEERS[one.name] > 2 else (False,):
            yield _flow(
                one.name, one.solve, lambda f, one=one: one.sde(problem("eight modes"), f, 0),
                PEERS[one.name], one.stages, log_snr_times, far, eps,
            )._replace(package=one.package)  # fmt: skip
    for order in (2, 3):
        name, last = f"UniPC {order}, last step of its order", {**LAST, "lower_order_final": False}
        solve = scheduler("UniPCMultistep", solver_order=order, **last)
        yield _flow(
            name, solve, probability_flow, order + 1, 1, log_snr_times, True
        )._replace(package="diffusers")  # fmt: skip


def flows() -> Iterator[Trial]:
    """Yield the methods without noise."""
    for method, (order, stages) in ENGINE_FLOW.items():
        yield _flow(f"torchdiffeq {method}", ode(method), probability_flow, order, stages)
    yield _flow("DDIM", ode("euler"), lambda f: sf.ancestral(f, 0.0), 1)
    yield _flow("comoving, heun2 (EDM)", ode("heun2"), sf.sdes.comoving, 2, 2)
    for order, corrector, declared in ADAMS:
        name = f"multistep {order}" + f", corrector {corrector}" * bool(corrector)
        for far in (False, True):
            to_sde = _multistep(order, corrector)
            yield _flow(name, ode("euler"), to_sde, declared, far=far)
    yield from _peers()


# ----------------------------------------------------------------------------------------- strong

ADDITIVE = {
    "euler": (1.0, 1, 0), "milstein": (1.0, 1, 0), "srk": (1.5, 2, 0), "heun": (1.0, 2, 0),
    "midpoint": (1.0, 2, 0), "euler_heun": (1.0, 1, 0), "reversible_heun": (1.0, 1, 1),
}  # fmt: skip
"""torchsde's methods with additive noise: strong order, drifts per step and beside the steps."""

DIAGONAL = (
    ("ito", "euler", 0.5, 1, 0), ("ito", "milstein", 1.0, 1, 0), ("ito", "srk", 1.5, 4, 0),
    ("stratonovich", "milstein", 1.0, 1, 0), ("stratonovich", "heun", 1.0, 2, 0),
    ("stratonovich", "midpoint", 1.0, 2, 0), ("stratonovich", "euler_heun", 1.0, 1, 0),
    ("stratonovich", "reversible_heun", 1.0, 1, 1),
)  # fmt: skip
"""The same for state-dependent noise on each axis."""


def _strong(
    name: str,
    method: str,
    case: Callable[[], Case],
    order: float | None,
    stages: int,
    once: int = 0,
) -> Trial:
    def run(steps: tuple[int, ...]) -> OrderReport:
        solve = partial(on_path, method)
        return strong_order_of(solve, case(), order, stages, once, name, steps)

    return Trial("strong", name, run)


def strong() -> Iterator[Trial]:
    """Yield the methods with noise, on one Brownian path."""
    for method, (order, stages, once) in ADDITIVE.items():
        name = f"torchsde {method}, additive"
        yield _strong(name, method, order_cases.double_well, order, stages, once)
    for calculus, method, order, stages, once in DIAGONAL:
        name = f"torchsde {method}, {calculus}"
        yield _strong(name, method, partial(order_cases.geometric, calculus), order, stages, once)
    yield _strong("DDPM", "euler", lambda: order_cases.reverse(sf.ancestral), 1, 1)
    for method, stages in (("euler", 1), ("heun", 2)):
        yield _strong(
            f"comoving, {method}", method,
            lambda: order_cases.reverse(lambda f: sf.sdes.comoving(f, 1.0), True), 1, stages,
        )  # fmt: skip
    for order, corrector in ((1, 0), (2, 0), (2, 3)):
        to_sde = _multistep(order, corrector, 1.0)
        name = f"multistep {order}" + f", corrector {corrector}" * bool(corrector) + ", eta 1"
        yield _strong(name, "euler", partial(order_cases.reverse, to_sde), 1, 1)


# ------------------------------------------------------------------------------------------- weak

LINEAR = {
    "euler": (1, 1), "milstein": (1, 1), "srk": (1.5, 2), "heun": (2, 2), "midpoint": (2, 2),
    "euler_heun": (1, 1),
}  # fmt: skip
"""torchsde's methods with additive noise: weak order and drifts per step."""

NOISY_PEERS = {
    "SDE-DPM++ 2M": 2, "SDE-DPM++ 3M": 3, "SA 2/2, tau 1": 1, "SA 3/3, tau 1": 1,
    "DDPM (diffusers)": 1,
}  # fmt: skip
"""The order 1 of SA-Solver with noise is a theorem (Xue et al. 2023, 5.1); the others have the
order in their names, for which no theorem with noise is given."""


def _weak(
    name: str, solve: Solver, to_sde: Callable[[Field, float], SDE], order: float | None,
    stages: int = 1, normals: Normals = of_engine(), eta: float = 1.0,  # noqa: B008
) -> Trial:  # fmt: skip
    def run(steps: tuple[int, ...]) -> OrderReport:
        return weak_order_of(solve, to_sde, order, stages, 0, name, steps, normals, eta)

    return Trial("weak", name, run)


def _sde(method: str) -> Solver:
    return lambda sde, x, times, seed: (
        sf.SDESolver(method, times=times, seed=seed).solve(sde, x).x[-1]
    )


def weak() -> Iterator[Trial]:
    """Yield the methods with noise, by the exact moments of a linear sampler."""
    for method, (order, stages) in LINEAR.items():
        yield _weak(
            f"torchsde {method}", _sde(method), sf.reverse, order, stages,
            of_engine(levy=method == "srk"),
        )  # fmt: skip
    yield _weak("DDPM", euler, sf.ancestral, 1)
    for eta in (0.5, 1.0):
        for order, corrector in ((1, 0), (2, 0), (3, 0), (4, 0), (1, 2), (2, 3), (3, 4)):
            name = f"multistep {order}" + f", corrector {corrector}" * bool(corrector)
            to_sde = partial(_with_noise, order, corrector)
            declared = min(2, max(order, corrector))
            yield _weak(f"{name}, eta {eta:g}", euler, to_sde, declared, eta=eta)
    for one in NOISY:
        if one.name in NOISY_PEERS:
            yield _weak(
                one.name, one.solve, sf.reverse, NOISY_PEERS[one.name], one.stages,
                of_generator(torch.float32 if one.name.startswith("SDE-DPM") else F64),
            )._replace(package=one.package)  # fmt: skip


def _with_noise(order: int, corrector: int, field: Field, eta: float) -> SDE:
    return sf.multistep(field, eta, order, corrector)


def trials() -> list[Trial]:
    """Yield all methods, in order."""
    return [*flows(), *strong(), *weak()]
