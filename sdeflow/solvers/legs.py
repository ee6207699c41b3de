"""Give each run a noise of its own: the seed and the leg of a run that goes on from another.

The noise of a step has the address (seed, leg, time, direction). So two runs with the same seed
over the same times have the same noise, as a comparison of solvers needs. A run that goes on from
the end of another must not: its start depends on that noise.

See docs/theory.md, section 5.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.random_streams import seed_of
from sdeflow.solvers.callback import STOPPED
from sdeflow.solvers.path import Path

ROWS, STATES = 8, 8
"""Particles and states by which the end of a run is recognised."""

RUNS = 1024
"""Runs whose ends are remembered."""


class Leg(NamedTuple):
    """The seed of a run, and its leg (see `Path`)."""

    seed: int
    leg: int


class _End(NamedTuple):
    """The end of a run: the seed and the span of the noise that has led there."""

    seed: int
    start: float
    end: float

    def overlaps(self, noise: Leg, times: Tensor) -> bool:
        """Whether a run over these times repeats a part of that noise."""
        sign = 1.0 if self.end > self.start else -1.0
        start, end = float(times[0]), float(times[-1])
        later, sooner = max(sign * self.start, sign * start), min(sign * self.end, sign * end)
        return self.seed == noise.seed and sign * (end - start) > 0 and later < sooner


_ends: OrderedDict[int, _End] = OrderedDict()


def end_of(x: Tensor | Path) -> Tensor:
    """The cloud itself, or the last one of a path.

    Raises:
        SdeflowError: the path has failed.
    """
    if not isinstance(x, Path):
        return x
    if x.status != "finished" and not x.status.startswith(STOPPED):
        raise SdeflowError(f"the path has not finished ({x.status}), so no run can go on from it")
    return x.x[-1]


def without_noise(x: Tensor | Path, path: Path) -> Path:
    """The path of a run without noise from x, such that the run after it has its own leg."""
    if not isinstance(x, Path) or x.seed is None:
        return path
    return replace(path, seed=x.seed, leg=x.leg + 1)


def continued(path: Path | None, seed: int | None, times: Tensor) -> Leg | None:
    """The noise of a run over `times` that goes on from a path; None if that had no noise.

    The leg counts the runs of the chain, whatever their seeds, unless a run only follows the run
    before: the same seed, the same direction, from the time at which that ended.
    """
    if path is None or path.seed is None:
        return None
    if path.began is None:
        follows = False
    else:
        end, sign = float(path.t[-1]), float(times[-1] - times[0])
        follows = end == float(times[0]) and (end - path.began) * sign > 0
    if seed in (None, path.seed) and follows:
        return Leg(path.seed, path.leg)
    return Leg(path.seed if seed is None else seed, path.leg + 1)


def started(x: Tensor, seed: int | None, times: Tensor, first: int) -> Leg:
    """The noise of a run over `times` that starts from the cloud x.

    Raises:
        ValueError: a part of a cloud is run without a seed.

    Warns:
        UserWarning: x is the end of a run with the same seed over some of these times.
    """
    if seed is None:
        if first:
            raise ValueError("a cloud that is run in parts needs one seed for all; give seed=")
        return Leg(seed_of(x[0]), 0)
    noise, end = Leg(seed, 0), _ends.get(seed_of(x[0]))
    if end is not None and end.overlaps(noise, times):
        warnings.warn(
            f"this cloud ended a run with seed {seed} over the same times, so its noise comes "
            "again; give the path in place of its last state, solve(sde, path), or another seed",
            UserWarning,
            stacklevel=3,
        )
    return noise


def ended(noise: Leg, times: Tensor, x: Tensor, path: Path) -> None:
    """Remember the end of a run that started from x, and its last saved states."""
    start, before = float(times[0]), _ends.get(seed_of(x[0]))
    if before is not None and before.seed == noise.seed and before.end == start:
        start = before.start
    for t, state in zip(path.t[-STATES:].tolist(), path.x[-STATES:], strict=True):
        for row, at_start in zip(state[:ROWS], x[:ROWS], strict=True):
            if not row.equal(at_start):
                _ends[seed_of(row)] = _End(noise.seed, start, t)
    while len(_ends) > ROWS * STATES * RUNS:
        _ends.popitem(last=False)
