r"""Compute mean, covariance and higher central moments of a cloud, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.simulation.reducers import Reducer, State
from sdeflow.solvers.path import Path
from sdeflow.storage import Stored


@dataclass(frozen=True, eq=False)
class CloudMoments(Stored):
    """The moments of a cloud of n particles in d dimensions, in float64.

    Attributes:
        n: number of particles.
        mean: (d,) E[x].
        covariance: (d, d), with the denominator n - 1.
        central: (order + 1, d), E[(x - mean)^p] of each coordinate, for p = 0, ..., order.
    """

    n: int
    mean: Tensor
    covariance: Tensor
    central: Tensor

    def __repr__(self) -> str:
        order, d = len(self.central) - 1, len(self.mean)
        return f"moments up to order {order} of {self.n:,} particles in {d} dimensions"

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {name: getattr(self, name) for name in ("mean", "covariance", "central")}
        return tensors, {"n": self.n}

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Self:
        return cls(plain["n"], **tensors)

    @property
    def mean_error(self) -> Tensor:
        """The standard error sqrt(variance / n) of the mean, (d,)."""
        return (self.covariance.diagonal() / self.n).sqrt()

    @property
    def variance_error(self) -> Tensor:
        """The standard error sqrt((m_4 - m_2^2) / n) of the variances, (d,); needs order 4."""
        if len(self.central) < 5:
            raise ValueError("the error of a variance needs the fourth moment; ask for order=4")
        return ((self.central[4] - self.central[2] ** 2).clamp_min(0) / self.n).sqrt()


@dataclass(frozen=True, repr=False)
class Moments(Reducer):
    r"""Computes the moments of the last cloud: the result is a `CloudMoments`.

    The sums of powers around the mean of two sets A and B are merged by

        M_p = sum_{k=0}^{p} C(p, k) [M_{p-k}^A (m_A - m)^k + M_{p-k}^B (m_B - m)^k],

    which loses no digits where the mean is large.

    Args:
        order: the highest moment of each coordinate, 2 to 8.

    Source: Pebay 2008, eq. (2.1).
    """

    order: int = 4

    def __post_init__(self) -> None:
        if not 2 <= check_int(self.order, "order") <= 8:
            raise ValueError(f"order must be 2 to 8, got {self.order}")

    def __repr__(self) -> str:
        return f"moments up to order {self.order}"

    def reduce(self, path: Path) -> State:
        x = path.x[-1].detach().cpu().double()
        if not torch.isfinite(x).all():
            raise ValueError(
                "moments of NaN or infinite values are asked for, such as the times of particles "
                "that no wall has absorbed; ask for Quantiles, or give each particle a number"
            )
        mean = x.mean(0)
        off = x - mean
        # Products in one fixed order: a matrix product may sum in another one on another machine.
        products = torch.stack([(off * off[:, [i]]).sum(0) for i in range(x.shape[1])])
        powers = torch.stack([off.pow(p).sum(0) for p in range(self.order + 1)])
        return {"n": torch.tensor(len(x)), "mean": mean, "products": products, "powers": powers}

    def merge(self, left: State, right: State) -> State:
        n = left["n"] + right["n"]
        a, b = left["n"].double(), right["n"].double()
        gap = right["mean"] - left["mean"]
        mean = left["mean"] + gap * (b / n)
        products = left["products"] + right["products"] + gap[:, None] * gap * (a * b / n)
        powers = torch.zeros_like(left["powers"])
        for side in (left, right):
            shift = side["mean"] - mean
            for p in range(self.order + 1):
                for k in range(p + 1):
                    powers[p] += math.comb(p, k) * side["powers"][p - k] * shift**k
        return {"n": n, "mean": mean, "products": products, "powers": powers}

    def finish(self, state: State) -> CloudMoments:
        n = int(state["n"])
        covariance = state["products"] / (n - 1) if n > 1 else state["products"] * math.nan
        return CloudMoments(n, state["mean"], covariance, state["powers"] / n)
