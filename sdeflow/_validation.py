"""Check arguments: clouds, times, numbers, labels, functions, kinds of things, file names.

Every public function checks its arguments once, before any work, and not again inside a loop. A
check returns the value in the form in which it is used, or raises an error of one sentence that
says which argument is wrong, why, and how to cure it.
"""

from __future__ import annotations

import contextlib
import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

FLOAT32_EPS = torch.finfo(torch.float32).eps
"""A bound on the relative error of a time that was rounded to float32."""


class SdeflowError(RuntimeError):
    """An error during a run: a state is not finite, or a file does not hold what it should.

    Attributes:
        path: after a solver's run, a `Path` of the start, of the requested states that were
            reached, and of the last finite state; otherwise None.
    """

    path: object = None


T = TypeVar("T")
Numbers = Tensor | np.ndarray | Sequence
"""Numbers in a tensor, an array or a (nested) sequence."""


def shown(value: object) -> str:
    """A short description of a value, on one line, for error messages."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "a tensor" if isinstance(value, Tensor) else "an array"
        return f"{kind} {tuple(value.shape)}" if value.ndim else f"{value.item()!r}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or isinstance(
        plain, bool | int | float | complex | str | bytes | torch.dtype
    ):
        text = repr(plain)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return type(value).__name__


def check_cloud(x: Tensor, name: str = "x", dim: int | None = None) -> Tensor:
    """Return `x` if it is a cloud: a floating-point tensor (n, d), n, d >= 1, all entries finite.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: wrong rank, no particles, wrong dimension, NaN or infinite entries.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must be a floating-point tensor, got {kind}{cloud_cure(x)}")
    if x.ndim != 2:
        line = "; use x[:, None] for particles on a line, x[None] for one particle"
        cure = line if x.ndim == 1 else "; flatten each particle with x.flatten(1)" * (x.ndim > 2)
        raise ValueError(
            f"{name} must be a cloud of shape (n, d), got shape {tuple(x.shape)}{cure}"
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


def cloud_cure(value: object) -> str:
    """The end of the sentence that refuses a value that is no cloud: how to make one of it."""
    if isinstance(value, Tensor):
        return "; take its real part" if value.is_complex() else "; convert it with .double()"
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return "; use torch.from_numpy" + ("" if value.dtype.kind == "f" else "(...).double()")
    if isinstance(value, list | tuple):
        rows = len(value) > 0 and all(isinstance(row, Tensor) for row in value)
        return "; use torch.stack" if rows else "; use torch.tensor(..., dtype=torch.float64)"
    if isinstance(getattr(value, "x", None), Tensor):  # a Path
        return "; its last cloud is .x[-1]"
    if callable(getattr(value, "sample", None)) and not isinstance(value, type):
        return "; draw a cloud with its .sample(n, seed)"
    return ""


def check_int(value: object, name: str, least: int = 1) -> int:
    """Return `value` as an int if it is a whole number of at least `least`."""
    try:
        number = operator.index(None if isinstance(value, bool) else value)  # type: ignore
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {shown(value)}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def check_seed(value: object, name: str = "seed") -> int:
    """Return `value` as an int if it is a whole number from 0 to 2^64 - 1."""
    seed = check_int(value, name, 0)
    if seed >= 2**64:
        raise ValueError(f"{name} must be below 2^64, got {seed}")
    return seed


def _number(value: object, name: str) -> float:
    """Return `value` as a float; `float` takes texts and bools, arithmetic does not."""
    try:
        plain = value.item() if isinstance(value, Tensor | np.ndarray | np.generic) else value
        number = float(None if isinstance(plain, str | bytes | bool) else plain)  # type: ignore
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None
    if 1e150 < abs(number) < math.inf:  # its square may be infinite
        raise ValueError(f"{name} must be at most 1e150 in size, got {shown(value)}; rescale")
    return number


def check_finite(value: float, name: str) -> float:
    """Return `value` as a float if it is a finite number."""
    number = _number(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return number


def check_positive(value: float, name: str, *, zero: bool = False) -> float:
    """Return `value` as a float if it is finite and positive (or zero, where `zero` allows it)."""
    number = _number(value, name)
    if not (0.0 <= number if zero else 0.0 < number) or number == float("inf"):
        least = "zero or more" if zero else "positive"
        raise ValueError(f"{name} must be {least} and finite, got {shown(value)}")
    if not zero and number < 1e-150:  # its square may be zero
        raise ValueError(f"{name} must be at least 1e-150, got {shown(value)}; rescale")
    return number


def check_between(value: float, name: str, low: float, high: float) -> float:
    """Return `value` as a float in [low, high]; an end may have been rounded to float32."""
    number = _number(value, name)
    slack = FLOAT32_EPS * max(abs(low), abs(high))
    if not low - slack <= number <= high + slack:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], got {shown(value)}")
    return min(max(number, low), high)


def check_labels(
    value: object, name: str, most: int | None = None, count: int | None = None
) -> Tensor:
    """Return labels, whole numbers from 0 to `most`, as int64: () or (n,), or only (count,)."""
    try:
        found = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be whole numbers, got {type(value).__name__}") from None
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        cure = "; use .long()" if isinstance(value, Tensor) and not found.is_complex() else ""
        raise TypeError(f"{name} must be whole numbers, got {found.dtype}{cure}")
    if found.ndim > 1 or not found.numel():
        raise ValueError(
            f"{name} must be one () or one for each particle (n,), got {tuple(found.shape)}"
        )
    if count is not None and found.shape != (count,):
        raise ValueError(f"{name} must be ({count},), one per point, got {tuple(found.shape)}")
    low, high = int(found.min()), int(found.max())
    if low < 0 or (most is not None and high > most):
        wanted = "count from 0" if most is None else f"be 0 to {most}"
        raise ValueError(f"{name} must {wanted}, got {low}{f' to {high}' if high > low else ''}")
    return found.long()


def check_numbers(value: object, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return finite numbers in a tensor, an array or a (nested) sequence as a float64 tensor.

    If `shape` is given, they must have that shape.
    """
    found = as_numbers(value, name)
    if shape is not None and found.shape != shape:
        raise ValueError(
            f"{name} must hold finite numbers of shape {shape}, got shape {tuple(found.shape)}"
        )
    if not torch.isfinite(found).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return found


def as_numbers(value: object, name: str) -> Tensor:
    """Return numbers of any shape, NaN and infinity included, as a float64 tensor on the CPU."""
    return _as_tensor(value, name).detach().to("cpu", torch.float64)


def as_floating(value: object, name: str) -> Tensor:
    """Return numbers as a floating-point tensor.

    A floating-point tensor is returned as it is, with its gradient; a tensor of integers takes
    torch's default type, and all other numbers float64.
    """
    found = _as_tensor(value, name)
    if not isinstance(value, Tensor):
        return found.double()
    return found if found.is_floating_point() else found.to(torch.get_default_dtype())


def _as_tensor(value: object, name: str) -> Tensor:
    found, kind = value, shown(value)
    if not isinstance(value, Tensor):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            found = torch.from_numpy(np.array(value))  # torch.as_tensor would round to float32
    if isinstance(found, Tensor):
        if not found.is_complex() and found.dtype != torch.bool:
            return found
        kind = str(found.dtype)
    raise TypeError(f"{name} must be real numbers, in a tensor, an array or a list, got {kind}")


def check_times(
    t: Numbers, low: float = -math.inf, high: float = math.inf, name: str = "times"
) -> Tensor:
    """Return `t` in float64 if it is a strictly monotone row of times (K + 1,) in [low, high].

    A time that lies outside by a rounding error, of float32 at most, becomes `low` or `high`.
    """
    t = check_numbers(t, name)
    if t.ndim != 1 or len(t) < 2:
        got = f"shape {tuple(t.shape)}" if t.ndim else "one number"
        raise ValueError(f"{name} must hold at least two times in one row, got {got}")
    gaps = t[1:] - t[:-1]
    if not ((gaps > 0).all() or (gaps < 0).all()):
        k = int((gaps * gaps[0].sign() <= 0).nonzero()[0])
        raise ValueError(
            f"{name} must be strictly monotone, but entries {k} and {k + 1} are "
            f"{t[k]:.9g} and {t[k + 1]:.9g}"
        )
    slack = 1e-9 * max((abs(end) for end in (low, high) if math.isfinite(end)), default=0.0)
    least, most = low - slack - FLOAT32_EPS * abs(low), high + slack + FLOAT32_EPS * abs(high)
    if t.min() < least or t.max() > most:
        raise ValueError(
            f"{name} run from {t[0]:g} to {t[-1]:g}, outside [{low:g}, {high:g}]; give times "
            "inside that interval"
        )
    return t.clamp(low, high)


def check_kind(value: object, kind: type[T], name: str, cure: str = "") -> T:
    """Return `value` if it is an instance of `kind`; `cure` is the end of the error message."""
    if isinstance(value, kind):
        return value
    what = kind.__name__
    article = "an" if what.startswith(("A", "E", "I", "O", "SDE", "MLP")) else "a"
    if isinstance(value, type) and issubclass(value, kind):
        cure = f"make one, {value.__name__}(...)"
    raise TypeError(
        f"{name} must be {article} {what}, got {shown(value)}{f'; {cure}' if cure else ''}"
    )


def check_function(value: object, name: str, what: str = "") -> None:
    """Raise a TypeError if `value` cannot be called; `what` names its arguments and result."""
    if not callable(value):
        raise TypeError(f"{name} must be a function{what and ' ' + what}, got {shown(value)}")


def check_file(path: object, name: str = "path") -> Path:
    """Return `path`, the name of a file or folder, as a Path."""
    if not isinstance(path, str | os.PathLike) or path == "":
        raise TypeError(f"{name} must be a file name or a Path, got {shown(path)}")
    return Path(path)


def check_device(device: object, name: str = "device") -> torch.device:
    """Return `device` as a torch.device if this machine has it."""
    try:
        found = torch.device(device)  # type: ignore[call-overload]
        torch.ones((), device=found).item()
    except (TypeError, RuntimeError, AssertionError) as error:
        why = f"{shown(device)} ({str(error).splitlines()[0]})"
        raise ValueError(f"{name} must be a device of this machine, got {why}") from None
    return found


def check_dtype(dtype: object, name: str = "dtype") -> torch.dtype:
    """Return `dtype` if it is a floating-point type of torch."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise TypeError(f"{name} must be a floating-point type of torch, got {shown(dtype)}")
    return dtype
