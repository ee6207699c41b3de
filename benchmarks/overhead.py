"""What a step costs beside the network: ours, as a ratio to the bare engines' own Euler step.

The network is free: it returns numbers made beforehand, in eval mode, as `fit` leaves one. An
engine's own step is a call as a user makes it, with a drift (and noise) that is free too:
torchdiffeq with `step_size`, torchsde with a Brownian motion whose numbers lie ready. Ours
includes the noise, the reverse SDE's coefficients, the check of every state, and Python.
Interleaved in one process, one thread, n = 256 particles.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torchdiffeq
import torchsde
from torch import Tensor, nn

import sdeflow as sf
from benchmarks import record

PROCESS = sf.VP()


class Free(nn.Module):
    """A network that costs nothing."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Zeros, made beforehand."""
        return self.out


class FreeSDE:
    """Drift and noise that cost nothing, for torchsde."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, out: Tensor) -> None:
        self.out = out

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift."""
        return self.out

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion."""
        return self.out


class Ready:
    """A Brownian motion whose numbers lie ready."""

    levy_area_approximation = "none"

    def __init__(self, out: Tensor) -> None:
        self.out, self.shape, self.dtype, self.device = out, out.shape, out.dtype, out.device

    def __call__(
        self, ta: Tensor, tb: Tensor | None = None, return_U: bool = False, return_A: bool = False
    ) -> Tensor:
        """W(tb) - W(ta)."""
        return self.out


def runs(n: int, steps: int) -> dict[str, tuple[Callable[[], object], str]]:
    """Each run, and the engine's own step that it is compared with."""
    zero, x = torch.zeros(n, 2), PROCESS.prior(n, 2, 0)
    field = sf.LearnedField(PROCESS, Free(zero).eval())
    sde, chain, flow = sf.reverse(field), sf.ancestral(field), sf.reverse(field, 0.0)
    free, ready, unit = FreeSDE(zero), Ready(zero), torch.tensor([0.0, 1.0])
    options = {"step_size": 1 / steps}

    def still(t: Tensor, y: Tensor) -> Tensor:
        return zero

    return {
        "torchsde alone": (
            lambda: torchsde.sdeint(free, x, unit * steps, bm=ready, method="euler", dt=1.0),
            "torchsde alone"),
        "torchdiffeq alone": (
            lambda: torchdiffeq.odeint(still, x, unit, method="euler", options=options),
            "torchdiffeq alone"),
        "sdeflow, torchsde euler": (
            lambda: sf.SDESolver("euler", steps).solve(sde, x), "torchsde alone"),
        "sdeflow, torchsde euler, DDPM": (
            lambda: sf.SDESolver("euler", steps).solve(chain, x), "torchsde alone"),
        "sdeflow, torchdiffeq euler": (
            lambda: sf.ODESolver("euler", steps).solve(flow, x), "torchdiffeq alone"),
    }  # fmt: skip


def rows(rounds: int, n: int = 256, steps: int = 1000) -> list[dict[str, object]]:
    """Microseconds a step, and the ratio to the engine's own step."""
    torch.set_num_threads(1)
    with torch.no_grad():
        found = runs(n, steps)
        seconds = record.interleaved(
            {k: run for k, (run, _) in found.items()}, rounds, time.process_time
        )
    return [
        {
            "question": "step beside a free network",
            "n": n,
            "threads": 1,
            "seed": 0,
            "variant": name,
            "ratio": record.ratio(spent, seconds[found[name][1]]),
            "median": statistics.median(spent) / steps * 1e6,
            "best": min(spent) / steps * 1e6,
        }
        for name, spent in seconds.items()
    ]
