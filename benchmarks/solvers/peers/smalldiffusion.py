"""The sampler of smalldiffusion: DDIM, DDPM, and its accelerated sampler.

Its own time grid is its ScheduleLogLinear's, uniform in log SNR. It takes x / alpha and the levels
sigma / alpha. gam and mu are those of the comment above its `samples`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.solvers.contender import Contender, few
from benchmarks.solvers.ours import flow, reverse
from benchmarks.solvers.peers.coordinates import Levels
from benchmarks.solvers.peers.loading import not_here, sampler_file
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE

SKIPPED = ""
try:
    diffusion = sampler_file("smalldiffusion.diffusion", ("accelerate",))
except ModuleNotFoundError as error:
    SKIPPED = not_here(
        error, "pip install --no-deps smalldiffusion (its torchvision is for data of images)"
    )

CLOCK = "x / alpha at levels sigma / alpha"


@dataclass(frozen=True)
class Model:
    """A field as `samples` calls it."""

    run: Levels
    like: Tensor
    generator: torch.Generator

    def eval(self) -> None:
        """A field has no training mode."""

    def rand_input(self, n: int) -> Tensor:
        """Normals of the shape of the cloud."""
        return torch.randn(self.like.shape, generator=self.generator, dtype=self.like.dtype)

    def predict_eps_cfg(self, y: Tensor, rho: Tensor, cond: None, scale: float) -> Tensor:
        """The noise; there is no guidance."""
        return self.run.noise(y, float(rho))


def sampler(gam: float, mu: float) -> Solver:
    """`samples` with these parameters."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        run = Levels.of(sde, times)
        first, last = run.scales()
        model = Model(run, x, torch.Generator().manual_seed(seed))
        # The accelerator is asked for a device only where no start is given.
        *_, y = diffusion.samples(
            model, run.rho, gam, mu, xt=x / first, batchsize=len(x), accelerator=object()
        )
        return y * last

    return solve


def contender(name: str, sde: object, gam: float, mu: float, grids: tuple[str, ...]) -> Contender:
    """`samples` under a name."""
    assert callable(sde)
    name = f"{name} (smalldiffusion)"
    return Contender(name, sde, sampler(gam, mu), 1, grids, "smalldiffusion", CLOCK)


FLOWS = [
    contender("DDIM", flow, 1.0, 0.0, ("log SNR",)),
    contender("accelerated", flow, 2.0, 0.0, few("log SNR")),
]

NOISY = [contender("DDPM", reverse, 1.0, 0.5, ("log SNR",))]

if SKIPPED:
    FLOWS, NOISY = [], []
