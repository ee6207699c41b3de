"""Make the problems on which orders are measured, with a solution of known error.

ODE      the flow of eight modes, against SciPy's DOP853 for dx = eps_hat d sigma. The noise level
         starts at 20, or at 2000 (`far`), where the field is that of a Gaussian to 10^-7, so that
         the first steps of a multistep method, which are of low order, make no error
strong   a double well, dx = (x - x^3) dt + 0.5 dW (additive noise); geometric Brownian motion
         (state-dependent noise), whose solution is known; a reverse SDE. All runs follow one
         Brownian path
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.contender import Counted
from benchmarks.solvers.problems import F64, PROCESS, problem
from sdeflow.fields.field import Field
from sdeflow.integrations.diffusers import Solver
from sdeflow.processes.process import Process
from sdeflow.processes.time_grids import angle_times, uniform_times
from sdeflow.sdes.sde import SDE

SEED = 4
FAR = sf.EDM(t_min=0.01, t_max=2000.0)
Grid = Callable[[Process, int], Tensor]
"""A process and K -> times (K + 1,)."""
EPS = float(np.finfo(float).eps)
ToSDE = Callable[[Field], SDE]
"""Field -> the SDE that a solver is given."""


class Truth(NamedTuple):
    """The true ends (n, d), and their root mean square error."""

    end: Tensor
    off: float


@dataclass(frozen=True, eq=False)
class Case:
    """A problem with its true end.

    Attributes:
        name: the name of the problem.
        sde: counter -> the SDE, which counts in it the particles that it is evaluated for.
        x: (n, d) the start.
        grid: K -> times (K + 1,), nested for K that divide each other.
        truth: the end.
        fine: the grid of the Brownian path; None without noise.
    """

    name: str
    sde: Callable[[list[int]], SDE]
    x: Tensor
    grid: Callable[[int], Tensor]
    truth: Truth
    fine: Tensor | None = None


def rms(x: Tensor) -> float:
    """The root mean square of all entries."""
    return float(x.square().mean().sqrt())


def counting(sde: SDE, asked: list[int]) -> SDE:
    """The SDE with a drift that counts its evaluations."""

    def drift(x: Tensor, t: Tensor) -> Tensor:
        asked[0] += len(x)
        return sde.drift(x, t)

    return replace(sde, drift=drift)


# -------------------------------------------------------------------------------------------- ODE


@cache
def _flow_end(far: bool) -> tuple[Field, Tensor, Truth]:
    data = problem("eight modes").data
    field = sf.ExactField(FAR if far else PROCESS, data)
    process = field.process
    x = data.sample(16, 5).to(F64) + process.prior(16, 2, 0, F64)

    def velocity(t: float, y: np.ndarray) -> np.ndarray:
        return field.noise(torch.from_numpy(y).reshape(x.shape), t).numpy().flatten()

    def end(rtol: float) -> Tensor:
        span = process.t_max, process.t_min
        found = solve_ivp(velocity, span, x.flatten().numpy(), "DOP853", rtol=rtol, atol=rtol)
        return torch.from_numpy(found.y[:, -1]).reshape(x.shape)

    best = end(1e-13)
    return field, x, Truth(best, rms(best - end(1e-12)))


def flow(to_sde: ToSDE, grid: Grid = angle_times, far: bool = False) -> Case:
    """The probability flow of eight modes."""
    field, x, truth = _flow_end(far)
    return Case(
        "eight modes, far start" if far else "eight modes",
        lambda asked: to_sde(Counted(field.process, field, asked)),
        x, lambda k: grid(field.process, k), truth,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------- strong


def on_path(method: str, fine: Tensor) -> Solver:
    """A method of torchsde on the Brownian path of the grid `fine`."""
    return lambda sde, x, times, seed: (
        sf.SDESolver(method, times=times, fine=fine, seed=seed).solve(sde, x).x[-1]
    )


def settled(sde: SDE, x: Tensor, fine: Tensor) -> Truth:
    """The end by the method of order 1.5 with all steps of the path, and its change for half."""
    ends = [on_path("srk", fine)(sde, x, fine[::skip], SEED) for skip in (1, 2)]
    return Truth(ends[0], rms(ends[0] - ends[1]))


@cache
def double_well() -> Case:
    """A double well: additive noise and a nonlinear drift."""
    sde = sf.SDE(lambda x, t: x - x**3, lambda x, t: torch.as_tensor(0.5, dtype=F64), 0.0, 1.0)
    fine, x = uniform_times(0.0, 1.0, 2048), torch.full((1000, 1), 0.5, dtype=F64)
    truth = settled(sde, x, fine)
    return Case("double well", lambda a: counting(sde, a), x, _part_of(fine), truth, fine)


@cache
def geometric(calculus: str) -> Case:
    """Geometric Brownian motion dx = a x dt + b x dW: x = x_0 exp((a - b^2 / 2) t + b W) for Ito,
    without b^2 / 2 for Stratonovich."""
    a, b, n = 0.5, 0.8, 4000
    fine = uniform_times(0.0, 1.0, 2048)
    sde = sf.SDE(lambda x, t: a * x, lambda x, t: b * x, 0.0, 1.0, calculus)
    path = sf.solvers.Brownian(SEED, n, 1, F64, times=fine)
    w = torch.zeros(n, 1, dtype=F64)
    for k, gap in enumerate(fine.diff().tolist()):
        w += gap**0.5 * path(k, k + 1)
    end = torch.exp(a - (b**2 / 2 if calculus == "ito" else 0.0) + b * w)
    name = f"geometric Brownian motion, {calculus}"
    x = torch.ones(n, 1, dtype=F64)
    return Case(name, lambda a: counting(sde, a), x, _part_of(fine), Truth(end, 0.0), fine)


@cache
def _overlapping() -> tuple[Field, Tensor]:
    """Two modes that overlap: else a few particles between them determine the mean square."""
    means = torch.tensor([[0.6, 0.2], [-0.5, -0.4]], dtype=F64)
    mixture = sf.GaussianMixture.isotropic(means, 0.6)
    field = sf.ExactField(sf.VP(t_min=0.01), mixture)
    return field, field.process.prior(400, 2, 3, F64)


@cache
def _reverse_end(comoving: bool) -> tuple[Tensor, Tensor, Truth]:
    field, x = _overlapping()
    sde = sf.sdes.comoving(field, 1.0) if comoving else sf.reverse(field)
    fine = sde.times(1024)
    x = x / field.process(field.process.t_max).alpha if comoving else x
    return fine, x, settled(sde, x, fine)


def reverse(to_sde: ToSDE, comoving: bool = False) -> Case:
    """The reverse SDE of two modes that overlap, for x or for x / alpha."""
    field, _ = _overlapping()
    fine, x, truth = _reverse_end(comoving)
    return Case(
        "reverse SDE, comoving" if comoving else "reverse SDE",
        lambda asked: to_sde(Counted(field.process, field, asked)),
        x, _part_of(fine), truth, fine,
    )  # fmt: skip


def _part_of(fine: Tensor) -> Callable[[int], Tensor]:
    return lambda k: fine[:: (len(fine) - 1) // k]
