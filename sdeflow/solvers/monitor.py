"""Monitor a solve: count evaluations, save the requested states, stop at the first NaN."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError
from sdeflow.fields.learned import LearnedField
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SteppedSDE
from sdeflow.solvers.callback import Callback, Halted, called, status
from sdeflow.solvers.path import Path

LOOK = 16
"""Evaluations between two checks of a small cloud."""

SMALL = 2**12
"""The most numbers in a small cloud, for which a check takes as long as a step."""

WIDEST = 1e6
"""The largest width of the last cloud of a field's run, relative to its start and its noise."""


class Monitor:
    """Counts the evaluations of one solve, and finds the first drift or state that is not finite.

    A state that is not finite remains so. So a small cloud is checked every `LOOK` evaluations;
    `log` holds those since the last check, to find the first bad one. A large cloud is checked at
    every evaluation, since its log would cost memory.

    Args:
        steps, x: of the solve.
        progress, total: whether to show a bar, and of how many steps.
        saved: the steps whose states are requested.
        callback: called after each step.

    Attributes:
        start: a copy of x, from which the engine starts, since x belongs to the user.
        log: (k, fraction, drift, state) of each evaluation since the last check.
        kept: step (or time, if a float) and state of each requested state so far.
        last: step and state of the last check, all finite.
    """

    def __init__(
        self, steps: SteppedSDE, x: Tensor, progress: bool, total: int | None,
        saved: Sequence[int] = (), callback: Callback | None = None,
    ) -> None:  # fmt: skip
        # In inference mode tensors do not count their changes; a clone of a tensor that was made
        # in it counts as changed, a product does not.
        with torch.inference_mode(False):
            self.start = x.detach() * 1
            self._states = self.start.new_empty((len(saved), *x.shape))
        self.given: Tensor | None = x
        self.steps, self.nfe = steps, 0
        self.saved, self._begun = list(saved), -1
        self._left = iter([*self.saved, -1])
        self.next = next(self._left)
        self.log: list[tuple[int, float, Tensor, Tensor]] = []
        self.kept: list[tuple[float, Tensor]] = []
        self.last: tuple[float, Tensor] = (0, self.start)
        self.callback = callback
        self.every = LOOK if x.numel() <= SMALL and callback is None else 1
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, disable=not progress, unit="step", leave=False)
        self._modes = ExitStack()

    def __enter__(self) -> Monitor:
        self._modes.enter_context(torch.inference_mode(False))
        self._modes.enter_context(torch.no_grad())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the bar; if a bad state has caused an error, raise that of the state instead."""
        self.bar.close()
        with self._modes:  # restores torch's modes, also where `_find` raises
            if isinstance(error, Exception) and not isinstance(error, SdeflowError) and self.log:
                self.untouched([state for _, _, _, state in self.log])
                self._find()
        mixed = isinstance(error, RuntimeError) and re.search("dtype|scalar type", str(error))
        if mixed and self.start.dtype != torch.float64:
            raise TypeError(
                f"the drift or the noise mixes types ({str(error).splitlines()[0]}): t is float64 "
                "whatever the type of x; write t.to(x.dtype) where both enter one tensor"
            ) from error

    def evaluated(self, k: int, fraction: float, drift: Tensor, state: Tensor) -> None:
        """Log one evaluation, and check the log if one is due; the callback may stop the run."""
        self.log.append((k, fraction, drift, state))
        if len(self.log) < self.every:
            return
        before = self._begun
        self.look()
        new = max(before, 0) < k == self._begun
        if new and self.callback and called(self.callback, k, self.steps.time(k), state):
            raise Halted

    def look(self) -> None:
        """Check the evaluations since the last check, and clear the log.

        Raises:
            SdeflowError: a drift or a state is NaN or infinite.
            ValueError: the drift has changed its x.
        """
        _, _, drift, state = self.log[-1]
        self.untouched([state for _, _, _, state in self.log])
        if not (finite(drift) and finite(state)):
            self._find()
        self.nfe += len(self.log)
        begun, saved = self._begun, self.next
        for k, fraction, _, state in self.log:
            if fraction == 0.0 and k > begun:  # a later stage may have the same time
                begun, self.last = k, (k, state)
                if k == saved:
                    saved = self._keep()
        self.bar.update(begun - self._begun)
        self._begun = begun
        self.log.clear()

    def untouched(self, states: list[Tensor]) -> None:
        """Refuse a drift that has written into its x."""
        once, self.given = self.given, None
        # torch counts the changes of a tensor, but not those through numpy, so the start is
        # compared as well.
        if any([x._version for x in states]) or not (once is None or once.equal(self.start)):
            raise ValueError(
                "the drift writes into the cloud that it is given; let it return a new tensor "
                "(x * 0.5, not x.mul_(0.5), and no first layer with inplace=True)"
            )

    def begin(self, k: int, x: Tensor) -> None:
        """Record that step k begins from the finite state x."""
        self._begun, self.last = k, (k, x)
        if k == self.next:
            self._keep()

    def _keep(self) -> int:
        """Save the last state, and return the next step to be saved."""
        (k, x), place = self.last, self._states[len(self.kept)]
        self.kept.append((k, place.copy_(x)))
        self.next = next(self._left)
        return self.next

    def _find(self) -> None:
        """Raise the error of the first evaluation that is not finite."""
        for i, (k, fraction, drift, state) in enumerate(self.log):
            if not finite(state):
                raise self._broken(i)
            self.nfe += 1
            if fraction == 0.0 and k > self._begun:
                self.begin(k, state)
            if not finite(drift):
                raise self.not_finite("the drift", drift, self.steps.time(k, fraction))

    def _broken(self, i: int) -> SdeflowError:
        """The error for entry i of the log, whose state is not finite, maybe through the noise."""
        k, fraction, _, state = self.log[i]
        before = [(j, part, x) for j, part, _, x in self.log[:i]]
        for j, part, x in [*reversed(before), (max(self._begun, 0), 0.0, self.last[1])]:
            g = self.steps.diffusion(j, part, x)
            g = torch.as_tensor(0.0 if g is None else g).expand_as(x)
            if not finite(g):
                return self.not_finite("the diffusion", g, self.steps.time(j, part))
        final = "final " if k == len(self.steps.gaps) else ""
        return self.not_finite(f"the {final}state", state, self.steps.time(k, fraction))

    def finish(self, x: Tensor) -> Path:
        """Check the remaining evaluations and the final state x (n, d), and return the path."""
        if not finite(x):
            self.log.append((len(self.steps.gaps), 0.0, x, x))
            self._find()
        if self.log:
            self.look()
        self._states[-1] = x
        if self.callback is not None:
            last = len(self.steps.gaps)
            called(self.callback, last, self.steps.time(last), x)
        path = self.path(self.steps.times[self.saved], self._states)
        steps, began = self.saved[-1] - self.saved[0], float(self.steps.times[0])
        path = replace(path, steps=steps, began=began)
        check_width(self.steps, self.start, path)
        return path

    def not_finite(self, what: str, values: Tensor, t: float) -> SdeflowError:
        """The error to raise for values (n, d) at time t."""
        return self.failed(
            f"{in_words(what, values, t)}; take smaller steps, or leave out those particles"
        )

    def failed(self, why: str) -> SdeflowError:
        """The error to raise, with the start, the requested states and the last good one."""
        path = self.reached(why)
        error = SdeflowError(
            f"{why} (the states up to t = {float(path.t[-1]):.6g} are in the error's .path)"
        )
        error.path = path
        return error

    def reached(self, status: str) -> Path:
        """The path so far: the start, the requested states and the last good one."""
        reached = [(0, self.start), *self.kept, self.last]
        states = {self.steps.time(k) if isinstance(k, int) else k: x for k, x in reached}
        times = torch.tensor(list(states), dtype=torch.float64)
        return self.path(times, torch.stack(list(states.values())), status)

    def halted(self) -> Path:
        """The path up to the step after which the callback has stopped the run."""
        k = int(self.last[0])
        path = self.reached(status(k, self.steps.time(k)))
        return replace(path, steps=k, began=self.steps.time(0))

    def path(self, t: Tensor, x: Tensor, status: str = "finished") -> Path:
        """The path with times t (T,), states x (T, n, d), and the cost of the solve so far."""
        return Path(t, x, self.nfe, time.perf_counter() - self.started, status)


def finite(x: Tensor) -> bool:
    """Whether all of x is finite."""
    # A finite sum shows it in one pass.
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())


def in_words(what: str, values: Tensor, t: float) -> str:
    """The words that say which particles of values (n, d) are not finite at time t."""
    bad = (~torch.isfinite(values)).any(1)
    return (
        f"{what} is NaN or infinite in {int(bad.sum())} of {len(bad)} particles, first in "
        f"particle {int(bad.nonzero()[0])}, at t = {t:.6g}"
    )


def check_width(steps: SteppedSDE, start: Tensor, path: Path) -> None:
    """Check that the last cloud of a field's run has the size that data can have.

    Raises:
        SdeflowError: the cloud is `WIDEST` times wider than its start and its noise; or, if the
            field is a network, as many times narrower than its noise.
    """
    if not (isinstance(steps.sde, FieldSDE) and steps.sde.as_made):
        return
    size, end = float(start.abs().mean()), float(path.x[-1].abs().mean())
    if size / WIDEST <= end <= WIDEST * size:
        return
    ends = steps.sde.coefficients(steps.times[[0, -1]])
    noise = (ends.c.sigma / ends.scale).tolist()
    wider = end / max(size, *noise)
    learned = isinstance(steps.sde.field, LearnedField)  # others may have all data at one point
    narrower = noise[1] * size / (noise[0] * end) if learned and noise[0] * end > 0 else 0.0
    if max(wider, narrower) > WIDEST:
        how = f"{wider:.1g} times farther out than its start and its noise"
        if narrower > WIDEST:
            how = f"{narrower:.1g} times narrower than its noise"
        error = SdeflowError(
            f"the cloud ends {how}; check what the network predicts and what it takes for time "
            "(predicts= of the field), or take smaller steps (the path is in the error's .path)"
        )
        error.path = path
        raise error
