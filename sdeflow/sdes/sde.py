r"""An SDE: dx = drift(x, t) dt + diffusion(x, t) dW, from t_start to t_end.

The same object moves particles (`solvers`) and densities (`fokker_planck`). An SDE whose t_start
lies above its t_end runs backwards in t; then dt < 0, and dW has variance |dt|. Ready-made ones
are in `generative` and `classical`; `SDE(drift, diffusion, t_start, t_end)` makes your own.

A solver does not step in t but counts steps: on the step index u every time grid is uniform, the
coefficients of a step are read from a table, and dt, sqrt(|dt|) are folded in. `SDE.stepped` gives
an SDE in that form.

See docs/theory.md, (5.1) the step index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from sdeflow._validation import check_finite, check_int, check_times
from sdeflow.processes.time_grids import uniform_times

Drift = Callable[[Tensor, Tensor], Tensor]
Diffusion = Callable[[Tensor, Tensor], Tensor]
Scale = float | Tensor | None


class TransitionKernel(NamedTuple):
    """x_t given x_s is N(scale x_s + shift, variance), each number () or one per axis (d,)."""

    scale: Tensor
    shift: Tensor
    variance: Tensor


Transition = Callable[[float, float], TransitionKernel]
"""(s, t) -> the transition kernel from time s to time t."""


@dataclass(frozen=True, eq=False, repr=False)
class SDE:
    """dx = drift(x, t) dt + diffusion(x, t) dW.

    Args:
        drift: (x, t) -> (n, d); x (n, d), t ().
        diffusion: (x, t) -> () for additive noise, (d,) if it differs from axis to axis, or (n, d)
            for diagonal noise that depends on the state; None for an ordinary differential
            equation.
        t_start, t_end: the span, in the order in which it is run.
        calculus: how state-dependent noise is read; additive noise reads the same both ways.
        time_grid: K -> (K + 1,), the SDE's own grid of times; uniform by default.
        transition: (s, t) -> `TransitionKernel`, where the SDE is linear and its transition is
            known in closed form; `evolve` then takes any span in one step.
        name: what to call it in print.
        made_for: the drift and diffusion that `transition` belongs to, by default these. Where
            `dataclasses.replace` has changed either, `transition` is dropped.

    Raises:
        TypeError: the drift is no function, or the diffusion neither a function nor None.
        ValueError: t_start and t_end are the same or not finite, or an unknown calculus.
    """

    drift: Drift
    diffusion: Diffusion | None
    t_start: float
    t_end: float
    calculus: Literal["ito", "stratonovich"] = "ito"
    time_grid: Callable[[int], Tensor] | None = None
    transition: Transition | None = None
    name: str = "SDE"
    made_for: tuple[Drift, Diffusion | None] | None = None

    whole_step: ClassVar[bool] = False
    """Whether a step of `stepped` is complete in itself, so that only `euler` may take it."""

    def __post_init__(self) -> None:
        """Refuse what is no function, and an empty span."""
        for name in ("drift", "diffusion", "time_grid", "transition"):
            given = getattr(self, name)
            if not callable(given) and (name == "drift" or given is not None):
                raise TypeError(f"{name} must be a function, got {type(given).__name__}")
        for name in ("t_start", "t_end"):
            object.__setattr__(self, name, check_finite(getattr(self, name), name))
        if self.t_start == self.t_end:
            raise ValueError(f"t_start and t_end must differ, both are {self.t_start}")
        if self.calculus not in ("ito", "stratonovich"):
            raise ValueError(f"calculus must be 'ito' or 'stratonovich', got {self.calculus!r}")
        if self.made_for is None:
            object.__setattr__(self, "made_for", (self.drift, self.diffusion))
        elif not self.as_made:
            object.__setattr__(self, "transition", None)

    @property
    def as_made(self) -> bool:
        """Whether drift and diffusion are those that the SDE was made with."""
        made = self.made_for or (None, None)
        return made[0] is self.drift and made[1] is self.diffusion

    def __repr__(self) -> str:
        """In words."""
        return f"{self.name}, t from {self.t_start:g} to {self.t_end:g}"

    @property
    def direction(self) -> float:
        """1 where time runs up, -1 where it runs down: dW has variance direction dt."""
        return 1.0 if self.t_end > self.t_start else -1.0

    def check_times(self, times: Tensor, name: str = "times") -> Tensor:
        """These times (K + 1,) in float64, if they lie in the span and run its way.

        Raises:
            TypeError, ValueError: they do not, or are no times.
        """
        low, high = sorted((self.t_start, self.t_end))
        times = check_times(times, low, high, name)
        if (float(times[-1] - times[0])) * self.direction < 0:
            raise ValueError(
                f"{name} run from {times[0]:g} to {times[-1]:g}, but this SDE runs from "
                f"{self.t_start:g} to {self.t_end:g}; flip them"
            )
        return times

    def times(self, steps: int) -> Tensor:
        """The SDE's own time grid, (steps + 1,) in float64, from t_start to t_end."""
        check_int(steps, "steps")
        if self.time_grid is not None:
            return self.time_grid(steps)
        return uniform_times(self.t_start, self.t_end, steps)

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """This SDE on the step index of `times` (K + 1,), for clouds like this one."""
        return SteppedSDE(self, times, like)


def check_drift(f: object, x: Tensor) -> None:
    """Refuse a drift of another shape than the cloud x.

    Raises:
        ValueError: it is another, or no tensor.
    """
    if getattr(f, "shape", None) != x.shape:
        got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(f"the drift returned {got} for a cloud {tuple(x.shape)}")


class SteppedSDE:
    """An SDE on the step index: step k runs from u = k to k + 1, and `fraction` is u - k.

        dx = drift dt_k du + diffusion sqrt(|dt_k|) dW_u;

    drift and diffusion come per unit of u, that is multiplied by dt_k and sqrt(|dt_k|).
    """

    def __init__(self, sde: SDE, times: Tensor, like: Tensor) -> None:
        self.sde, self.times, self.like = sde, times, like
        self.gaps: list[float] = (times[1:] - times[:-1]).tolist()

    def time(self, k: int, fraction: float = 0.0) -> float:
        """t at u = k + fraction."""
        if fraction == 0.0 or fraction == 1.0:
            return float(self.times[k + int(fraction)])
        return float(self.times[k]) + fraction * self.gaps[k]

    def drift(self, k: int, fraction: float, x: Tensor) -> Tensor:
        """drift dt_k, (n, d)."""
        f = self.sde.drift(x, self._at(k, fraction))
        check_drift(f, x)
        return f * self.gaps[k]

    def diffusion(self, k: int, fraction: float, x: Tensor) -> Scale:
        """diffusion sqrt(|dt_k|): one number, (d,), (n, d), or None where there is no noise."""
        if self.sde.diffusion is None:
            return None
        return self.sde.diffusion(x, self._at(k, fraction)) * abs(self.gaps[k]) ** 0.5

    def noise_scales(self) -> Tensor | None:
        """(K,) the diffusion at the start of each step, where it is one number known beforehand."""
        return None

    def _at(self, k: int, fraction: float) -> Tensor:
        return self.like.new_tensor(self.time(k, fraction))
