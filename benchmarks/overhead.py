"""Measure the time of a step without its network, as a ratio to an Euler step of the engines.

The network takes no time: it returns prepared numbers. The engines' own step is a plain call with
a drift (and noise) that takes no time either: torchdiffeq with `step_size`, torchsde with a
Brownian motion of prepared increments. Our step includes the noise, the coefficients of the
reverse SDE, the check of every state, and Python. Runs are interleaved in one process of one
thread, with n = 256 particles.
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
    """A network that takes no time."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return prepared zeros."""
        return self.out


class FreeSDE:
    """An SDE for torchsde whose drift and noise take no time."""

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
    """A Brownian motion with prepared increments."""

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
    """The time of a step in microseconds, and its ratio to the engine's own step."""
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
