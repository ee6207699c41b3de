"""Flow matching's straight path is DDIM's curve, at other times and on another scale.

Says: WAN uses "a generalization of DDIM called flow matching" (000).
Measured: Euler's steps of the straight flow and DDIM's steps at the same noise levels are compared
from the same start; they agree to rounding once x is divided by alpha, so the two samplers are
one.
Control: the flow's time is set to the sigma of a variance-preserving process.
Source: docs/theory.md, (4.3): y = x / alpha at the same rho = sigma / alpha. Euler's step of the
flow at t = rho / (1 + rho) is DDIM's step at the same levels, not only in the limit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.setting import FLOW, WIDE, exact
from benchmarks.claims.spiral_samplers import ddim
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver


def share_of_noise(rho: Tensor) -> Tensor:
    """The flow's time, rho / (1 + rho)."""
    return rho / (1 + rho)


def share_of_amplitude(rho: Tensor) -> Tensor:
    """The sigma of a variance-preserving process, rho / sqrt(1 + rho^2)."""
    return rho / torch.sqrt(1 + rho**2)


SUBJECT, CONTROL = share_of_noise, share_of_amplitude  # the flow's time at a noise level


def measure(lab: Lab, time: Callable[[Tensor], Tensor]) -> Finding:
    """Distance between the two paths at 64 noise levels."""
    rho = torch.logspace(1, -2, 64, dtype=torch.float64)
    x = WIDE.prior(500, 2, lab.seed, torch.float64)
    times, t = WIDE.time_of(rho).clamp(0, 1), time(rho)
    path = ODESolver("euler", times=times).solve(ddim(exact()), x, 64).x
    flow = ODESolver("euler", times=t).solve(reverse(exact(FLOW), 0.0), (1 - t[0]) * x, 64).x
    off = float((path - flow / (1 - t)[:, None, None]).abs().max())
    return Finding(
        [Check("largest distance between the two paths", off, at_most(1e-9), "rounding")],
        notes={"length of the largest step": float(path.diff(dim=0).norm(dim=2).max())},
    )
