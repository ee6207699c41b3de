r"""Compute when particles first reach a target, and how often they escape.

A particle may cross a boundary and come back within one step, so that a look at the ends of the
steps makes first passages late by O(sqrt(dt)). Between two states at distances s and s' on one
side of a plane the path is a Brownian bridge, which touches the plane with probability

    exp(-2 s s' / (g^2 dt)),

whatever a constant drift is. `first_passage` draws that event, which leaves an error of O(dt)
(Gobet 2000). In one dimension `escape_times` has the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_cloud
from sdeflow.analysis.estimate import Estimate
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.potentials import gradient, scalar
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

STEPS_HELD = 64  # steps solved at once: this many clouds are held in memory


@dataclass(frozen=True, eq=False)
class Passage:
    """When each particle first reached its target.

    Attributes:
        time: (n,) from the start to the arrival; for those that did not arrive, to the end.
        arrived: (n,) bool.
    """

    time: Tensor
    arrived: Tensor

    def __repr__(self) -> str:
        """One line."""
        count = len(self.time) - self.censored
        return f"first passage of {len(self.time)} particles: {count} arrived"

    @property
    def censored(self) -> int:
        """How many had not arrived at the end of the SDE's time span."""
        return int((~self.arrived).sum())

    def mean(self) -> Estimate:
        """The mean first-passage time.

        Raises:
            SdeflowError: a particle did not arrive, so that the mean is not known.
        """
        if self.censored:
            raise SdeflowError(
                f"{self.censored} of {len(self.time)} particles had not arrived after "
                f"{float(self.time.max()):.4g}, so their mean time is not known; give the SDE a "
                "later t_end, or ask for rate()"
            )
        return Estimate.of(self.time)

    def rate(self) -> Estimate:
        """The escape rate, arrivals / (total time before arrival), if escapes have no memory.

        It is the maximum-likelihood rate of exponential times, censored ones included, with the
        relative error 1 / sqrt(arrivals).

        Raises:
            SdeflowError: no particle arrived.
        """
        count = self.arrived.sum().double()
        if not count:
            raise SdeflowError("no particle arrived, so there is no rate; give a later t_end")
        rate = count / self.time.sum()
        return Estimate(rate, rate / count.sqrt())


def first_passage(
    sde: SDE, x: Tensor, distance: Callable[[Tensor], Tensor], solver: SDESolver
) -> Passage:
    """When particles that start at x (n, d) first reach the target, where distance(x) <= 0.

    A step from s to s', both outside, has crossed with probability
    exp(-2 s s' / (|g grad s|^2 dt)): exact for a flat boundary and a constant drift, else with an
    error of O(dt). A passage counts at the middle of its step. The run stops when all have
    arrived; memory is O(n).

    Args:
        sde: with noise.
        x: the start.
        distance: (n, d) -> (n,), the signed distance to the boundary, differentiable; or any
            smooth function that is positive outside and zero on the boundary.
        solver: its steps cover the SDE's whole time span.

    Raises:
        ValueError: the SDE has no noise.

    Source: Gobet 2000.
    """
    if sde.diffusion is None:
        raise ValueError("this SDE has no noise, so the time is not random; use an ODESolver")
    times = sde.check_times(sde.times(solver.steps) if solver.times is None else solver.times)
    fine = times if solver.fine is None else solver.fine
    middle = ((times[1:] + times[:-1]) / 2 - times[0]).abs()
    x = check_cloud(x).clone()
    arrived = scalar(distance, x) <= 0
    time = (times[-1] - times[0]).abs().expand(len(x)).masked_fill(arrived, 0.0)
    for first in range(0, len(middle), STEPS_HELD):
        away = (~arrived).nonzero()[:, 0]
        if not len(away):
            break
        part = times[first : first + STEPS_HELD + 1]
        # On the fine grid a step keeps its index, so that no noise is used twice.
        path = replace(solver, times=part, fine=fine).solve(sde, x[away], save=len(part))
        crossed = _crossed(sde, path, distance, solver.seed, first)
        now = crossed.any(0)
        time[away[now]] = middle[first + crossed.int().argmax(0)[now]]
        arrived[away[now]] = True
        x[away] = path.x[-1]
    return Passage(time, arrived)


def _crossed(
    sde: SDE, path: Path, distance: Callable[[Tensor], Tensor], seed: int, first: int
) -> Tensor:
    """In which steps of the path each particle has crossed the boundary, (T - 1, n)."""
    assert sde.diffusion is not None
    out = torch.empty(len(path.t) - 1, path.x.shape[1], dtype=torch.bool)
    for k, (x, y) in enumerate(zip(path.x[:-1], path.x[1:], strict=True)):
        g = sde.diffusion(x, path.t[k].to(x)) * gradient(distance, x)
        variance = (g**2).sum(1) * float((path.t[k + 1] - path.t[k]).abs())
        product = (scalar(distance, x) * scalar(distance, y)).double()
        chance = torch.exp(-2 * product / variance.double().clamp_min(1e-300))
        u = torch.from_numpy(random_generator(seed, Stream.CROSSING, first + k).random(len(x)))
        out[k] = (scalar(distance, y) <= 0) | (u < chance)
    return out
