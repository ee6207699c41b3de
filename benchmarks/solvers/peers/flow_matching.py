"""The ODE solver of flow_matching, on the straight-line flow.

Its licence (CC BY-NC) forbids commercial use, so that no extra of sdeflow installs it. Its own
time grid is uniform in its time, which runs from noise (0) to data (1): 1 - s, with s = sigma /
(alpha + sigma) and z = x / (alpha + sigma).
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.solvers.contender import Contender, few
from benchmarks.solvers.ours import flow
from benchmarks.solvers.peers.coordinates import Levels
from benchmarks.solvers.peers.loading import not_here
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE

SKIPPED = ""
try:
    from flow_matching.solver import ODESolver
except ModuleNotFoundError as error:
    SKIPPED = not_here(
        error, "its licence is CC BY-NC; if you may use it: pip install flow_matching"
    )

COORDINATES = "z = x / (alpha + sigma) at 1 - sigma / (alpha + sigma)"


def sampler(method: str) -> Solver:
    """A solver by flow_matching, with a method of torchdiffeq."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        run = Levels.of(sde, times)
        first, last = run.scales(1)
        solver = ODESolver(lambda x, t: -run.velocity(x, 1 - float(t)))
        return last * solver.sample(x / first, None, method, time_grid=1 - run.s)

    return solve


FLOWS = [
    Contender(
        f"{name} (flow_matching)",
        flow,
        sampler(method),
        stages,
        grids,
        "flow_matching",
        COORDINATES,
    )
    for name, method, stages, grids in (
        ("Euler", "euler", 1, ("flow time",)),
        ("Midpoint", "midpoint", 2, ("flow time",)),
        ("Heun 3", "heun3", 3, few("flow time")),
    )
]

NOISY: list[Contender] = []

if SKIPPED:
    FLOWS = []
