"""Take the mean over networks trained with several seeds, with its 95 % interval."""

from __future__ import annotations

import math

from scipy import stats
from torch import Tensor


def mean_and_interval(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the rows (S, ...), one for each seed, and half of its 95 % interval.

    The interval is Student's, with S - 1 degrees of freedom.
    """
    half = float(stats.t.ppf(0.975, len(values) - 1)) / math.sqrt(len(values))
    return values.mean(0), half * values.std(0)


def with_interval(name: str, values: Tensor) -> dict[str, float]:
    """The mean of one number per seed (S,) and half of its 95 % interval, by name."""
    mean, half = mean_and_interval(values)
    return {name: float(mean), f"{name}, +-": float(half)}
