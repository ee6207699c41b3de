"""The sampler of torchcfm's examples: torchdyn's `odeint` on the straight-line flow.

torchcfm itself has no sampler. The time grid of its examples is uniform in its time, which runs
from noise (0) to data (1): 1 - s, with s = sigma / (alpha + sigma) and z = x / (alpha + sigma).
"""

from __future__ import annotations

from torch import Tensor

from benchmarks.solvers.contender import Contender, few
from benchmarks.solvers.ours import flow
from benchmarks.solvers.peers.coordinates import Levels
from benchmarks.solvers.peers.loading import not_here, sampler_file
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE

SKIPPED = ""
try:
    numerics = sampler_file("torchdyn.numerics.odeint", ("torchcde",))
except ModuleNotFoundError as error:
    SKIPPED = not_here(
        error, "pip install attrs, then pip install --no-deps torchdyn (which asks for Lightning)"
    )

COORDINATES = "z = x / (alpha + sigma) at 1 - sigma / (alpha + sigma)"


def sampler(method: str) -> Solver:
    """A solver by a method of torchdyn with fixed steps."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        run = Levels.of(sde, times)
        first, last = run.scales(1)
        row = 1 - run.s
        _, path = numerics.odeint(
            lambda t, z: -run.velocity(z, 1 - float(t)), x / first, row, method, save_at=row[-1:]
        )
        return path[-1] * last

    return solve


FLOWS = [
    Contender(
        f"{name} (torchcfm)",
        flow,
        sampler(method),
        stages,
        few("flow time"),
        "torchcfm",
        COORDINATES,
    )
    for name, method, stages in (("Euler", "euler", 1), ("Midpoint", "midpoint", 2))
]

NOISY: list[Contender] = []

if SKIPPED:
    FLOWS = []
