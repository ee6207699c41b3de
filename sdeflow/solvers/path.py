r"""Read the result of a run: the saved states, their times, the cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int, check_kind
from sdeflow.processes.time_grids import indices
from sdeflow.sdes.sde import Times
from sdeflow.storage import Stored, as_numpy, as_xarray, write_csv


@dataclass(frozen=True, eq=False, repr=False)
class Absorption:
    """When and by which wall each particle was absorbed.

    Attributes:
        time: (n,) in float64: the middle of the step; infinite for particles that still move.
        wall: (n,) whole numbers: 2 i for the low wall of axis i, 2 i + 1 for the high one, -1 for
            particles that still move.
    """

    time: Tensor
    wall: Tensor

    @staticmethod
    def none(n: int) -> Absorption:
        """Of n particles that all still move."""
        return Absorption(
            torch.full((n,), torch.inf, dtype=torch.float64),
            torch.full((n,), -1, dtype=torch.int64),
        )

    def __repr__(self) -> str:
        count = int((self.wall >= 0).sum())
        return f"{count} of {len(self.wall)} particles absorbed"


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """When and where each particle had its event.

    Attributes:
        time: (n,) in float64; infinite for particles that had none.
        x: (n, d) the state at the event; for particles that had none, the start.
    """

    time: Tensor
    x: Tensor

    @property
    def happened(self) -> Tensor:
        """Which particles had their event, (n,)."""
        return torch.isfinite(self.time)

    def __repr__(self) -> str:
        return f"{int(self.happened.sum())} of {len(self.time)} particles had their event"


@dataclass(frozen=True, eq=False, repr=False)
class Path(Stored):
    """The saved states of a run, and its cost; `solve(sde, path)` continues the run from its end.

    Attributes:
        t: (T,) process times of the saved states, in the order of the run.
        x: (T, n, d) the states; x[-1] is the final cloud.
        nfe: number of evaluations of the drift, that is of the field, per particle.
        seconds: wall time of the solve.
        status: "finished", the reason of the failure, or when a callback has stopped the run.
        steps: number of steps from the first saved state to the last; None if not known.
        seed: of the Brownian path, or of that of the path that this run continues; None without
            noise.
        leg: 0, and one more for each run that starts from the end of another without being its
            next part in time, such as a run after a burn-in. Runs of different legs have
            independent noise.
        began: time at which the run began, also if that state was not saved.
        absorbed: when and by which walls particles were absorbed; None if no wall absorbs.
        events: when and where the particles had their event; None if none was asked for.
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
    absorbed: Absorption | None = None
    events: Events | None = None

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
            + ("" if self.absorbed is None else f", {self.absorbed}")
            + ("" if self.events is None else f", {self.events}")
        )

    def _parts(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"t": self.t, "x": self.x}
        if self.absorbed is not None:
            tensors |= {"absorbed_time": self.absorbed.time, "absorbed_wall": self.absorbed.wall}
        if self.events is not None:
            tensors |= {"event_time": self.events.time, "event_x": self.events.x}
        names = ("nfe", "seconds", "status", "steps", "seed", "leg", "began")
        return tensors, {name: getattr(self, name) for name in names}

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Self:
        absorbed = events = None
        if "absorbed_time" in tensors:
            absorbed = Absorption(tensors["absorbed_time"], tensors["absorbed_wall"])
        if "event_time" in tensors:
            events = Events(tensors["event_time"], tensors["event_x"])
        return cls(tensors["t"], tensors["x"], **plain, absorbed=absorbed, events=events)

    def to_numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (T,) and states (T, n, d)."""
        return as_numpy(self.t), as_numpy(self.x)

    def to_csv(self, path: str | FilePath) -> None:
        """Write a table with one row per time and particle: t, particle, x1, ..., xd."""
        t, n, d = self.x.shape
        columns = [
            self.t.repeat_interleave(n),
            torch.arange(n).repeat(t),
            *self.x.reshape(-1, d).T,
        ]
        names = ["t", "particle", *(f"x{i + 1}" for i in range(d))]
        write_csv(path, names, columns)

    def to_xarray(self) -> Any:
        """An xarray.DataArray with the axes time, particle and axis; needs xarray."""
        t, x = self.to_numpy()
        return as_xarray(x, {"time": t, "particle": None, "axis": None}, "x")

    def gone(self, k: int) -> Tensor:
        """Which particles (n,) a wall had absorbed at t[k]."""
        if self.absorbed is None:
            return torch.zeros(self.x.shape[1], dtype=torch.bool)
        began = float(self.t[0]) if self.began is None else self.began
        direction = 1.0 if began <= float(self.t[-1]) else -1.0
        late = direction * (self.absorbed.time - float(self.t[k])) > 0
        return (self.absorbed.wall >= 0) & ~late

    def check_every_step(self, needs: str) -> None:
        """Check that every step was saved, which is needed for `needs`, if `steps` is known."""
        if len(self.t) == 1:
            raise ValueError(
                f"{needs} needs every step, but the path holds its last state alone; run with "
                "save= the number of steps + 1"
            )
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
