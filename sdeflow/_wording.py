"""Say numbers in words, for one-line descriptions."""

from __future__ import annotations

import torch
from torch import Tensor


def in_words(numbers: Tensor | float) -> str:
    """A number in four digits, or the range of many: "0.5", "0.1 to 2"; "none" of none."""
    values = torch.as_tensor(numbers).detach()
    if not values.numel():
        return "none"
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high or not values.ndim else f"{low:.4g} to {high:.4g}"
