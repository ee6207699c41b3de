"""Adapt an SDE to torchsde and torchdiffeq.

The engines call f(t, x), an SDE is called as drift(x, t), and runs of fixed steps use the step
index (see `SDE.stepped`). An adapter translates for one solve and records every evaluation in its
`Monitor`.

See docs/theory.md, section 5 and (5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor

from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.monitor import LOOK, Monitor, finite


def _fraction(u: Tensor | float, k: int) -> float:
    """u - k, rounded to a multiple of 1/12: the stages of every method lie on these."""
    return round(12 * (float(u) - k)) / 12


class StepIndices(Tensor):
    """Step indices for torchsde, whose entries are numbers: `StepIndices.of([0, 5, 10])`.

    torchsde adds and compares the times of each step. With tensors () that would take half the
    time of a step of a small cloud.
    """

    numbers: list[float]

    @staticmethod
    def of(steps: list[int]) -> StepIndices:
        """The indices (T,), in float64."""
        made = torch.tensor(steps, dtype=torch.float64).as_subclass(StepIndices)
        made.numbers = [float(k) for k in steps]
        return made

    def __getitem__(self, i: Any) -> Any:
        """The number, or the list of numbers, at i."""
        return self.numbers[i]


class StepIndex(Tensor):
    """A step index for torchdiffeq; `StepIndex.grid(K, saved)` is its time grid.

    At every step torchdiffeq subtracts two indices, multiplies the drift by the difference, which
    is 1, and compares the later index with those to be saved. With tensors () that would take a
    quarter of the time of a step of a small cloud; here the results are known. It is for methods
    whose stages are in `FIXED`: the indices of steps that are not saved have no value.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    number: float | None = None

    @staticmethod
    def grid(steps: int, saved: list[int]) -> list[StepIndex]:
        """The indices of all steps, steps + 1 of them."""
        unsaved = torch.tensor(torch.nan).as_subclass(StepIndex)
        made = [unsaved] * (steps + 1)
        for k in saved:
            made[k] = torch.tensor(float(k), dtype=torch.float64).as_subclass(StepIndex)
            made[k].number = k
        return made

    def __sub__(self, other: Any) -> Any:
        return ONE

    def __add__(self, other: Any) -> Any:
        return self

    def __ge__(self, other: Any) -> Any:
        return self.number is not None and self.number >= other.item()

    def to(self, *args: Any) -> Any:  # type: ignore[override]
        """The index itself."""
        return self


class _One(float):
    """The length of every step on the step index."""

    def __mul__(self, other: Any) -> Any:
        return other


ONE = _One(1.0)


class _Untested:
    """A method of an adapter that torchsde does not find before it has tested `f` and `g`.

    torchsde looks up a product with noise twice: to test it with numbers from torch's global
    generator, which belongs to the user, and to use it. The first look-up fails here.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __get__(self, adapter: _Torchsde, kind: type) -> Any:
        if not adapter.tested:
            adapter.tested = True
            raise AttributeError
        return MethodType(self._method, adapter)


class _Torchsde:
    """An SDE on the step index, for torchsde.

    torchsde evaluates some drifts more than once (its shape check, the stages of `srk`), so the
    values of the current step are kept. Every method draws its Brownian increment first, so
    `bm.step` is the current step.
    """

    def __init__(self, monitor: Monitor, bm: Brownian, sde_type: str, noise_type: str) -> None:
        self.monitor, self.steps, self.bm = monitor, monitor.steps, bm
        self.sde_type, self.noise_type, self.tested = sde_type, noise_type, False
        self._step, self._known = 0, list[tuple[float, Tensor, Tensor]]()

    def f(self, u: Tensor | float, y: Tensor) -> Tensor:
        """The drift of the current step, at u."""
        k = self.bm.step
        fraction = _fraction(u, k)
        if k != self._step:
            self._step = k
            self._known.clear()
        for when, state, value in self._known:
            if when == fraction and state is y:
                return value
        value = self.steps.drift(k, fraction, y)
        self._known.append((fraction, y, value))
        self.monitor.evaluated(k, fraction, value, y)
        return value

    def diffusion(self, k: int, fraction: float, y: Tensor) -> Tensor:
        """The diffusion at y (n, d), expanded to (n, d)."""
        g = self.steps.diffusion(k, fraction, y)
        return torch.zeros_like(y) if g is None else torch.as_tensor(g).to(y).expand_as(y)

    def close(self) -> None:
        """Free the clouds; torchsde's wrappers are reference cycles that outlive the run."""
        self._known.clear()
        del self.monitor, self.steps, self.bm


class TorchsdeJoint(_Torchsde):
    """An SDE for methods that use drift and noise together, with one call per stage.

    Args:
        calls: stages of the method; a single stage is at the start of the step.
    """

    def __init__(self, monitor: Monitor, bm: Brownian, sde_type: str, calls: int) -> None:
        super().__init__(monitor, bm, sde_type, "diagonal")
        self._one, self._scaled = calls == 1, bm.scaled

    def g(self, u: float, y: Tensor) -> Tensor:
        """A tensor (n, d) for torchsde's test of shapes; its values are not used."""
        return y.new_tensor(torch.nan).expand_as(y)

    @_Untested
    def f_and_g_prod(self, u: float, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        monitor, steps, k = self.monitor, self.steps, self.bm.step
        fraction = 0.0 if self._one else _fraction(u, k)
        if k == 0 and fraction == 0.0 and self._known[0][1] is y:
            f = self._known[0][2]  # torchsde has tested its shape
        else:
            f = steps.drift(k, fraction, y)
            monitor.evaluated(k, fraction, f, y)
        if self._scaled:
            return f, v
        g = steps.diffusion(k, fraction, y)
        return f, torch.zeros_like(v) if g is None else g * v


class TorchsdeAdditive(_Torchsde):
    """An SDE for methods that use drift and noise separately, with additive noise."""

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        """A tensor (n, d, d) for torchsde's test of shapes; its values are not used."""
        return y.new_tensor(torch.nan).expand(*y.shape, y.shape[1])

    @_Untested
    def g_prod(self, u: Tensor, y: Tensor, v: Tensor) -> Tensor:
        k = self.bm.step
        g = self.steps.diffusion(k, _fraction(u, k), y)
        return torch.zeros_like(v) if g is None else g * v


class TorchsdeDiagonal(_Torchsde):
    """An SDE for methods that need the diffusion itself, (n, d)."""

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        """The diffusion at y (n, d), expanded to (n, d)."""
        return self.diffusion(self.bm.step, _fraction(u, self.bm.step), y)


class TorchsdeReversible(_Torchsde):
    """An SDE for `reversible_heun`, which evaluates drift and noise at a second state z beside x.

        z_{k+1} = 2 x_k - z_k + f_k + g_k w_k.

    Where the drift damps x, it amplifies z - x by the inverse factor. x itself is computed here
    where it is saved, and where it is compared with z.
    """

    _before: tuple[Tensor, Tensor, Tensor]

    def f_and_g(self, u: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Drift and diffusion at z, once per step, at its end."""
        k, monitor = self.bm.step, self.monitor
        last = len(self.steps.gaps) - 1
        if u == 0:
            monitor.begin(0, z)
        elif k and (k == monitor.next or k == last or k % LOOK == 0):
            before, f, g = self._before
            w = self.bm(k, k + 1)
            assert isinstance(w, Tensor)  # without a Levy area
            x = (z + before - f - g * w) / 2
            if finite(x):
                monitor.begin(k, x)
                self._compare(before, x)
        self._before = z, self.f(u, z), self.diffusion(k, _fraction(u, k), z)
        return self._before[1:]

    def _compare(self, z: Tensor, x: Tensor) -> None:
        """Check that the two states have not drifted apart."""
        monitor = self.monitor
        if (z - x).abs().sum() > APART * (x - monitor.start).abs().sum():
            raise monitor.failed(
                "'reversible_heun' does not damp, and the two states that it keeps have drifted "
                f"apart before t = {monitor.steps.time(self.bm.step):.6g}; use 'heun', or a "
                "shorter run"
            )


class TorchdiffeqFixed:
    """A drift on the step index, for torchdiffeq's methods of fixed steps.

    Args:
        stages: where in its step each stage of the method lies, in order; None: use the time that
            torchdiffeq passes, which is rounded to the type of the cloud.
    """

    def __init__(self, monitor: Monitor, stages: tuple[float, ...] | None) -> None:
        self.monitor, self.steps, self.k, self.stage = monitor, monitor.steps, -1, 0
        self._stages = stages

    def callback_step(self, u: Tensor, y: Tensor, du: Tensor) -> None:
        self.k += 1
        self.stage = 0

    def __call__(self, u: Tensor, y: Tensor) -> Tensor:
        k = self.k
        fraction = _fraction(u, k) if self._stages is None else self._stages[self.stage]
        self.stage += 1
        f = self.steps.drift(k, fraction, y)
        self.monitor.evaluated(k, fraction, f, y)
        return f


APART = 0.5
"""How far the states of `reversible_heun` may be apart, relative to the way that x has gone."""
