"""Find where a point on the line came from by one step of noise, by quadrature (R1)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.on_the_line import line

LogDensity = Callable[[Tensor], Tensor]
"""ln of a density of mean 0 and variance 1."""

DATA = line([0.5, 0.3, 0.2], [1.0, -0.8, 0.1], [0.2, 0.3, 0.1])
Z = torch.linspace(-9, 9, 601, dtype=torch.float64)
GAP = float(Z[1] - Z[0])


def gaussian(z: Tensor) -> Tensor:
    """ln N(z; 0, 1)."""
    return -(z**2 + math.log(2 * math.pi)) / 2


def laplace(z: Tensor) -> Tensor:
    """ln of the Laplace density (two-sided exponential) of variance 1."""
    return -math.sqrt(2) * z.abs() - math.log(2) / 2


def step_back(noise: LogDensity, v: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """The log density of z given x (n,) after one step x = y + sqrt(v) z, y drawn from `DATA`.

    Returns:
        ln of the density of z given x on `Z`, (n, m), and ln of the density of x, (n,).
    """
    y = x[:, None] - math.sqrt(v) * Z
    both = DATA.log_prob(y.reshape(-1, 1)).reshape(y.shape) + noise(Z)
    log_p = torch.logsumexp(both, 1) + math.log(GAP)
    return both - log_p[:, None], log_p


def matched_gaussian(log_q: Tensor) -> Tensor:
    """ln of the Gaussian on `Z` with the same mean and variance, (n, m)."""
    q = log_q.exp() * GAP
    mean = (q * Z).sum(1, keepdim=True)
    spread = (q * (Z - mean) ** 2).sum(1, keepdim=True).sqrt()
    return gaussian((Z - mean) / spread) - torch.log(spread)


def kl_to_gaussian(noise: LogDensity, v: float) -> float:
    """The KL divergence of a step back from the Gaussian of its moments, mean over x (nats)."""
    x = torch.linspace(-3, 3, 201, dtype=torch.float64)
    log_q, log_p = step_back(noise, v, x)
    each = (log_q.exp() * (log_q - matched_gaussian(log_q))).sum(1) * GAP
    return float((each * log_p.exp()).sum() / log_p.exp().sum())
