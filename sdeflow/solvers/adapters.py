"""A law as the two engines want it, and the watch that is kept on a run.

The engines ask in (t, x), most of them on the step-number clock (see `sde.Steps`); the law answers
in (x, t). Between the two stands a `Watch`: it counts evaluations, finds the step at which a state
went bad, and shows progress.

See docs/theory.md, section 5 and (5.1).
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_cloud
from sdeflow.sdes.sde import SDE, Scale, SteppedSDE
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.path import Path


def _part(u: float, k: int) -> float:
    """u - k, which the stages of every method make a multiple of 1/12; float32 may miss it."""
    return round(12 * (u - k)) / 12


class Monitor:
    """One solve: counts evaluations, watches for a state that went bad, shows progress."""

    def __init__(self, steps: SteppedSDE, x: Tensor, progress: bool, total: int | None) -> None:
        self.steps, self.start, self.nfe = steps, x, 0
        self.last: tuple[float | int, Tensor] = (0, x)
        self.before: tuple[float | int, Tensor] = (0, x)
        self.started = time.perf_counter()
        self.bar = tqdm(total=total, disable=not progress, unit="step", leave=False)

    def drift(self, k: int, part: float, x: Tensor) -> Tensor:
        return self.checked(self.steps.drift(k, part, x), x, k, part)

    def checked(self, f: Tensor, x: Tensor, when: float | int, part: float = 0.0) -> Tensor:
        """f, counted and looked at: the drift at step `when`, or at time `when` if a float."""
        self.nfe += 1
        if not isinstance(f, Tensor) or f.shape != x.shape:
            got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
            raise ValueError(f"the drift returned {got} for a cloud {tuple(x.shape)}")
        # One number to look at: a sum is finite only if all its terms are, but it may overflow.
        if not math.isfinite(f.sum().item()) and not torch.isfinite(f).all():
            t = self.steps.time(when, part) if isinstance(when, int) else when
            raise self.failed(f"the drift is NaN or infinite at t = {t:.6g}")
        return f

    def reached(self, when: float | int, x: Tensor) -> None:
        """A good state: at step `when`, or at time `when` if it is a float."""
        self.before, self.last = self.last, (when, x)
        if not self.bar.disable:
            self.bar.update()

    def failed(self, why: str) -> SdeflowError:
        """The error to raise, with the path so far."""
        first = self.steps.time(0, 0.0)
        # A state that overflowed shows only in the drift that is asked next.
        when, x = self.last if torch.isfinite(self.last[1]).all() else self.before
        t = self.steps.time(when, 0.0) if isinstance(when, int) else when
        error = SdeflowError(
            f"{why}; the last good state, at t = {t:.6g}, is in the error's .path"
        )
        times = torch.tensor([first, t], dtype=torch.float64)
        error.path = self.path(times, torch.stack([self.start, x]), why)
        return error

    def path(self, t: Tensor, x: Tensor, status: str = "finished") -> Path:
        return Path(t, x, self.nfe, time.perf_counter() - self.started, status)


class _Engine:
    """A law as torchsde wants it, on the step-number clock and in torchsde's own words.

    torchsde asks for the same drift more than once (its shape check, the stages of `srk`), so the
    values of the current step are remembered; every method draws its increment first, which says
    what step that is.
    """

    def __init__(self, monitor: Monitor, bm: Brownian, sde_type: str, noise_type: str) -> None:
        self.monitor, self.bm = monitor, bm
        self.sde_type, self.noise_type = sde_type, noise_type
        self._step, self._at = 0, 0.0
        self._seen: list[tuple[float, Tensor, Tensor]] = []

    def drift(self, u: Tensor, y: Tensor) -> Tensor:
        k = self.bm.step
        part = self._at = _part(float(u), k)
        if k != self._step:
            self._step = k
            self._seen.clear()
        for when, state, value in self._seen:
            if when == part and state is y:
                return value
        if part == 0.0 and k:
            self.monitor.reached(k, y)
        value = self.monitor.drift(k, part, y)
        self._seen.append((part, y, value))
        return value

    def scale(self, u: Tensor, y: Tensor) -> Scale:
        return self.monitor.steps.diffusion(self.bm.step, _part(float(u), self.bm.step), y)

    def close(self) -> None:
        """Let go of the clouds: torchsde's wrappers refer to themselves and so outlive the run."""
        self._seen.clear()
        del self.monitor, self.bm


class Joint(_Engine):
    """For methods that use drift and noise together: one call."""

    def f_and_g_prod(self, u: Tensor, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        f = self.drift(u, y)
        g = self.monitor.steps.diffusion(self._step, self._at, y)
        return f, torch.zeros_like(v) if g is None else g * v


class Additive(_Engine):
    """For methods that use them apart, where the noise does not depend on the state."""

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        return self.drift(u, y)

    def g_prod(self, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
        g = self.scale(u, y)
        return torch.zeros_like(v) if g is None else g * v


class Diagonal(_Engine):
    """For methods that need the diffusion itself, (n, d)."""

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        return self.drift(u, y)

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        g = self.scale(u, y)
        return torch.zeros_like(y) if g is None else torch.as_tensor(g).to(y).expand_as(y)


class Flow:
    """A law as torchdiffeq wants it, on the step-number clock; it tells which step is on."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor, self.k = monitor, 0

    def callback_step(self, u: Tensor, y: Tensor, du: Tensor) -> None:
        self.k = int(u)
        if self.k:
            self.monitor.reached(self.k, y)

    def __call__(self, u: Tensor, y: Tensor) -> Tensor:
        return self.monitor.drift(self.k, _part(float(u), self.k), y)


class Adaptive:
    """A law as torchdiffeq wants it, in process time."""

    def __init__(self, monitor: Monitor, sde: SDE) -> None:
        self.monitor, self.sde = monitor, sde

    def callback_accept_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        self.monitor.reached(float(t), y)

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        return self.monitor.checked(self.sde.drift(y, t), y, float(t))


REMEMBERING = ("reversible_heun", "implicit_adams")


def _check(sde: SDE, x: Tensor) -> None:
    if not isinstance(sde, SDE):
        raise TypeError(
            f"sde must be a law of motion, got {type(sde).__name__}; pass sf.reverse(field) or "
            "sf.forward(process)"
        )
    check_cloud(x)


def _check_noise(g: Scale, x: Tensor) -> None:
    if isinstance(g, Tensor) and g.shape not in ((), x.shape[1:], x.shape):
        raise ValueError(
            f"the diffusion returned {tuple(g.shape)} for a cloud {tuple(x.shape)}; noise is (), "
            "(d,) or diagonal, (n, d): turn the axes so that a matrix of noise becomes diagonal"
        )


def _grid(sde: SDE, steps: int, times: Tensor | None, method: str) -> Tensor:
    """The grid of a run: the law's own, or the user's if it lies in the span and runs its way."""
    grid = sde.times(steps) if times is None else sde.check_times(times)
    gaps = grid.diff()
    # On the step-number clock a value of an earlier step carries that step's dt.
    if method in REMEMBERING and (gaps - gaps[0]).abs().max() > 1e-6 * gaps[0].abs():
        raise ValueError(
            f"{method!r} reuses the drift of earlier steps, so its steps must be equal: give "
            "times=uniform_times(...), or use another method"
        )
    return grid
