r"""Compute mass, mean and variance of a standard normal truncated to an interval, to rounding.

In a tail or in a narrow interval the mass is a difference of nearly equal numbers. In a tail it is
computed from the smaller probabilities, and in a narrow interval by Gauss-Legendre quadrature.

See docs/theory.md, (3.9).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

NODES, WEIGHTS = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(16))
HALF_LOG = math.log(2 * math.pi) / 2

Truncated = tuple[Tensor, Tensor, Tensor]
"""ln Z, mean and variance of a standard normal between two edges, each (n, m)."""


def tails(edges: Tensor) -> tuple[Tensor, Tensor]:
    """2 Z and 2 (phi(e') - phi(e)), each (n, m), of a standard normal between edges e < e'.

    The edges (n, m + 1) rise. The mass Z is computed from the tail probabilities
    erfc(|e| / sqrt 2), whose differences keep their digits in both tails.
    """
    tail = torch.copysign(torch.erfc(edges.abs() * math.sqrt(0.5)), -edges)
    # The sign of the tail and not of the edge, because the edge may be 0.
    mass = tail.diff(dim=1) + 2 * torch.signbit(tail).to(edges.dtype).diff(dim=1)
    height = math.sqrt(2 / math.pi) * torch.exp(-(edges**2) / 2)
    return mass, height.diff(dim=1)


def truncated_normal(edges: Tensor) -> Truncated:
    """ln Z, mean and variance, each (n, m), of a standard normal between edges (n, m + 1).

    The edges fall. Z is the mass between two of them.
    """
    high, low = edges[:, :-1], edges[:, 1:]
    middle, half = (low + high) / 2, (high - low) / 2
    # Mirrored so that the interval lies in the lower tail, where ln Phi keeps its digits.
    turned = middle > 0
    low, high = torch.where(turned, -high, low), torch.where(turned, -low, high)
    below, above = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    inside = -torch.expm1(below - above)  # Z / Phi(high)
    # phi / Phi at the end nearer to 0 is not computed by logarithms, which are large there.
    mills = torch.special.erfcx(-high.clamp_max(30.0) / math.sqrt(2))
    right = math.sqrt(2 / math.pi) / (mills * inside)
    left = right * torch.exp((high - low) * (high + low) / 2)
    log_z, mean = above + torch.log(inside), left - right
    variance = (1 + low * left - high * right - mean**2).clamp_min(0)
    wide = log_z, torch.where(turned, -mean, mean), variance
    # In a narrow interval these are differences of nearly equal numbers.
    narrow = (half < 0.5) & (half * middle.abs() < 2)
    if not narrow.any():
        return wide
    near = _close(torch.where(narrow, middle, 0.0), torch.where(narrow, half, 0.5))
    log_z, mean, variance = (torch.where(narrow, a, b) for a, b in zip(near, wide, strict=True))
    return log_z, mean, variance


def _close(middle: Tensor, half: Tensor) -> Truncated:
    """ln Z, mean and variance for the interval middle +- half, by Gauss-Legendre quadrature."""
    nodes, weights = NODES.to(half.device), WEIGHTS.to(half.device)
    off = half[..., None] * nodes
    height = weights * torch.exp(-off * (middle[..., None] + off / 2))
    total = height.sum(-1)
    mean = (height * off).sum(-1) / total
    variance = (height * (off - mean[..., None]) ** 2).sum(-1) / total
    return torch.log(half * total) - middle**2 / 2 - HALF_LOG, middle + mean, variance


def ramp(y: np.ndarray, sigma: float) -> np.ndarray:
    """E[max(y + sigma z, 0)], z standard normal."""
    if sigma == 0.0:
        return np.maximum(y, 0.0)
    z = y / sigma
    return y * ndtr(z) + sigma * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
