"""Solve the same reverse SDE and flow by plain calls of the engines, and by diffusers.

Each function returns a run of `steps` network calls on the cloud x.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchdiffeq
import torchsde
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor, nn

import sdeflow as sf

PROCESS = sf.VP()
SPAN = PROCESS.t_max - PROCESS.t_min

Run = Callable[[], object]


def level(c: sf.processes.Coefficients) -> Tensor:
    """The network's input for time: ln(sigma / alpha) / 4."""
    return torch.log(c.sigma / c.alpha) / 4


class Plain:
    """The reverse SDE of VP in its simplest form for torchsde: f and g."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def f(self, s: Tensor, x: Tensor) -> Tensor:
        """The drift in s = t_max - t."""
        c = PROCESS(PROCESS.t_max - s)
        eps = self.network(x, level(c))
        rate = c.alpha_dot / c.alpha
        return -(rate * x + 2 * (c.sigma_dot - rate * c.sigma) * eps)

    def g(self, s: Tensor, x: Tensor) -> Tensor:
        """The diffusion (n, d)."""
        return PROCESS.diffusion(PROCESS.t_max - s).expand_as(x)

    def flow(self, t: Tensor, x: Tensor) -> Tensor:
        """The probability flow in t, for torchdiffeq."""
        c = PROCESS(t)
        rate = c.alpha_dot / c.alpha
        return rate * x + (c.sigma_dot - rate * c.sigma) * self.network(x, level(c))


def plain_sde(network: nn.Module, x: Tensor, steps: int) -> Run:
    """A run of torchsde with its own Brownian motion and a fixed step in t."""
    plain, ends = Plain(network), torch.tensor([0.0, SPAN])
    return lambda: torchsde.sdeint(plain, x, ends, method="euler", dt=SPAN / steps)


def plain_ode(network: nn.Module, x: Tensor, steps: int) -> Run:
    """A run of torchdiffeq with a fixed step in t."""
    plain, ts = Plain(network), torch.tensor([PROCESS.t_max, PROCESS.t_min])
    options = {"step_size": SPAN / steps}
    return lambda: torchdiffeq.odeint(plain.flow, x, ts, method="euler", options=options)


def diffusers_loop(
    kind: type[DDPMScheduler | DDIMScheduler], network: nn.Module, x: Tensor, steps: int
) -> Run:
    """A run of the loop in diffusers' pipelines with one of its schedulers."""

    def run() -> Tensor:
        s = kind(clip_sample=False)
        s.set_timesteps(steps)
        noise = (1 / s.alphas_cumprod - 1).log() / 8
        y = x
        for k in s.timesteps:
            y = s.step(network(y, noise[k]), k, y).prev_sample
        return y

    return run
