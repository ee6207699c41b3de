"""Check arguments: clouds, times, whole numbers, positive numbers, labels.

Every public function checks its arguments once, before any work. A check returns the value in the
form in which it is used, or raises an error of one sentence that says what is wrong, where, and
how to cure it. Nothing is checked again inside a loop.
"""

from __future__ import annotations

import math
import operator

import numpy as np
import torch
from torch import Tensor

FLOAT32_EPS = torch.finfo(torch.float32).eps
"""The largest relative error of a time that was stored in float32."""


class SdeflowError(RuntimeError):
    """A run could not go on: a state is not finite, or a file does not hold what it should.

    Attributes:
        path: of a solver's run, the start and the last finite state; otherwise None.
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


def check_plane(x: object, name: str = "x") -> Tensor:
    """Return `x`, a tensor, an array or nested lists, in float64 if it is a cloud in the plane."""
    if not isinstance(x, Tensor):
        try:
            x = torch.as_tensor(x, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"{name} must be a cloud (n, 2), got {type(x).__name__}") from None
    x = check_cloud(x, name)
    if x.shape[1] != 2:
        cure = f"choose two: {name}[:, [0, 1]]" if x.shape[1] > 2 else "draw one by ax.hist"
        raise ValueError(f"{name} must lie in the plane, got {x.shape[1]} coordinates; {cure}")
    return x.detach().double()


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


def check_kind(value: object, kind: type, name: str, makers: str) -> None:
    """Refuse what is not of this class, and name what makes one."""
    if not isinstance(value, kind):
        got = type(value).__name__
        raise TypeError(f"{name} must be a {kind.__name__} ({makers}), got {got}")


def check_seed(value: object, name: str = "seed") -> int:
    """Return `value` as an int if it is a whole number from 0 to 2^64 - 1, a generator's key."""
    seed = check_int(value, name, 0)
    if seed >= 2**64:
        raise ValueError(f"{name} must be below 2^64, got {seed}")
    return seed


def _number(value: object, name: str) -> float:
    try:
        if isinstance(value, (str, bytes, bool)):  # `float` takes them, arithmetic does not
            raise TypeError
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None


def check_numbers(value: object, name: str, shape: tuple[int, ...]) -> Tensor:
    """Return `value`, a tensor, an array or nested lists of finite numbers, in float64."""
    try:
        # numpy holds Python's numbers in float64, torch in its default type.
        found = value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))
        if found.is_complex() or found.dtype == torch.bool:
            raise TypeError
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must hold real numbers, got {type(value).__name__}") from None
    if found.shape != shape or not torch.isfinite(found).all():
        raise ValueError(
            f"{name} must hold finite numbers of shape {shape}, got shape {tuple(found.shape)}"
        )
    return found.detach().to("cpu", torch.float64)


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
    t: Tensor, low: float = -math.inf, high: float = math.inf, name: str = "times"
) -> Tensor:
    """Return `t` in float64 if it is a strictly monotone row of times (K + 1,) in [low, high].

    Raises:
        TypeError: not a tensor of numbers.
        ValueError: fewer than two times, not finite, not strictly monotone, outside [low, high].
    """
    if not isinstance(t, Tensor) or t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"{name} must be a tensor of times, got {type(t).__name__}")
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
