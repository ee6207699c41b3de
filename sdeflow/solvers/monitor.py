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

    What is not finite stays so under every step. So a small cloud is looked at every 16 steps, and
    the states between two looks are kept to find the first bad one; a large one at every step.
    """

    def __init__(self, steps: SteppedSDE, x: Tensor, progress: bool, total: int | None) -> None:
        self.steps, self.start, self.nfe = steps, x, 0
        self.states: list[tuple[float | int, Tensor]] = [(0, x)]
        self.every = 16 if x.numel() <= SMALL else 1
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, disable=not progress, unit="step", leave=False)
        self.quiet = self.bar.disable

    def reached(self, when: float | int, x: Tensor) -> None:
        """A state, at step `when`, or at time `when` if that is a float."""
        self.states.append((when, x))
        if len(self.states) > self.every:
            self.look()
            del self.states[:-1]
        if not self.quiet:
            self.bar.update()

    def look(self) -> None:
        """Look at the states since the last look.

        Raises:
            SdeflowError: one of them is NaN or infinite.
        """
        if finite(self.states[-1][1]):
            return
        good = [state for state in self.states if finite(state[1])]
        raise self.failed(self.states[0] if not good else good[-1])

    def finish(self, x: Tensor) -> None:
        """Look at the last state.

        Raises:
            SdeflowError: it, or one since the last look, is NaN or infinite.
        """
        self.states.append((0, x))
        self.look()

    def checked(self, f: Tensor, x: Tensor, t: float) -> Tensor:
        """The drift f at time t, counted and looked at, for methods that choose their steps."""
        self.nfe += 1
        if getattr(f, "shape", None) != x.shape:
            misfit(f, x)
        if not finite(f):
            raise self.failed(self.states[-1], t)
        return f

    def failed(
        self, last: tuple[float | int, Tensor], t: float | None = None, why: str | None = None
    ) -> SdeflowError:
        """The error to raise, with the path up to the last good state."""
        when, x = last
        good = self.steps.time(when) if isinstance(when, int) else when
        bad = good if t is None else t
        why = why or f"the drift or the state is NaN or infinite at t = {bad:.6g}"
        error = SdeflowError(
            f"{why}; the last good state, at t = {good:.6g}, is in the error's .path"
        )
        times = torch.tensor([self.steps.time(0), good], dtype=torch.float64)
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
