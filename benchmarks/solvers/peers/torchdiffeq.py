"""torchdiffeq alone, for the probability flow in x and t.

torchdiffeq recommends no grid for this; the grid "log SNR" counts as its own. dopri5 chooses its
steps: it runs at the smallest of several tolerances for which its calls are within the budget,
found by trial on the same cloud, which is not counted. If there is none, the result is NaN.
"""

from __future__ import annotations

import torch
import torchdiffeq
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.contender import Contender, Counted, OverBudgetError, few
from benchmarks.solvers.ours import flow
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE

SKIPPED = ""
TOLERANCES = tuple(10 ** (-k / 2) for k in range(12, -5, -1))
PILOT = 64


def fixed(method: str) -> Solver:
    """A solver with one step in each interval."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        with torch.no_grad():
            row = sde.check_times(times)
            return torchdiffeq.odeint(lambda t, x: sde.drift(x, t), x, row, method=method)[-1]

    return solve


def _adaptive(sde: SDE, x: Tensor, ends: Tensor, tolerance: float) -> Tensor:
    """dopri5 with no step beyond the end."""
    with torch.no_grad():
        return torchdiffeq.odeint(
            lambda t, x: sde.drift(x, t), x, ends, rtol=tolerance, atol=tolerance,
            method="dopri5", options={"step_t": ends[-1:]},
        )[-1]  # fmt: skip


def dopri5(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
    """dopri5 with at most as many calls as the times have steps."""
    ends = sde.check_times(times)[[0, -1]]
    assert isinstance(sde, FieldSDE)
    free = sde.field.inner if isinstance(sde.field, Counted) else sde.field
    for tolerance in TOLERANCES:
        try:
            for cloud in (x[:PILOT], x):
                most = (len(times) - 1) * len(cloud)
                within = Counted(free.process, free, [0], most)
                _adaptive(sf.reverse(within, sde.eta), cloud, ends, tolerance)
        except (OverBudgetError, AssertionError):  # torchdiffeq asserts that its step is not 0
            continue
        return _adaptive(sde, x, ends, tolerance)
    return torch.full_like(x, torch.nan)


FLOWS = [
    Contender(f"{name} (torchdiffeq)", flow, solve, stages, grids, "torchdiffeq", "t")
    for name, solve, stages, grids in (
        ("Euler", fixed("euler"), 1, ("log SNR",)),
        ("Midpoint", fixed("midpoint"), 2, few("log SNR")),
        ("RK4", fixed("rk4"), 4, few("log SNR")),
        ("dopri5", dopri5, 1, ("log SNR",)),
    )
]

NOISY: list[Contender] = []
