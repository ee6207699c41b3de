"""Choose the noise of a run: its seed, and its leg if it starts from the end of another run.

The noise of a step is keyed by (seed, leg, time, direction of time). So two runs with the same
seed over the same times have the same noise, which a comparison of solvers needs. A run that
starts from the end of another needs other noise, since its start depends on the noise before.

See docs/theory.md, section 5.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.random_streams import seed_of
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.callback import STOPPED
from sdeflow.solvers.path import Absorption, Path

ROWS, STATES = 8, 8
"""Numbers of particles and of states by which the end of a run is recognised."""

RUNS = 1024
"""Number of runs whose ends are kept."""


class Leg(NamedTuple):
    """The seed and the leg of a run (see `Path`), which fix its noise."""

    seed: int
    leg: int


class _End(NamedTuple):
    """The seed and the time span of the noise that has led to the end of a run."""

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
    """The cloud itself, or the last one of a path that has finished or was stopped."""
    if not isinstance(x, Path):
        return x
    if x.status != "finished" and not x.status.startswith(STOPPED):
        raise SdeflowError(
            f"the path has not finished ({x.status}), so no run can continue it; start from "
            "path.x[-1] to go on all the same"
        )
    return x.x[-1]


def check_absorbed(before: Tensor | Path, sde: SDE) -> None:
    """Check that an SDE holds the particles that the walls of the path before it have absorbed.

    Raises:
        ValueError: an absorbing wall is no longer where they are, so they would move again, or
            rest within the box.
    """
    if not isinstance(before, Path) or before.absorbed is None:
        return
    x, wall = before.x[-1], before.absorbed.wall.to(before.x.device)
    free, eps = wall >= 0, torch.finfo(x.dtype).eps
    for i, axis in enumerate(() if sde.walls is None else sde.walls.axes(x.shape[1])):
        for j, (place, kind) in enumerate(((axis.low, axis.at_low), (axis.high, axis.at_high))):
            if kind == "absorbing":
                rounding = 8 * eps * float(before.x[..., i].abs().max())  # of a step onto it
                free &= ~((wall == 2 * i + j) & ((x[:, i] - place).abs() <= rounding))
    if free.any():
        raise ValueError(
            f"walls had absorbed {int((wall >= 0).sum())} particles of the path, and this SDE has "
            f"no absorbing walls where {int(free.sum())} of them are; start from path.x[-1] to "
            "release them, or from path.x[-1][~path.gone(-1)]"
        )


def check_events(before: Tensor | Path, event: object = None) -> None:
    """Check that a run holds the particles that have had their event on the path before it.

    Raises:
        ValueError: it has no event, so they would move again.
    """
    if not isinstance(before, Path) or before.events is None or event is not None:
        return
    if count := int(before.events.happened.sum()):
        raise ValueError(
            f"{count} particles of the path stopped at their event, and this run has none; go on "
            "with ODESolver(event=...), or start from path.x[-1] to release them"
        )


def check_held(before: Tensor | Path, sde: SDE, event: object = None) -> None:
    """Check that a run holds the particles that stand still at the end of the path before it."""
    check_absorbed(before, sde)
    check_events(before, event)


def absorbed_before(path: Path | None, times: Tensor) -> Absorption | None:
    """What walls had absorbed before a run over `times`; at its start if time does not go on."""
    if path is None or path.absorbed is None:
        return None
    start, end = float(times[0]), float(path.t[-1])
    began = float(path.t[0]) if path.began is None else path.began
    if end == start and (end - began) * float(times[-1] - times[0]) > 0:
        return path.absorbed
    time = path.absorbed.time.masked_fill(path.absorbed.wall >= 0, start)
    return replace(path.absorbed, time=time)


def without_noise(x: Tensor | Path, path: Path) -> Path:
    """The path of a run without noise from x, marked so that the next run has its own leg."""
    if not isinstance(x, Path) or x.seed is None:
        return path
    return replace(path, seed=x.seed, leg=x.leg + 1)


def continued(path: Path | None, seed: int | None, times: Tensor) -> Leg | None:
    """The noise of a run over `times` that continues a path; None if that had no noise.

    The leg rises by one from run to run, whatever their seeds. It stays the same if this run is
    the next part of the run before: with the same seed, in the same direction of time, from the
    time at which that ended.
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
            f"this cloud is the end of a run with seed {seed} over the same times, so it would "
            "get the same noise again; give the path in place of its last state, "
            "solve(sde, path), or another seed",
            UserWarning,
            stacklevel=3,
        )
    return noise


def ended(noise: Leg, times: Tensor, x: Tensor, path: Path) -> None:
    """Keep the last saved states of a run that started from x, to recognise them as a start."""
    start, before = float(times[0]), _ends.get(seed_of(x[0]))
    if before is not None and before.seed == noise.seed and before.end == start:
        start = before.start
    for k in range(max(0, len(path.t) - STATES), len(path.t)):
        t, gone = float(path.t[k]), path.gone(k)[:ROWS].tolist()
        for row, at_start, stands in zip(path.x[k][:ROWS], x[:ROWS], gone, strict=True):
            if not (stands or row.equal(at_start)):  # on a wall many runs end at one place
                _ends[seed_of(row)] = _End(noise.seed, start, t)
    while len(_ends) > ROWS * STATES * RUNS:
        _ends.popitem(last=False)
