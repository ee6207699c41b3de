r"""A number from n particles: a mean, and the standard error of that mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from sdeflow._validation import check_int


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value and its standard error, of the same shape, in float64."""

    value: Tensor
    error: Tensor

    @staticmethod
    def of(samples: Tensor) -> Estimate:
        """The mean of independent samples (n, ...), and std / sqrt(n).

        Raises:
            ValueError: fewer than two samples.
        """
        n = check_int(len(samples), "the number of samples", 2)
        x = samples.double()
        return Estimate(x.mean(0), x.std(0) / math.sqrt(n))

    def standard_score(self, truth: Tensor | float) -> Tensor:
        """(value - truth) / error: standard normal if the truth is right and n is large."""
        return (self.value - truth) / self.error

    def __str__(self) -> str:
        """Value +- error."""
        if self.value.ndim:
            return f"{self.value.tolist()} +- {self.error.tolist()}"
        return f"{float(self.value):.6g} +- {float(self.error):.2g}"
