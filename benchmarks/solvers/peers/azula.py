"""The samplers of azula, with its default options; REAB also of order 3.

They accept any alpha and sigma, here those of azula's VP schedule, alpha^2 + sigma^2 = 1; its own
time grid is uniform in the time of that schedule. The step of REAB as released (0.11.1) has
sqrt(alpha_s^2 + sigma_t^2), with sigma at the wrong end, but its docstring has sqrt(alpha_s^2 +
sigma_s^2). The two agree for constant sigma: for alpha = 1 / rho and sigma = 1 the released code
is the documented method, and both are run.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from benchmarks.solvers.contender import Contender, few
from benchmarks.solvers.ours import flow, reverse
from benchmarks.solvers.peers.coordinates import Levels, seeded
from benchmarks.solvers.peers.loading import not_here
from sdeflow.integrations.diffusers import Solver
from sdeflow.sdes.sde import SDE

SKIPPED = ""
try:
    from azula import sample
except ModuleNotFoundError as error:
    SKIPPED = not_here(
        error, "pip install einops, then pip install --no-deps azula (which asks for torchvision)"
    )

COORDINATES = "alpha^2 + sigma^2 = 1 at equal sigma / alpha"
UNIT_NOISE = "sigma = 1 at equal sigma / alpha"


@dataclass(frozen=True)
class Denoiser:
    """A field with the interface of azula's samplers, whose time is the index of the step."""

    run: Levels
    alpha: Tensor

    def schedule(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma at the step `time`."""
        k = time.round().long()
        return self.alpha[k], (self.alpha * self.run.rho)[k]

    def __call__(self, x: Tensor, time: Tensor) -> SimpleNamespace:
        """The posterior, of which the samplers use the mean."""
        k = int(time.round())
        return SimpleNamespace(mean=self.run.data(x / float(self.alpha[k]), self.run.rho[k]))


def sampler(name: str, coordinates: str = COORDINATES, **options: object) -> Solver:
    """`azula.sample.<name>Sampler`."""

    def solve(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        run = Levels.of(sde, times)
        first, last = run.scales()
        alpha = 1 / run.rho if coordinates == UNIT_NOISE else 1 / torch.sqrt(1 + run.rho**2)
        steps = len(run.rho) - 1
        made = getattr(sample, f"{name}Sampler")(
            Denoiser(run, alpha), start=0.0, stop=float(steps), steps=steps, silent=True,
            dtype=torch.float64, **options,
        )  # fmt: skip
        with seeded(seed):
            end = made(x * (float(alpha[0]) / first))
        return (end * (last / float(alpha[-1]))).to(x)

    return solve


def of_flow(
    kind: str,
    grids: tuple[str, ...],
    stages: int = 1,
    coordinates: str = COORDINATES,
    **options: object,
) -> Contender:
    """A sampler of the probability flow."""
    order = f" {options['order']}" if options else ""
    name = f"{kind}{order}{', sigma 1' if coordinates == UNIT_NOISE else ''} (azula)"
    return Contender(
        name, flow, sampler(kind, coordinates, **options), stages, grids, "azula", coordinates
    )


def of_sde(kind: str, grids: tuple[str, ...], stages: int = 1) -> Contender:
    """A sampler of the reverse SDE."""
    return Contender(
        f"{kind} (azula)", reverse, sampler(kind), stages, grids, "azula", COORDINATES
    )


OWN = "azula's VP time"

FLOWS = [
    of_flow("Euler", (OWN,)),
    of_flow("Heun", (OWN,), 2),
    *(of_flow(f"{row}AB", few(OWN), order=2) for row in ("z", "v", "zE", "xE", "RE")),
    *(of_flow("REAB", few(OWN), coordinates=UNIT_NOISE, order=order) for order in (2, 3)),
]

NOISY = [of_sde("DDPM", (OWN,)), of_sde("Ito", few(OWN)), of_sde("PC", few(OWN), 2)]

if SKIPPED:
    FLOWS, NOISY = [], []
