r"""Read the result of a run: its times, its states, its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_times
from sdeflow.processes.time_grids import indices


@dataclass(frozen=True, eq=False, repr=False)
class Path:
    """The saved states of a run, and its cost.

    Attributes:
        t: (T,) process times of the saved states, in the order they were reached.
        x: (T, n, d) the states; x[-1] is the final cloud.
        nfe: number of evaluations of the drift, that is of the field, per particle; counted.
        seconds: wall time of the solve.
        status: "finished", or the reason of the failure.
    """

    t: Tensor
    x: Tensor
    nfe: int
    seconds: float
    status: str = "finished"

    def __repr__(self) -> str:
        """In words."""
        t, n, d = self.x.shape
        return (
            f"path of {n} particles in {d} dimensions, {t} states from t = {float(self.t[0]):g} "
            f"to {float(self.t[-1]):g}, {self.nfe} evaluations, {self.status}"
        )


Times = Sequence[float] | Tensor
"""A row of times (K + 1,); a numpy array is one too."""

Save = int | Times
"""The number of states to save, evenly over the steps, or the times of the states."""


def saved_indices(save: Save, times: Tensor) -> list[int]:
    """Indices of the states to save; the last is always among them."""
    last = len(times) - 1
    count = requested(save)
    if isinstance(count, Tensor):
        return sorted({*indices(count, times, "save time"), last})
    if count > last + 1:
        raise ValueError(f"save={count} asks for more states than the {last + 1} of this run")
    return [last] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]


def requested(save: Save) -> int | Tensor:
    """The number of states to save, or their times, (T,) in float64."""
    try:
        wanted = torch.as_tensor(save, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        wanted = torch.empty(0)
    if wanted.ndim > 1 or not wanted.numel():
        raise ValueError(
            "save must be a number of states or a row of times (T,), T >= 1, got "
            f"{type(save).__name__}"
        )
    return wanted if wanted.ndim else check_int(save, "save")


def nested(times: Tensor, fine: Tensor) -> list[int]:
    """Indices of `times` (K + 1,) in `fine` (M + 1,), the grid of the Brownian path."""
    fine = check_times(fine, name="fine")
    if (fine[-1] > fine[0]) != (times[-1] > times[0]):
        raise ValueError(
            f"fine runs from {fine[0]:g} to {fine[-1]:g}, but times from {times[0]:g} to "
            f"{times[-1]:g}; flip it"
        )
    return indices(times, fine, "fine must hold every time of the run: time")
