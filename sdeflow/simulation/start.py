"""Draw any part of the start of a simulation, without the particles before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_cloud, check_file, check_int
from sdeflow.distributions.distribution import Distribution
from sdeflow.processes.process import Process
from sdeflow.random_streams import BLOCK
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE
from sdeflow.simulation.cloud_file import FILE, CloudFile, open_cloud

Draw = Callable[[int, int], Tensor]
"""(first, count) -> (count, d), the particles from number `first` on."""

Start = Distribution | Process | Tensor | str | FilePath | Draw

APART = 0x9E3779B97F4A7C15
"""Between the seeds of two neighbouring blocks of draws; odd, so no two of 2^64 are equal."""


def draws(start: Start, sde: SDE, n: int | None, seed: int) -> tuple[Draw, int]:
    """The function that draws a part of the start of `simulate`, and the number of particles.

    The field of `sde` says in how many dimensions a process's prior is.
    """
    if isinstance(start, Tensor | str | FilePath):
        cloud: Tensor | _Opened
        cloud = check_cloud(start, "start") if isinstance(start, Tensor) else _Opened(start)
        if n is not None and n > len(cloud):
            raise ValueError(f"start has {len(cloud)} particles, but n is {n}; leave n out")
        return lambda first, count: cloud[first : first + count], n or len(cloud)
    known = isinstance(start, Distribution | Process)
    if not known and (not callable(start) or isinstance(start, type)):
        raise TypeError(
            "start must be a distribution, a process, a cloud (n, d), a file or a function of "
            f"(first, count), got {type(start).__name__}"
        )
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


def by_blocks(sample: Callable[[int, int], Tensor], seed: int) -> Draw:
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


class _Opened:
    """A cloud in a file, of which only the rows that are asked for are read."""

    def __init__(self, start: str | FilePath) -> None:
        path = check_file(start, "start")
        self._rows: np.ndarray | CloudFile
        if path.suffix == FILE:
            self._rows = open_cloud(path)
            return
        if path.suffix != ".npy":
            raise ValueError(f"{path} must end in .npy or {FILE}; else load it, and give a tensor")
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}")
        try:
            with np.errstate(over="ignore"):  # of a shape that is too large
                self._rows = rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, OSError, OverflowError):
            raise SdeflowError(f"{path} is damaged, or was not written by numpy.save") from None
        if rows.ndim != 2 or rows.dtype.kind != "f":
            raise ValueError(
                f"{path} must hold floating-point numbers (n, d), got {rows.dtype} {rows.shape}"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> Tensor:
        return torch.from_numpy(np.array(self._rows[rows]))
