"""The local error of one step of several samplers against the noise level.

Each step starts on the exact probability flow; its error is the RMS distance from the exact flow
after the step. All samplers have the same number of evaluations of the field: both Heun methods
take two in a step, so that their steps are twice as long. The earlier values that a multistep
method uses are exact. Dashed: the difference between two tolerances of the reference.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sdeflow as sf
from figures.palette import look
from figures.problems import Problem
from sdeflow import plot

ASPECT = 0.85
COLUMNS = 1


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw the error of each step against the noise level at its start."""
    n, steps = (200, 20) if quick else (2000, 20)
    times = sf.processes.angle_times(problem.process, steps)
    exact, difference = exact_flow(problem, times, n)
    level = problem.process.noise_level(times)[:-1].numpy()
    ax = fig.subplots()
    whole, half = (local_errors(problem, times[::k], exact[::k]) for k in (1, 2))
    for name in whole:
        ink, mark = look(name)
        two = name.startswith("Heun")
        error = (half if two else whole)[name].numpy()
        ax.plot(level[:: 1 + two], error, mark + "-", ms=2.5, color=ink, label=name)
    ax.plot(level, difference.numpy(), color=plot.GREY, ls="--", lw=0.8, label="reference")
    ax.set(xscale="log", yscale="log", ylabel="local error (data std)")
    ax.set_xlabel(r"noise level $\sigma/\alpha$ (data std) at the step's start")
    ax.invert_xaxis()
    ax.legend(ncols=2, loc="lower left", bbox_to_anchor=(0.0, 1.0))


def exact_flow(problem: Problem, times: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """States (K + 1, n, 2) on the flow, and how much two tolerances differ over each step (K,)."""
    flow = sf.reverse(problem.field, eta=0.0)
    start = problem.process.prior(n, 2, seed=0).double()
    rough, fine = (
        sf.ODESolver("dopri5", rtol=rtol).solve(flow, start, save=times).x
        for rtol in (1e-8, 1e-10)
    )
    return fine, rms(rough - fine)[1:]


def local_errors(problem: Problem, times: Tensor, exact: Tensor) -> dict[str, Tensor]:
    """The error of each step (K,), by sampler."""
    field, process = problem.field, problem.process
    flow, brownian = sf.reverse(field, eta=0.0), sf.sdes.comoving(field)
    alpha = process(times).alpha[:, None, None]
    rho = process.noise_level(times)
    return {
        "Euler": euler_error(flow, times, exact),
        "Heun": heun_error(flow, times, exact),
        "DDIM": euler_error(sf.ancestral(field, eta=0.0), times, exact),
        "Heun (EDM)": heun_error(brownian, rho, exact / alpha) * alpha[1:, 0, 0],
        "multistep": euler_error(sf.multistep(field), times, exact),
    }


def euler_error(sde: sf.SDE, times: Tensor, exact: Tensor) -> Tensor:
    """The error of each step of Euler's method, or of a sampler's whole steps."""
    stepped = sde.stepped(times, exact[0])
    ends = [x + stepped.drift(k, 0.0, x) for k, x in enumerate(exact[:-1])]
    return rms(torch.stack(ends) - exact[1:])


def heun_error(sde: sf.SDE, times: Tensor, exact: Tensor) -> Tensor:
    """The error of each step of Heun's method."""
    stepped, ends = sde.stepped(times, exact[0]), []
    for k, x in enumerate(exact[:-1]):
        first = stepped.drift(k, 0.0, x)
        ends.append(x + (first + stepped.drift(k, 1.0, x + first)) / 2)
    return rms(torch.stack(ends) - exact[1:])


def rms(error: Tensor) -> Tensor:
    """The root mean square (K,) of (K, n, d) over particles and coordinates."""
    return error.square().mean((1, 2)).sqrt()
