"""An SDE in the words of the two engines, and the checks before a solve.

torchsde and torchdiffeq ask for (t, x), fixed steps on the step index (see `SDE.stepped`); an SDE
answers (x, t). An adapter stands between the two for one solve and tells its `Monitor` which
states are reached.

See docs/theory.md, section 5 and (5.1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdeflow._validation import check_cloud
from sdeflow.sdes.sde import SDE, Scale, check_drift
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.monitor import Monitor, finite


def _fraction(u: Tensor | float, k: int) -> float:
    """u - k, which the stages of every method make a multiple of 1/12; float32 may miss it."""
    return round(12 * (float(u) - k)) / 12


class StepIndices(Tensor):
    """Step indices for torchsde, whose entries are numbers: `StepIndices.of([0, 5, 10])`.

    The engine adds and compares the times of each step. On tensors () that would take half of a
    small cloud's step.
    """

    numbers: list[float]

    @staticmethod
    def of(steps: list[int]) -> StepIndices:
        """(T,) in float64."""
        made = torch.tensor(steps, dtype=torch.float64).as_subclass(StepIndices)
        made.numbers = [float(k) for k in steps]
        return made

    def __getitem__(self, i: Any) -> Any:
        """The number, or the list of numbers, at i."""
        return self.numbers[i]


class _Torchsde:
    """An SDE for torchsde, on the step index.

    torchsde asks for the same drift more than once (its shape check, the stages of `srk`), so the
    values of the current step are remembered; every method draws its increment first, which tells
    which step that is.
    """

    def __init__(self, monitor: Monitor, bm: Brownian, sde_type: str, noise_type: str) -> None:
        self.monitor, self.steps, self.bm = monitor, monitor.steps, bm
        self.sde_type, self.noise_type = sde_type, noise_type
        self._step, self._known = 0, list[tuple[float, Tensor, Tensor]]()

    def drift(self, k: int, fraction: float, y: Tensor) -> Tensor:
        if k != self._step:
            self._step = k
            self._known.clear()
        for when, state, value in self._known:
            if when == fraction and state is y:
                return value
        value = self.steps.drift(k, fraction, y)
        self._known.append((fraction, y, value))
        _logged(self.monitor, k, fraction, value, y)
        return value

    def close(self) -> None:
        """Let go of the clouds: torchsde's wrappers refer to themselves and so outlive the run."""
        self._known.clear()
        del self.monitor, self.steps, self.bm


class TorchsdeJoint(_Torchsde):
    """For methods that use drift and noise together: one call a stage, each stage asked once.

    Args:
        stages: of the method; the time of a single stage needs no reading.
    """

    def __init__(self, monitor: Monitor, bm: Brownian, sde_type: str, stages: int) -> None:
        super().__init__(monitor, bm, sde_type, "diagonal")
        self._one, self._scaled = stages == 1, bm.scaled

    def f_and_g_prod(self, u: float, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        monitor, steps, k = self.monitor, self.steps, self.bm.step
        fraction = 0.0 if self._one else _fraction(u, k)
        first = self._known[0] if self._known else None
        if first is not None and k == 0 and first[0] == fraction and first[1] is y:
            f = first[2]  # torchsde looked at its shape before the first step
        else:
            f = steps.drift(k, fraction, y)
            log = monitor.log
            log.append((k, fraction, f, y))
            if len(log) >= monitor.every:
                monitor.look()
            if first is None:
                self._known.append((fraction, y, f))
        if self._scaled:
            return f, v
        g = steps.diffusion(k, fraction, y)
        return f, torch.zeros_like(v) if g is None else g * v


class TorchsdeAdditive(_Torchsde):
    """For methods that use them apart, where the noise does not depend on the state."""

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        return self.drift(self.bm.step, _fraction(u, self.bm.step), y)

    def g_prod(self, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
        k = self.bm.step
        g = self.steps.diffusion(k, _fraction(u, k), y)
        return torch.zeros_like(v) if g is None else g * v


class TorchsdeDiagonal(_Torchsde):
    """For methods that need the diffusion itself, (n, d)."""

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        return self.drift(self.bm.step, _fraction(u, self.bm.step), y)

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        k = self.bm.step
        g = self.steps.diffusion(k, _fraction(u, k), y)
        return torch.zeros_like(y) if g is None else torch.as_tensor(g).to(y).expand_as(y)


class TorchdiffeqFixed:
    """A drift for torchdiffeq on the step index; the engine says when a step begins.

    Args:
        stages: of the method; the time of a single stage needs no reading.
    """

    def __init__(self, monitor: Monitor, stages: int) -> None:
        self.monitor, self.steps, self.k = monitor, monitor.steps, -1
        self._one = stages == 1

    def callback_step(self, u: Tensor, y: Tensor, du: Tensor) -> None:
        self.k += 1

    def __call__(self, u: Tensor, y: Tensor) -> Tensor:
        k, monitor = self.k, self.monitor
        fraction = 0.0 if self._one else _fraction(u, k)
        f = self.steps.drift(k, fraction, y)
        log = monitor.log
        log.append((k, fraction, f, y))
        if len(log) >= monitor.every:
            monitor.look()
        return f


class TorchdiffeqAdaptive:
    """A drift for torchdiffeq in process time."""

    def __init__(self, monitor: Monitor, sde: SDE) -> None:
        self.monitor, self.sde = monitor, sde

    def callback_accept_step(self, t: Tensor, y: Tensor, dt: Tensor) -> None:
        self.monitor.last = float(t), y
        self.monitor.bar.update()

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        f, monitor = self.sde.drift(y, t), self.monitor
        check_drift(f, y)
        monitor.nfe += 1
        if not finite(f):
            raise monitor.failed(f"the drift is NaN or infinite at t = {float(t):.6g}")
        return f


def _logged(monitor: Monitor, k: int, fraction: float, f: Tensor, y: Tensor) -> None:
    monitor.log.append((k, fraction, f, y))
    if len(monitor.log) >= monitor.every:
        monitor.look()


REMEMBERING = ("reversible_heun", "implicit_adams")


def check_sde_and_cloud(sde: SDE, x: Tensor, method: str) -> None:
    """Refuse what is no SDE or no cloud, and whole steps with another method than `euler`."""
    if not isinstance(sde, SDE):
        raise TypeError(
            f"sde must be an SDE, got {type(sde).__name__}; pass sf.reverse(field) or "
            "sf.forward(process)"
        )
    check_cloud(x)
    if sde.whole_step and method != "euler":
        raise ValueError(
            f"ancestral sampling takes whole steps: use the method 'euler' with steps= or times=, "
            f"not {method!r}"
        )


def check_noise(g: Scale, x: Tensor) -> None:
    """Refuse noise of a shape that no engine takes."""
    if isinstance(g, Tensor) and g.shape not in ((), x.shape[1:], x.shape):
        raise ValueError(
            f"the diffusion returned {tuple(g.shape)} for a cloud {tuple(x.shape)}; noise is (), "
            "(d,) or diagonal, (n, d): turn the axes so that a matrix of noise becomes diagonal"
        )


def check_grid(sde: SDE, steps: int, times: Tensor | None, method: str) -> Tensor:
    """The time grid of a run: the SDE's own, or the user's if it fits the span and direction."""
    grid = sde.times(steps) if times is None else sde.check_times(times)
    gaps = grid.diff()
    # On the step index a value of an earlier step carries that step's dt.
    if method in REMEMBERING and (gaps - gaps[0]).abs().max() > 1e-6 * gaps[0].abs():
        raise ValueError(
            f"{method!r} reuses the drift of earlier steps, so its steps must be equal: give "
            "times=uniform_times(...), or use another method"
        )
    return grid
