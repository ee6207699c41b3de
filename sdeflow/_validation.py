"""Check arguments: clouds, times, whole numbers, positive numbers, labels.

Every public function checks its arguments once, before any work. A check returns the value in the
form in which it is used, or raises an error of one sentence that says what is wrong, where, and
how to cure it. Nothing is checked again inside a loop.
"""

from __future__ import annotations

import math
import operator

import torch
from torch import Tensor

FLOAT32_EPS = torch.finfo(torch.float32).eps
"""The largest relative error of a time that was stored in float32."""


class SdeflowError(RuntimeError):
    """A run could not go on: a state is not finite, or a file does not hold what it should.

    Attributes:
        path: of a solver's run, the start, the requested states that were reached, and the last
            finite state; otherwise None.
    """

    path: object = None


def check_cloud(x: Tensor, name: str = "x", dim: int | None = None) -> Tensor:
    """Return `x` if it is a cloud: a floating-point tensor (n, d), n, d >= 1, all entries finite.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: wrong rank, no particles, wrong dimension, NaN or infinite entries.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {kind}; use torch.as_tensor")
    if x.ndim != 2:
        raise ValueError(
            f"{name} must be a cloud of shape (n, d), got shape {tuple(x.shape)}; reshape it"
        )
    if x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(f"{name} is empty (shape {tuple(x.shape)}); give at least one particle")
    if dim is not None and x.shape[1] != dim:
        raise ValueError(f"{name} must have dimension {dim}, got {x.shape[1]}")
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(1).nonzero()[0])
        raise ValueError(
            f"{name} has NaN or infinite entries, first in row {bad}; drop those rows"
        )
    return x


def check_int(value: object, name: str, least: int = 1) -> int:
    """Return `value` as an int if it is a whole number of at least `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _number(value: object, name: str) -> float:
    try:
        if isinstance(value, (str, bytes, bool)):  # `float` takes them, arithmetic does not
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None


def check_finite(value: float, name: str) -> float:
    """Return `value` as a float if it is a finite number."""
    number = _number(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def check_positive(value: float, name: str, *, zero: bool = False) -> float:
    """Return `value` as a float if it is finite and positive (or zero, where `zero` allows it)."""
    number = _number(value, name)
    if not (0.0 <= number if zero else 0.0 < number) or number == float("inf"):
        least = "zero or more" if zero else "positive"
        raise ValueError(f"{name} must be {least} and finite, got {value!r}")
    return number


def check_labels(value: object, name: str, most: int | None = None) -> Tensor:
    """Return `value`, one label () or one for each particle (n,), as whole numbers 0 to `most`."""
    try:
        found = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be whole numbers, got {type(value).__name__}") from None
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise TypeError(f"{name} must be whole numbers, got {found.dtype}")
    if found.ndim > 1 or not found.numel():
        raise ValueError(
            f"{name} must be one () or one for each particle (n,), got {tuple(found.shape)}"
        )
    if most is not None and not 0 <= int(found.min()) <= int(found.max()) <= most:
        raise ValueError(
            f"{name} must be 0 to {most}, got {int(found.min())} to {int(found.max())}"
        )
    return found.long()


def check_times(
    t: object, low: float = -math.inf, high: float = math.inf, name: str = "times"
) -> Tensor:
    """Return `t` in float64 if it is a strictly monotone row of times (K + 1,) in [low, high].

    Raises:
        TypeError: not numbers.
        ValueError: fewer than two times, not finite, not strictly monotone, outside [low, high].
    """
    try:
        t = torch.as_tensor(t, dtype=None if isinstance(t, Tensor) else torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a row of times, got {type(t).__name__}") from None
    if t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"{name} must be a row of times, got {t.dtype}")
    if t.ndim != 1 or len(t) < 2:
        raise ValueError(f"{name} must hold at least two times in one row, got {tuple(t.shape)}")
    t = t.detach().to("cpu", torch.float64)
    if not torch.isfinite(t).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    gaps = t[1:] - t[:-1]
    if not ((gaps > 0).all() or (gaps < 0).all()):
        k = int((gaps * gaps[0].sign() <= 0).nonzero()[0])
        raise ValueError(
            f"{name} must be strictly monotone, but entries {k} and {k + 1} are "
            f"{t[k]:.9g} and {t[k + 1]:.9g}"
        )
    # Times are made in floating point: an end may differ from low or high by a rounding error.
    slack = 1e-9 * max(abs(low), abs(high))
    if t.min() < low - slack - FLOAT32_EPS * abs(
        low
    ) or t.max() > high + slack + FLOAT32_EPS * abs(high):
        raise ValueError(
            f"{name} run from {t[0]:g} to {t[-1]:g}, outside [{low:g}, {high:g}]; give times "
            "inside that interval"
        )
    return t.clamp(low, high)
