r"""Adapt an SDE without noise to the methods of torchdiffeq that choose their own steps.

torchdiffeq accepts a step if the norm of its error estimate is at most 1. Defined here are that
norm, the times of the stages, which torchdiffeq would round to the type of the cloud, and the
rejection of steps on which the drift is not finite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._validation import FLOAT32_EPS, check_times
from sdeflow.sdes.sde import SDE, check_drift, time_tensor
from sdeflow.solvers.callback import called
from sdeflow.solvers.events import EventFinder
from sdeflow.solvers.monitor import Monitor, finite, in_words
from sdeflow.solvers.path import Save, requested

REJECTED = 1e10
"""A norm that rejects a step; torchdiffeq then tries a fifth of it."""

ROUNDED = 4
"""The smallest error of a step that is asked for, in units of the rounding of x."""

SHRUNK = 1e-3
"""The smallest width of a cloud that sets the tolerance, relative to its largest so far."""


CURE = "; leave out those particles, or end the run before"


class Passed(NamedTuple):
    """A requested time inside a step that was taken: the time, and where the step began."""

    t: float
    begin: float
    x: Tensor


class Stopped(Exception):  # noqa: N818 it is caught, and an SdeflowError raised
    """An adaptive run cannot continue, or its callback has stopped it."""

    def __init__(self, why: str, passed: list[Passed], by_callback: int | None = None) -> None:
        super().__init__(why)
        self.why, self.passed, self.by_callback = why, passed, by_callback


class Tolerance:
    r"""The error that a step may make, relative to the width of the cloud.

        rtol (s + |x - m|),    m and s the mean and the standard deviation along each axis.

    s is at least `SHRUNK` times the largest so far. Along an axis on which all particles start
    from one point, m = 0, and s is the largest |x| so far. So the result does not depend on the
    unit of x, nor on its origin where the cloud has a width.
    """

    def __init__(self, rtol: float, start: Tensor) -> None:
        self._round_off = ROUNDED * torch.finfo(start.dtype).eps
        self._rtol, self._wide = max(rtol, self._round_off), (start != start[0]).any(0)
        self.narrow = not bool(self._wide.all())
        self._x = start
        self._reach = self._widest = torch.zeros_like(start[0])
        self.at(start)

    def at(self, x: Tensor) -> None:
        """Set the width of the cloud from its state x (n, d), which the run has reached."""
        self._x = x if torch.finfo(x.dtype).bits >= 32 else x.float()
        self._middle = torch.where(self._wide, self._x.mean(0), 0.0)
        spread = self._x.std(0, correction=0)
        self._widest = torch.maximum(self._widest, spread)
        self._spread = torch.maximum(spread, SHRUNK * self._widest)
        self._reach = torch.maximum(self._reach, self._x.abs().amax(0))

    def of(self, way: Tensor) -> Tensor:
        """The tolerance (n, d) of a step in which x goes up to `way` (d,) along each axis."""
        size = torch.where(self._wide, self._spread, torch.maximum(self._reach, way))
        tolerance = self._rtol * (size + (self._x - self._middle).abs())
        tolerance += self._round_off * self._x.abs()
        return tolerance.clamp_min_(torch.finfo(tolerance.dtype).tiny)


class TorchdiffeqAdaptive:
    """A drift in process time, for torchdiffeq's adaptive methods.

    Args:
        monitor, sde: of the solve.
        x: (n, d) the cloud at the first time.
        wanted: (T,) the requested times, with the first and the last of the run.
        stages: where in its step each stage of the method lies, in order.
        rtol: for a `Tolerance`; None: torchdiffeq divides the error by its own tolerance.
        max_steps: the most steps, accepted or not.
        events: finds the events of the run; None: it has none.

    Attributes:
        begun: the times at which the accepted steps began.
    """

    def __init__(
        self, monitor: Monitor, sde: SDE, x: Tensor, wanted: Tensor, stages: tuple[float, ...],
        rtol: float | None, max_steps: int, events: EventFinder | None = None,
    ) -> None:  # fmt: skip
        self.monitor, self.sde, self._stages = monitor, sde, stages
        self._wanted: list[float] = wanted.tolist()
        self._events = events
        self._sign = 1.0 if self._wanted[-1] > self._wanted[0] else -1.0
        self._tolerance = None if rtol is None else Tolerance(rtol, x)
        self._left, self._most = max_steps, max_steps
        self._begin, self._x, self._length, self._stage = self._wanted[0], x, 0.0, -1
        self._still = self._speed = torch.zeros_like(x[0])
        self._passed: list[Passed] = []
        self.begun = [self._begin]
        self._bad: str | None = None
        self._error = x
        self._rejected = False

    def callback_step(self, t: Tensor, x: Tensor, dt: Tensor) -> None:
        """Prepare a step of length dt > 0 that torchdiffeq tries from (t, x)."""
        begin = float(t)
        if begin != self._begin:
            self._accepted(begin, x)
        if not self._left:
            raise self._stopped(
                f"max_steps = {self._most} were taken by t = {begin:.6g}; raise max_steps, or "
                "rtol and atol"
            )
        self._left -= 1
        self._stage, self._rejected, self._speed = 0, False, self._still
        # torchdiffeq cuts a step at the end of the run.
        self._length = self._sign * min(float(dt), abs(self._wanted[-1] - begin))

    def _accepted(self, t: float, x: Tensor) -> None:
        """Record a step that was accepted, which ends at (t, x)."""
        if not finite(x):
            raise self._stopped(in_words("the state", x, t) + CURE)
        while self._sign * (t - (wanted := self._wanted[len(self._passed) + 1])) >= 0:
            if wanted == self._wanted[-1]:
                break
            self._passed.append(Passed(wanted, self._begin, self._x))
        self.ended(t, x)
        self._begin, self._x, self._bad = t, x, None
        self.begun.append(t)
        self.monitor.last = t, x
        self.monitor.bar.update()
        if self._tolerance is not None:
            self._tolerance.at(x)
        k, callback = len(self.begun) - 1, self.monitor.callback
        if callback is not None and called(callback, k, t, self._held(x)):
            raise Stopped("", self._passed, k)

    def ended(self, t: float, x: Tensor) -> None:
        """A step has ended at (t, x), maybe the last one."""
        if self._events is not None:
            self._events.stepped(self._begin, self._x, t, x)

    def _held(self, x: Tensor) -> Tensor:
        return x if self._events is None else self._events.frozen(x, self._events.found.x)

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """The drift at x (n, d); 0 in a step on which it is not finite, which will be rejected."""
        if self._rejected:
            return torch.zeros_like(x)
        now = self._time()
        if self._events is None:
            f = self.sde.drift(x, time_tensor(now, x))
            check_drift(f, x)
        else:
            f = self._events.drift(x, now)
        self.monitor.nfe += 1
        self.monitor.untouched([x])
        if not finite(f):
            self._bad = in_words("the drift", f, now) + CURE
            if self._stage < 0:
                raise self._stopped(self._bad)
            self._rejected, f = True, torch.zeros_like(x)
        if self._tolerance is not None and self._tolerance.narrow:
            self._speed = torch.maximum(self._speed, f.abs().amax(0).to(x.dtype))
        self._stage += 1
        # torchdiffeq copies all but the first, which the drift may overwrite later.
        return f if self._stage else f.to(x.dtype, copy=True)

    def _time(self) -> float:
        """The time of the stage."""
        if self._stage < 0:
            return self._begin
        now, end = self._begin + self._stages[self._stage] * self._length, self._wanted[-1]
        return now if self._sign * (end - now) > 0 else end

    def norm(self, error: Tensor) -> Tensor:
        """The norm of the error (n, d) of a step, which is accepted if this is at most 1."""
        if self._tolerance is not None:
            error = error / self._tolerance.of(self._speed * abs(self._length))
        if self._events is not None:
            error = self._events.frozen(error)
        self._error, ratio = error, error.square().mean().sqrt()
        if self._events is not None:  # over the particles that still move
            ratio = ratio / (~self._events.gone).double().mean().clamp_min(0.5 / len(error)).sqrt()
        if self._rejected or not math.isfinite(ratio.item()):
            return time_tensor(REJECTED, error)
        return ratio

    def underflow(self) -> Stopped:
        """The exception for steps that have become too small."""
        worst = int(self._error.abs().amax(1).argmax())
        return self._stopped(
            self._bad
            or f"its steps become too small at t = {self._begin:.6g}, where the drift of particle "
            f"{worst} jumps or grows without bound; use a method of fixed steps, leave out that "
            "particle, or end the run before"
        )

    def _stopped(self, why: str) -> Stopped:
        return Stopped(why, self._passed)


def requested_times(sde: SDE, save: Save) -> tuple[Tensor, bool]:
    """The times (T,) of the run from t_start to t_end, and whether the start is to be saved."""
    asked = requested(save)
    if isinstance(asked, int):
        return sde.times(max(asked - 1, 1)), asked > 1
    low, high = sorted((sde.t_start, sde.t_end))
    ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64)
    # The user's ends may have been rounded to float32.
    starts, stops = (torch.isclose(asked, end, FLOAT32_EPS, 0.0) for end in ends)
    inner = asked[~(starts | stops)]
    wanted = check_times(torch.cat([ends[:1], inner, ends[1:]]), low, high, "save")
    return wanted, bool(starts.any())
