"""Draw any part of the start of a simulation, without the particles before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import (
    SdeflowError,
    check_cloud,
    check_file,
    check_int,
    cloud_cure,
    shown,
)
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.distribution import Distribution
from sdeflow.processes.process import Process
from sdeflow.random_streams import BLOCK
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE, check_function
from sdeflow.simulation.cloud_file import FILE, CloudFile, open_cloud
from sdeflow.solvers.path import Absorption, Events, Path

Draw = Callable[[int, int], Tensor | Path]
"""(first, count) -> (count, d), the particles from number `first` on, or the end of their path."""

Start = Distribution | Process | Tensor | Path | CloudFile | str | FilePath | Draw

APART = 0x9E3779B97F4A7C15
"""Between the seeds of two neighbouring blocks of draws; odd, so no two of 2^64 are equal."""


def draws(start: Start, sde: SDE, n: int | None, seed: int) -> tuple[Draw, int]:
    """The function that draws a part of the start of `simulate`, and the number of particles.

    The field of `sde` says in how many dimensions a process's prior is.
    """
    if isinstance(start, Tensor | Path | CloudFile | str | FilePath):
        size, draw = _known(start)
        n = size if n is None else check_int(n, "n")
        if n > size:
            raise ValueError(f"start has {size} particles, but n is {n}; leave n out")
        return draw, n
    if not isinstance(start, Distribution | Process):
        _check_function(start)
    if n is None:
        raise ValueError("give n, the number of particles")
    n = check_int(n, "n")
    if isinstance(start, Distribution):
        return by_blocks(start.sample, seed), n
    if isinstance(start, Process):
        dim = sde.field.dim if isinstance(sde, FieldSDE) else None
        if dim is None:
            raise ValueError(
                "the SDE does not say in how many dimensions the prior is; give start=lambda "
                "first, n: process.prior(n, d, seed=0, first=first)"
            )
        return lambda first, count: start.prior(count, dim, seed, first=first), n
    return start, n


def _check_function(start: object) -> None:
    if isinstance(start, Dataset):
        raise TypeError("start must be a Distribution, got a Dataset; pass its .distribution")
    if isinstance(start, type) or not callable(start):
        raise TypeError(
            "start must be a distribution, a process, a cloud (n, d), a path, a file or a "
            f"function of (first, count), got {shown(start)}{cloud_cure(start)}"
        )
    owner = getattr(start, "__self__", None)
    if isinstance(owner, Distribution | Dataset | Process):
        raise TypeError(
            "start must be a function of (first, count), and this method is none; give the "
            f"{'process' if isinstance(owner, Process) else 'distribution'} itself"
        )
    check_function(start, "start", "first", "count")


def by_blocks(sample: Callable[[int, int], Tensor], seed: int) -> Callable[[int, int], Tensor]:
    """Draws sample(n, seed), of which each block of 4,096 has a seed; that of the first is `seed`.

    So any part can be drawn without the draws before it.
    """

    def draw(first: int, count: int) -> Tensor:
        parts = []
        for block in range(first // BLOCK, -(-(first + count) // BLOCK)):
            low, high = (min(max(k - block * BLOCK, 0), BLOCK) for k in (first, first + count))
            own = (seed + block * APART) % 2**64
            parts.append(sample(high, own)[low:])
        return torch.cat(parts)

    return draw


def _known(start: Tensor | Path | CloudFile | str | FilePath) -> tuple[int, Draw]:
    """The number of particles of a cloud, and the function that draws a part of it."""
    if isinstance(start, Tensor):
        return len(check_cloud(start, "start")), lambda first, n: start[first : first + n]
    if isinstance(start, Path):
        return start.x.shape[1], lambda first, n: piece(start, first, first + n, last=True)
    if not isinstance(start, CloudFile):
        path = check_file(start, "start")
        if path.suffix != FILE:
            rows = _opened(path)
            return len(rows), lambda first, n: _tensor(rows[first : first + n])
        start = open_cloud(path)
    return len(start), start.part


def _opened(path: FilePath) -> np.ndarray:
    """A cloud in a file of numpy, of which only the rows that are asked for are read."""
    if path.suffix != ".npy":
        raise ValueError(f"{path} must end in .npy or {FILE}; else load it, and give a tensor")
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}")
    try:
        with np.errstate(over="ignore"):  # of a shape that is too large
            rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, OverflowError):
        raise SdeflowError(f"{path} is damaged, or was not written by numpy.save") from None
    if rows.ndim != 2 or rows.dtype.kind != "f":
        raise ValueError(
            f"{path} must hold floating-point numbers (n, d), got {rows.dtype} {rows.shape}"
        )
    return rows


def _tensor(rows: np.ndarray) -> Tensor:
    """Rows of any float type and byte order as a tensor; long doubles in float64."""
    return torch.from_numpy(rows.astype(f"f{min(rows.dtype.itemsize, 8)}"))


def piece(path: Path, a: int, b: int, *, last: bool = False) -> Path:
    """The path of the particles a to b - 1 of a path, or its last state alone."""
    absorbed, events, keep = path.absorbed, path.events, slice(-1 if last else None, None)
    if absorbed is not None:
        absorbed = Absorption(absorbed.time[a:b], absorbed.wall[a:b])
    if events is not None:
        events = Events(events.time[a:b], events.x[a:b])
    return replace(path, t=path.t[keep], x=path.x[keep, a:b], absorbed=absorbed, events=events)
