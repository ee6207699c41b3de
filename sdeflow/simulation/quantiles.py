r"""Compute quantiles of a cloud of any size from counts of its leading digits."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sdeflow._validation import check_numbers
from sdeflow.simulation.reducers import Reducer, State
from sdeflow.solvers.path import Path

DROPPED = 14
"""Bits of a float32 that are left out of a bin: 9 of its 23 digits stay, 2^-9 of a number."""


@dataclass(frozen=True, eq=False, repr=False)
class Quantiles(Reducer):
    r"""Computes the quantiles of each coordinate of the last cloud: the result is (levels, d).

        P(x_i <= q_i(level)) = level

    Numbers that agree in sign, exponent and their first 9 binary digits are counted together, and
    numbers are taken to be uniform in such a bin. So the error is below |q| / 512, at any range of
    the data and without a grid chosen beforehand. Far from the origin take distances from there:

        Values(lambda path: path.x[-1] - centre, Quantiles())

    Args:
        levels: numbers from 0 to 1.
    """

    # The state does not depend on them, so a run that has finished gives other ones at once.
    levels: tuple[float, ...] = field(default=(0.025, 0.16, 0.5, 0.84, 0.975), compare=False)

    def __post_init__(self) -> None:
        row = check_numbers(self.levels, "levels").reshape(-1)
        if not len(row) or not bool(((row >= 0) & (row <= 1)).all()):
            raise ValueError(f"levels must be numbers from 0 to 1, got {row.tolist()!r:.60}")
        object.__setattr__(self, "levels", tuple(row.tolist()))

    def __repr__(self) -> str:
        return f"quantiles at {', '.join(f'{level:g}' for level in self.levels)}"

    def reduce(self, path: Path) -> State:
        wide = path.x[-1].detach().cpu()
        x = wide.float()
        if torch.isnan(x).any():
            raise ValueError("quantiles of NaN are asked for; give each particle a number")
        if not x.isinf().equal(wide.isinf()):
            raise ValueError("quantiles are for numbers below 3e38, those of float32; scale them")
        out: State = {"d": torch.tensor(x.shape[1])}
        for i in range(x.shape[1]):
            bins, counts = _bin(x[:, i]).unique(return_counts=True)
            out |= {f"bins{i}": bins, f"counts{i}": counts}
        return out

    def merge(self, left: State, right: State) -> State:
        out: State = {"d": left["d"]}
        for i in range(int(left["d"])):
            bins = torch.cat([left[f"bins{i}"], right[f"bins{i}"]])
            counts = torch.cat([left[f"counts{i}"], right[f"counts{i}"]])
            out[f"bins{i}"], place = bins.unique(return_inverse=True)
            out[f"counts{i}"] = counts.new_zeros(len(out[f"bins{i}"])).index_add(0, place, counts)
        return out

    def finish(self, state: State) -> Tensor:
        columns = []
        for i in range(int(state["d"])):
            bins, counts = state[f"bins{i}"], state[f"counts{i}"]
            upto = counts.cumsum(0)
            target = torch.tensor(self.levels, dtype=torch.float64) * int(upto[-1])
            k = torch.searchsorted(upto.double(), target).clamp_max(len(bins) - 1)
            part = (target - (upto - counts)[k]) / counts[k]
            low, high = _edge(bins[k]), _edge(bins[k] + 1)
            inside = torch.isfinite(low) & torch.isfinite(high)
            far = torch.copysign(torch.tensor(torch.inf), bins[k] + 0.5)
            columns.append(torch.where(inside, low + part * (high - low), far))
        return torch.stack(columns, 1)


def _bin(x: Tensor) -> Tensor:
    """The bin (n,) of each float32 (n,), a whole number that rises with x."""
    bits = (x + 0.0).contiguous().view(torch.int32)  # -0 and 0 are one number
    # Negative floats fall as their bits rise.
    return torch.where(bits >= 0, bits, -(bits & 0x7FFFFFFF) - 1) >> DROPPED


def _edge(bins: Tensor) -> Tensor:
    """The smallest number of each bin, in float64."""
    order = bins.to(torch.int32) << DROPPED
    bits = torch.where(order >= 0, order, (-order - 1) | -(2**31))
    return bits.view(torch.float32).double()
