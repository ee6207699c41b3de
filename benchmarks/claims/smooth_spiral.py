"""Use the spiral with each point a Gaussian of width 0.05, whose density is known."""

from __future__ import annotations

import torch

from benchmarks.claims.setting import POINTS, SPIRAL
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.processes.schedules import VP
from sdeflow.solvers.ode_solver import ODESolver

PRESERVING = VP()
SMOOTH = SPIRAL.smooth(0.05)
ROUND = ExactField(PRESERVING, PointSet(POINTS, width=0.05))
FINE = ODESolver("dopri5", rtol=1e-8, atol=1e-8)
TOLERATED = 1000 * FINE.rtol


def noised(t: float) -> GaussianMixture:
    """The distribution of x_t at time t."""
    c = PRESERVING(torch.tensor(t, dtype=torch.float64))
    return SMOOTH.noised(c.alpha, c.sigma)
