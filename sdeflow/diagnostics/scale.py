r"""Measure the width of each column of a cloud, so that columns of unlike units can be compared.

    width = (q_0.95 - q_0.05) / 3.29,

which is the standard deviation for a normal column, and does not depend on outliers. Between rows
of a temperature in kelvin and a pressure in pascal the pressure alone decides the distance, unless
each column is divided by its width: `wasserstein(x, y, scale=column_scale(y))`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_cloud, shown

NORMAL = 3.2897  # distance of the 5 % and 95 % quantiles of N(0, 1)
ROUNDING = 1e-12  # a column whose width is less than this part of its size is constant
UNLIKE = 100.0  # ratio of widths above which the widest columns alone decide a distance

Scale = float | Sequence[float] | Tensor | None


def column_scale(x: Tensor) -> Tensor:
    """The width of each column of a cloud x (n, d), not changed by outliers, (d,).

        (q_0.95 - q_0.05) / 3.29

    If nine tenths of a column are one number, its standard deviation is taken; for a constant
    column, the geometric mean of the other widths.
    """
    found = widths(check_cloud(x).detach().cpu().double().numpy())
    some = found > 0
    found[~some] = np.exp(np.log(found[some]).mean()) if some.any() else 1.0
    return torch.from_numpy(found)


def widths(x: np.ndarray) -> np.ndarray:
    """The width of each column of x (n, d), (d,); 0 of a constant one."""
    low, high = np.quantile(x, [0.05, 0.95], axis=0, method="nearest")
    size = abs(x).max(0)
    unit = np.where(size > 0, size, 1.0)
    width = high / NORMAL - low / NORMAL
    width = np.where(width > ROUNDING * size, width, (x / unit).std(0) * unit)
    return np.where(width > ROUNDING * size, width, 0.0)


def checked_scale(scale: Scale, d: int) -> np.ndarray:
    """Return the scale of d columns as numbers (d,) or (), positive."""
    try:
        if isinstance(scale, bool):
            raise TypeError
        out = torch.as_tensor(scale).detach().cpu().double().numpy()
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"scale must be a positive number, or one for each column as column_scale gives them, "
            f"got {shown(scale)}"
        ) from None
    if out.shape not in ((), (d,)) or not (np.isfinite(out) & (out > 0)).all():
        raise ValueError(
            f"scale must be a positive number, or one for each of the {d} columns, got "
            f"{shown(scale)}"
        )
    return out


def warn_if_unlike(a: np.ndarray, b: np.ndarray, name: str = "y") -> None:
    """Warn if the wider columns of two clouds alone would decide a distance."""
    width = np.maximum(widths(a), widths(b))
    some = width[width > 0]
    if len(some) > 1 and some.max() > UNLIKE * some.min():
        warnings.warn(
            f"the columns' widths run from {some.min():.3g} to {some.max():.3g}, so that column "
            f"{int(width.argmax())} alone decides the distance; give scale=column_scale({name}), "
            "or scale=1 if their units are the same",
            RuntimeWarning,
            stacklevel=4,
        )
