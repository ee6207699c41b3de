r"""Read the result of a run: the saved states, their times, the cost."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_kind
from sdeflow.processes.time_grids import indices
from sdeflow.sdes.sde import Times


@dataclass(frozen=True, eq=False, repr=False)
class Path:
    """The saved states of a run, and its cost; `solve(sde, path)` continues the run from its end.

    Attributes:
        t: (T,) process times of the saved states, in the order of the run.
        x: (T, n, d) the states; x[-1] is the final cloud.
        nfe: number of evaluations of the drift, that is of the field, per particle.
        seconds: wall time of the solve.
        status: "finished", or the reason of the failure.
        steps: number of steps from the first saved state to the last; None if not known.
        seed: of the Brownian path, or of that of the path that this run continues; None without
            noise.
        leg: 0, and one more for each run that starts from the end of another without being its
            next part in time, such as a run after a burn-in. Runs of different legs have
            independent noise.
        began: time at which the run began, also if that state was not saved.
    """

    t: Tensor
    x: Tensor
    nfe: int
    seconds: float
    status: str = "finished"
    steps: int | None = None
    seed: int | None = None
    leg: int = 0
    began: float | None = None

    def __post_init__(self) -> None:
        """Check that there is a state for each time."""
        for name in ("t", "x"):
            check_kind(getattr(self, name), Tensor, name)
        if self.t.ndim != 1 or self.x.ndim != 3 or len(self.t) != len(self.x) or not len(self.t):
            raise ValueError(
                "a path has times t (T,) and states x (T, n, d), T >= 1, got "
                f"{tuple(self.t.shape)} and {tuple(self.x.shape)}"
            )

    def __repr__(self) -> str:
        t, n, d = self.x.shape
        return (
            f"path of {n} particles in {d} dimensions, {t} states from t = {float(self.t[0]):g} "
            f"to {float(self.t[-1]):g}, {self.nfe} evaluations, {self.status}"
        )

    def check_every_step(self, needs: str) -> None:
        """Check that every step was saved, which is needed for `needs`, if `steps` is known."""
        if self.steps is not None and len(self.t) - 1 < self.steps:
            raise ValueError(
                f"{needs} needs every step, but the path holds {len(self.t)} of its "
                f"{self.steps + 1} states; solve with save={self.steps + 1}"
            )


def check_path(path: object) -> Path:
    """Return `path` if it is a `Path`."""
    if not isinstance(path, Path):
        raise TypeError(f"path must be a Path, as solve returns, got {type(path).__name__}")
    return path


Save = int | Times
"""A number of states to save, spread evenly over the steps, or the times of the states."""


def saved_indices(save: Save, times: Tensor) -> list[int]:
    """Indices of the states to save; the last is always among them."""
    last = len(times) - 1
    count = requested(save)
    if isinstance(count, Tensor):
        return sorted({*indices(count, times, "save time"), last})
    if count > last + 1:
        raise ValueError(
            f"save={count} asks for more states than the {last + 1} of this run; lower it, or "
            "take more steps"
        )
    return [last] if count == 1 else [round(i * last / (count - 1)) for i in range(count)]


def requested(save: Save) -> int | Tensor:
    """`save` checked: a number of states, or their times (T,) in float64."""
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
    """The indices of `times` (K + 1,) in `fine` (M + 1,), the grid of the Brownian path."""
    if (fine[-1] > fine[0]) != (times[-1] > times[0]):
        raise ValueError(
            f"fine runs from {fine[0]:g} to {fine[-1]:g}, but times from {times[0]:g} to "
            f"{times[-1]:g}; flip it"
        )
    return indices(times, fine, "fine must hold every time of the run: time")
