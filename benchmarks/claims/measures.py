"""Measure clouds and fields, in ways that several claims share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.claims.setting import SURE


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of a (n,) and b (n,)."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def largest(values: Iterable[float]) -> float:
    """The largest of the values; NaN if one of them is."""
    return float(np.max(list(values)))


def gradient(network: nn.Module, value: Tensor) -> Tensor:
    """The gradient of a value by all parameters, in one row."""
    pulled = torch.autograd.grad(value, [*network.parameters()], retain_graph=True)
    return torch.cat([g.flatten() for g in pulled])


def relative(a: Tensor, b: Tensor) -> float:
    """The relative difference |a - b| / |b| of root mean squares."""
    return float((a - b).norm() / b.norm())


def sure(sd: float) -> float:
    """Four standard errors of a mean of three distances minus a sampling floor of eight."""
    return SURE * sd * math.sqrt(1 / 3 + 1 / 8)
