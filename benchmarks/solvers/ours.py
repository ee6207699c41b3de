"""List the samplers of sdeflow: its own, and classic methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.contender import Contender, first
from benchmarks.solvers.problems import Problem
from sdeflow.fields.field import Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE


def flow(problem: Problem, field: Field, calls: int) -> SDE:
    """The probability flow."""
    return sf.reverse(field, 0.0)


def reverse(problem: Problem, field: Field, calls: int) -> SDE:
    """The reverse SDE."""
    return sf.reverse(field)


def ode(method: str) -> Solver:
    """A solver by a method of torchdiffeq."""
    return lambda sde, x, times, seed: sf.ODESolver(method, times=times).solve(sde, x).x[-1]


def euler(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
    """A solver with one Euler step of torchsde in each interval."""
    return sf.SDESolver("euler", times=times, seed=seed).solve(sde, x).x[-1]


def _noisy(eta: float) -> Callable[[Problem, Field, int], SDE]:
    return lambda problem, field, calls: sf.multistep(field, eta, spread=problem.spread)


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


FLOWS = [
    Contender("multistep, default", _default, ode("euler"), 1, ("own",)),
    Contender("multistep, calibrated", _calibrated, ode("euler"), 1, ("own",)),
    Contender("DDIM", lambda p, f, k: sf.ancestral(f, 0.0), ode("euler"), 1, first("log SNR")),
    Contender("Heun (EDM)", lambda p, f, k: sf.sdes.comoving(f), ode("heun2"), 2, first("Karras")),
]
"""Solvers of the probability flow."""

NOISY = [
    Contender("multistep, eta 0.35", _noisy(0.35), euler, 1, ("own",)),
    Contender("multistep, eta 0.5", _noisy(0.5), euler, 1, ("own",)),
    Contender("multistep, eta 1", _noisy(1.0), euler, 1, ("own",)),
    Contender("DDPM", lambda p, f, k: sf.ancestral(f), euler, 1, first("Karras")),
]
"""Solvers of the reverse SDE."""
