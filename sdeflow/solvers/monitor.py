"""Monitor a solve: count evaluations, stop at the first NaN, show progress."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError
from sdeflow.sdes.sde import SteppedSDE
from sdeflow.solvers.path import Path

LOOK = 16
"""Evaluations between two checks of a small cloud."""

SMALL = 2**12
"""Numbers in a small cloud, for which a check costs as much as a step."""


class Monitor:
    """Counts the evaluations of one solve, and finds the first drift or state that is not finite.

    A state that is not finite stays so. So a small cloud is checked every `LOOK` evaluations, and
    `log` keeps those since the last check, to find the first bad one. A large cloud is checked at
    every evaluation, since its log would cost memory.

    Attributes:
        log: (k, fraction, drift, state) of each evaluation since the last check.
        last: step (or time, if a float) and state at the last check; all finite.
    """

    def __init__(self, steps: SteppedSDE, x: Tensor, progress: bool, total: int | None) -> None:
        self.steps, self.start, self.nfe = steps, x, 0
        self.log: list[tuple[int, float, Tensor, Tensor]] = []
        self.last: tuple[float, Tensor] = (0, x)
        self.every = LOOK if x.numel() <= SMALL else 1
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, disable=not progress, unit="step", leave=False)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the bar; an error that a bad state has caused gives way to that of the state."""
        self.bar.close()
        if isinstance(error, Exception) and not isinstance(error, SdeflowError) and self.log:
            self._find()

    def evaluated(self, k: int, fraction: float, drift: Tensor, state: Tensor) -> None:
        """Log one evaluation, and look if it is time.

        Raises:
            SdeflowError: a drift or a state is NaN or infinite.
        """
        self.log.append((k, fraction, drift, state))
        if len(self.log) >= self.every:
            self.look()

    def look(self) -> None:
        """Check the evaluations since the last check, and clear the log.

        Raises:
            SdeflowError: a drift or a state is NaN or infinite.
        """
        _, _, drift, state = self.log[-1]
        if not (finite(drift) and finite(state)):
            self._find()
        self.nfe += len(self.log)
        begun = [(k, state) for k, fraction, _, state in self.log if fraction == 0.0]
        if begun:
            self.last = begun[-1]
            self.bar.update(len(begun))
        self.log.clear()

    def _find(self) -> None:
        """Raise the error of the first evaluation that is not finite."""
        for k, fraction, drift, state in self.log:
            self.nfe += 1
            if fraction == 0.0 and finite(state):
                self.last = k, state
            t = self.steps.time(k, fraction)
            if not finite(drift):
                raise self.failed(f"the drift is NaN or infinite at t = {t:.6g}")
            if not finite(state):
                raise self.failed(f"the state is NaN or infinite at t = {t:.6g}")

    def finish(self, x: Tensor) -> None:
        """Check the remaining evaluations and the final state.

        Raises:
            SdeflowError: a drift or a state is NaN or infinite.
        """
        if self.log:
            self.look()
        if not finite(x):
            raise self.failed("the final state is NaN or infinite")

    def failed(self, why: str) -> SdeflowError:
        """The error to raise; it carries the start and the last finite state."""
        when, x = self.last
        t = self.steps.time(when) if isinstance(when, int) else when
        error = SdeflowError(
            f"{why}; the last good state, at t = {t:.6g}, is in the error's .path"
        )
        times = torch.tensor([self.steps.time(0), t], dtype=torch.float64)
        error.path = self.path(times, torch.stack([self.start, x]), why)
        return error

    def path(self, t: Tensor, x: Tensor, status: str = "finished") -> Path:
        """The path of this solve: times t (T,), states x (T, n, d), and the cost so far."""
        return Path(t, x, self.nfe, time.perf_counter() - self.started, status)


def finite(x: Tensor) -> bool:
    """Whether all of x is finite; a finite sum shows it in one pass."""
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())
