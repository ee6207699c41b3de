"""The samplers of smalldiffusion: DDIM, DDPM, and its accelerated sampler.

Its own time grid is that of its ScheduleLogLinear, uniform in log SNR. It uses x / alpha and the
levels sigma / alpha. gam and mu have the values in the comment above its `samples`.
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

COORDINATES = "x / alpha at levels sigma / alpha"


@dataclass(frozen=True)
class Model:
    """A field with the interface that `samples` needs."""

    run: Levels
    like: Tensor
    generator: torch.Generator

    def eval(self) -> None:
        """Do nothing: a field has no training mode."""

    def rand_input(self, n: int) -> Tensor:
        """Normals of the shape of the cloud."""
        return torch.randn(self.like.shape, generator=self.generator, dtype=self.like.dtype)

    def predict_eps_cfg(self, y: Tensor, rho: Tensor, cond: None, scale: float) -> Tensor:
        """The noise prediction, without guidance."""
        return self.run.noise(y, float(rho))


def sampler(gam: float, mu: float) -> Solver:
    """A solver by `samples` with these parameters."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        run = Levels.of(sde, times)
        first, last = run.scales()
        model = Model(run, x, torch.Generator().manual_seed(seed))
        # `samples` uses the accelerator only without a given start.
        *_, y = diffusion.samples(
            model, run.rho, gam, mu, xt=x / first, batchsize=len(x), accelerator=object()
        )
        return y * last

    return solve


def contender(name: str, sde: object, gam: float, mu: float, grids: tuple[str, ...]) -> Contender:
    """`samples` as a solver of the comparison."""
    assert callable(sde)
    name = f"{name} (smalldiffusion)"
    return Contender(name, sde, sampler(gam, mu), 1, grids, "smalldiffusion", COORDINATES)


FLOWS = [
    contender("DDIM", flow, 1.0, 0.0, ("log SNR",)),
    contender("accelerated", flow, 2.0, 0.0, few("log SNR")),
]

NOISY = [contender("DDPM", reverse, 1.0, 0.5, ("log SNR",))]

if SKIPPED:
    FLOWS, NOISY = [], []
