"""Say numbers and errors of other packages in words, on one line."""

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


def reason(error: Exception) -> str:
    """The message of another package's error, on one line and short, without unprintable text."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def sentence(error: Exception) -> str:
    """The message of an error; one of the operating system names the file and not a number."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read or written: {error.strerror}"
    return str(error)
