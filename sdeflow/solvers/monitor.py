"""What is watched during a solve: evaluations are counted, bad states found, progress shown."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError
from sdeflow.sdes.sde import SteppedSDE
from sdeflow.solvers.path import Path

SMALL = 2**14
"""Numbers in a cloud that is small: looking at one costs as much as a step of it."""


class Monitor:
    """One solve: counts evaluations, finds the step at which a state went bad, shows progress.

    What is not finite stays so under every step. So a small cloud is looked at every 16 steps; the
    states and drifts between two looks are kept, and tell where it began. A large one, which would
    cost memory, is looked at in every drift.
    """

    def __init__(self, steps: SteppedSDE, x: Tensor, progress: bool, total: int | None) -> None:
        self.steps, self.start, self.nfe = steps, x, 0
        self.states: list[tuple[float | int, Tensor]] = [(0, x)]
        self.drifts: list[tuple[int, float, Tensor]] = []
        self.small = x.numel() <= SMALL
        self.every = 16 if self.small else 1
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, disable=not progress, unit="step", leave=False)
        self.quiet = self.bar.disable

    def evaluated(self, k: int, fraction: float, f: Tensor, y: Tensor) -> None:
        """A drift f at state y, in step k at this fraction of it.

        Raises:
            ValueError: f has another shape than y; SdeflowError: it is NaN or infinite.
        """
        self.nfe += 1
        if getattr(f, "shape", None) != y.shape:
            misfit(f, y)
        self.drifts.append((k, fraction, f))
        if not self.small:
            self.look_at_drifts()

    def reached(self, when: float | int, x: Tensor) -> None:
        """A state, at step `when`, or at time `when` if that is a float."""
        self.states.append((when, x))
        if len(self.states) > self.every:
            self.look()
            del self.states[:-1]
        if not self.quiet:
            self.bar.update()

    def look(self, what: str = "the state is NaN or infinite") -> None:
        """Look at the states and drifts since the last look.

        Raises:
            SdeflowError: one of them is NaN or infinite.
        """
        if finite(self.states[-1][1]):
            self.drifts.clear()
            return
        self.look_at_drifts()
        raise self.failed(what)

    def look_at_drifts(self) -> None:
        """See `look`; these only."""
        for k, fraction, f in self.drifts:
            if not finite(f):
                raise self.failed(
                    f"the drift is NaN or infinite at t = {self.steps.time(k, fraction):.6g}"
                )
        self.drifts.clear()

    def finish(self, x: Tensor) -> None:
        """Look at the last state.

        Raises:
            SdeflowError: it, or one since the last look, is NaN or infinite.
        """
        self.states.append((0, x))
        self.look("the final state is NaN or infinite")

    def failed(self, why: str) -> SdeflowError:
        """The error to raise, with the path up to the last good state."""
        # A state that overflowed shows only in the drift that is asked next.
        when, x = next(state for state in reversed(self.states) if finite(state[1]))
        t = self.steps.time(when) if isinstance(when, int) else when
        error = SdeflowError(
            f"{why}; the last good state, at t = {t:.6g}, is in the error's .path"
        )
        times = torch.tensor([self.steps.time(0), t], dtype=torch.float64)
        error.path = self.path(times, torch.stack([self.start, x]), why)
        return error

    def path(self, t: Tensor, x: Tensor, status: str = "finished") -> Path:
        """The path of this solve, with its cost."""
        return Path(t, x, self.nfe, time.perf_counter() - self.started, status)


def finite(x: Tensor) -> bool:
    """Whether all of x is finite: one number tells, since a sum is finite only if all terms are."""
    return math.isfinite(x.sum().item()) or bool(torch.isfinite(x).all())


def misfit(f: object, x: Tensor) -> None:
    """Refuse a drift of another shape than the cloud.

    Raises:
        ValueError: always.
    """
    got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
    raise ValueError(f"the drift returned {got} for a cloud {tuple(x.shape)}")
