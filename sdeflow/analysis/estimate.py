"""Estimate a mean from n independent samples, with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from sdeflow._validation import check_int, check_numbers


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value and its standard error, both of one shape, in float64."""

    value: Tensor
    error: Tensor

    @staticmethod
    def of(samples: Tensor) -> Estimate:
        """The mean of independent samples (n, ...) with the error std / sqrt(n); n >= 2."""
        x = check_numbers(samples, "samples")
        n = check_int(len(x) if x.ndim else 1, "the number of samples", 2)
        return Estimate(x.mean(0), x.std(0) / math.sqrt(n))

    def standard_score(self, truth: Tensor | float) -> Tensor:
        """(value - truth) / error: standard normal for large n if `truth` is the true value."""
        truth = check_numbers(truth, "truth")
        if truth.ndim and truth.shape != self.value.shape:
            raise ValueError(
                f"truth must be one number or have the shape {tuple(self.value.shape)} of the "
                f"value, got {tuple(truth.shape)}"
            )
        return (self.value - truth) / self.error

    def __repr__(self) -> str:
        """One line: the value and its error, or the shape and the range of the errors."""
        if not self.value.ndim:
            return f"{float(self.value):.6g} +- {float(self.error):.2g}"
        low, high = float(self.error.min()), float(self.error.max())
        return f"estimates {tuple(self.value.shape)} with errors from {low:.2g} to {high:.2g}"

    def __str__(self) -> str:
        return f"{_rounded(self.value.tolist(), 6)} +- {_rounded(self.error.tolist(), 2)}"


def _rounded(values: float | list, digits: int) -> str:
    """A (nested) list of numbers, each with so many digits."""
    if isinstance(values, list):
        return f"[{', '.join(_rounded(v, digits) for v in values)}]"
    return f"{values:.{digits}g}"
