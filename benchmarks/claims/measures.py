"""Measures that several claims take of a cloud or a field."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of a (n,) and b (n,)."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def largest(values: Iterable[float]) -> float:
    """The largest of the values; NaN if one of them is."""
    return float(np.max(list(values)))
