"""Run DDPM's two algorithms as they stand in the paper (R9)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.noising_and_back import UNUSED_STEP
from sdeflow.random_streams import KeyedNormals, Stream
from sdeflow.solvers.brownian import Brownian

Network = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> eps."""


def algorithm_1(network: Network, x0: Tensor, t: Tensor, eps: Tensor, betas: Tensor) -> Tensor:
    """The loss of a step of DDPM's training, (): x0, eps (n, d), t (n,) of 1 to T.

        mean |eps - eps_theta(sqrt(alpha_bar_t) x0 + sqrt(1 - alpha_bar_t) eps, t)|^2.

    Source: Ho et al. 2020, Algorithm 1.
    """
    bar = torch.cumprod(1 - betas, 0)[t - 1, None]
    return ((eps - network(bar.sqrt() * x0 + (1 - bar).sqrt() * eps, t)) ** 2).sum(1).mean()


def algorithm_2(
    network: Network, x: Tensor, betas: Tensor, noise: Callable[[int], Tensor]
) -> Tensor:
    """DDPM's sampler: from x (n, d) ~ N(0, I), with noise(k) (n, d) in its step k, to x_0 (n, d).

        x <- (x - beta_t / sqrt(1 - alpha_bar_t) eps_theta(x, t)) / sqrt(1 - beta_t) + spread z.

    Source: Ho et al. 2020, Algorithm 2, with the small variance of section 3.2.
    """
    bars = torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, 0)])
    for k, t in enumerate(range(len(betas), 0, -1)):
        beta, bar, before = betas[t - 1], bars[t], bars[t - 1]
        x = x - beta / (1 - bar).sqrt() * network(x, torch.tensor(float(t), dtype=x.dtype))
        x = x / (1 - beta).sqrt()
        if t > 1:
            x = x + (beta * (1 - before) / (1 - bar)).sqrt() * noise(k)
    return x


def renewed(seed: int, n: int, fresh: float) -> Callable[[int], Tensor]:
    """Noise z (n, 2) of step k: a part `fresh` is new, the rest is the same in every step."""
    times = torch.arange(1000, 0, -1, dtype=torch.float64)
    w = Brownian(seed, n, 2, torch.float64, times=times)
    again = KeyedNormals(seed, Stream.MOTION, n, 2, torch.float64).draw(UNUSED_STEP)
    return lambda k: fresh * w(k, k + 1) + math.sqrt(1 - fresh**2) * again
