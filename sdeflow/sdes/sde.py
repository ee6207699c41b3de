r"""Make an SDE of your own: dx = drift(x, t) dt + diffusion(x, t) dW, from t_start to t_end.

With `SDE(drift, diffusion, t_start, t_end)`, `solvers` move particles and `fokker_planck` moves a
density. If t_start is above t_end, time runs backwards: then dt < 0, and dW has variance |dt|.
SDEs that are ready to use are in `generative` and `classical`.

Solvers step in the step index u = 0, ..., K in place of t: every time grid is uniform in u.
`SDE.stepped` writes an SDE in u.

See docs/theory.md, (5.1) the step index.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from sdeflow._validation import (
    FLOAT32_EPS,
    Numbers,
    check_finite,
    check_int,
    check_kind,
    check_times,
    shown,
)
from sdeflow._wording import in_words
from sdeflow.processes.time_grids import SpanTimes, uniform_times
from sdeflow.sdes.walls import Box

Drift = Callable[[Tensor, Tensor], Tensor]
Diffusion = Callable[[Tensor, Tensor], Tensor]
Scale = float | Tensor | None
Times = Numbers


ARGUMENTS = {"drift": "xt", "diffusion": "xt", "time_grid": ["steps"], "transition": "st"}


class TransitionKernel(NamedTuple):
    """The distribution of x_t given x_s, N(scale x_s + shift, variance); each is () or (d,)."""

    scale: Tensor
    shift: Tensor
    variance: Tensor

    def __repr__(self) -> str:
        scale, shift, variance = map(in_words, self)
        return f"transition kernel, scale {scale}, shift {shift}, variance {variance}"


Transition = Callable[[float, float], TransitionKernel]
"""(s, t) -> the transition kernel from time s to time t."""


@dataclass(frozen=True, eq=False, repr=False)
class SDE:
    """A stochastic differential equation dx = drift(x, t) dt + diffusion(x, t) dW.

    Args:
        drift: (x, t) -> (n, d); x (n, d), t () in float64, whatever the type of x.
        diffusion: (x, t) -> () for additive noise, (d,) if it differs from axis to axis, or (n, d)
            for diagonal noise that depends on x; with `noises` a matrix, (d, m) or (n, d, m); None
            for an ordinary differential equation.
        t_start, t_end: first and last time.
        calculus: interpretation of noise that depends on x, "ito" or "stratonovich".
        time_grid: K -> times (K + 1,) from t_start to t_end; uniform by default. A `SpanTimes`
            follows the span.
        transition: (s, t) -> `TransitionKernel` of this drift and this diffusion, if the SDE is
            linear; `evolve` then needs one step for any span.
        name: of the SDE, for its repr.
        made_for: the drift, the diffusion and the direction of time to which `transition` belongs,
            by default these. If `dataclasses.replace` has changed one, `transition` is dropped.
        walls: a `Box` that the particles do not leave. With walls `transition` is dropped.
        noises: m, the number of independent noises of a diffusion matrix; None: one for each axis.

    Raises:
        ValueError: `replace` has reversed the time of an SDE with noise.
    """

    drift: Drift
    diffusion: Diffusion | None
    t_start: float
    t_end: float
    calculus: Literal["ito", "stratonovich"] = "ito"
    time_grid: Callable[[int], Tensor] | None = None
    transition: Transition | None = None
    name: str = "SDE"
    made_for: tuple[Drift, Diffusion | None] | tuple[Drift, Diffusion | None, float] | None = None
    walls: Box | None = None
    noises: int | None = None

    whole_step: ClassVar[bool] = False
    """Whether a step of `stepped` is a whole step of a sampler; then only `euler` can solve it."""

    remembers: ClassVar[bool] = False
    """Whether a step depends on earlier states than the last: it is then no Markov chain."""

    def __post_init__(self) -> None:
        for name, arguments in ARGUMENTS.items():
            if name == "drift" or getattr(self, name) is not None:
                check_function(getattr(self, name), name, *arguments)
        for name in ("t_start", "t_end"):
            object.__setattr__(self, name, check_finite(getattr(self, name), name))
        if self.t_start == self.t_end:
            raise ValueError(f"t_start and t_end must differ, both are {self.t_start}")
        if self.calculus not in ("ito", "stratonovich"):
            raise ValueError(
                f"calculus must be 'ito' or 'stratonovich', got {shown(self.calculus)}"
            )
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a text, got {type(self.name).__name__}")
        if isinstance(self.time_grid, SpanTimes):
            grid = replace(self.time_grid, t_start=self.t_start, t_end=self.t_end)
            object.__setattr__(self, "time_grid", grid)
        self._compare_with_made()
        if self.noises is not None:
            check_int(self.noises, "noises")
            if self.diffusion is None:
                raise ValueError("an SDE without diffusion has no noises; leave noises out")
        if self.walls is not None:
            self._check_walls()

    def _check_walls(self) -> None:
        check_kind(self.walls, Box, "walls", "make them by sf.sdes.Box(low, high, kind)")
        if self.whole_step:
            raise ValueError(
                f"{self.name} takes whole steps, which cannot stop at walls; give them to an SDE "
                "of drift and diffusion, such as reverse(field)"
            )
        if self.noises is not None:
            raise ValueError("between walls noise is one number or one per axis, not a matrix")
        object.__setattr__(self, "transition", None)

    def _compare_with_made(self) -> None:
        """Drop `transition` where it belongs to another SDE; refuse noise in reversed time."""
        if self.made_for is None:
            object.__setattr__(self, "made_for", (self.drift, self.diffusion, self.direction))
            return
        check_kind(self.made_for, tuple, "made_for", "leave it out")
        turned = self.made_for[2:] not in ((), (self.direction,))
        if turned and self.as_made and self.diffusion is not None:
            raise ValueError(
                "an SDE with noise does not retrace its path when its time is reversed; take "
                "sf.reverse or sf.forward, or make SDE(drift, diffusion, t_start, t_end) anew"
            )
        if turned or not self.as_made:
            object.__setattr__(self, "transition", None)

    @property
    def as_made(self) -> bool:
        """Whether drift and diffusion are those that the SDE was made with."""
        made = self.made_for or (None, None)
        return made[0] is self.drift and made[1] is self.diffusion

    def __repr__(self) -> str:
        other = "" if self.as_made else ", with another drift or diffusion"
        walls = "" if self.walls is None else f", within {self.walls}"
        return f"{self.name}{other}, t from {self.t_start:g} to {self.t_end:g}{walls}"

    @property
    def direction(self) -> float:
        """1 if time runs up, -1 if it runs down; dW has variance direction dt."""
        return 1.0 if self.t_end > self.t_start else -1.0

    def check_times(self, times: Times, name: str = "times") -> Tensor:
        """Return times (K + 1,) in float64, if they run within the span and in its direction."""
        low, high = sorted((self.t_start, self.t_end))
        row = check_times(times, low, high, name)
        if (float(row[-1] - row[0])) * self.direction < 0:
            raise ValueError(
                f"{name} run from {row[0]:g} to {row[-1]:g}, but this SDE runs from "
                f"{self.t_start:g} to {self.t_end:g}; flip them"
            )
        return row

    def times(self, steps: int) -> Tensor:
        """The SDE's own time grid, (steps + 1,) in float64, from t_start to t_end."""
        steps = check_int(steps, "steps")
        if self.time_grid is None:
            return uniform_times(self.t_start, self.t_end, steps)
        name = "the times of time_grid"
        grid = self.check_times(self.time_grid(steps), name)
        if len(grid) != steps + 1:
            raise ValueError(
                f"time_grid gave {len(grid)} times for {steps} steps; it must give {steps + 1}"
            )
        rounding = FLOAT32_EPS * max(abs(self.t_start), abs(self.t_end))
        if max(abs(grid[0] - self.t_start), abs(grid[-1] - self.t_end)) > rounding:
            raise ValueError(
                f"the times of time_grid run from {grid[0]:g} to {grid[-1]:g}, but this SDE from "
                f"{self.t_start:g} to {self.t_end:g}; give both the same ends"
            )
        grid[0], grid[-1] = self.t_start, self.t_end
        return grid

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """This SDE on the step index of times (K + 1,), for clouds of the type of `like`."""
        return SteppedSDE(self, times, like)


def check_sde(sde: object) -> SDE:
    """Return `sde` if it is an `SDE`."""
    if not isinstance(sde, SDE):
        raise TypeError(
            f"sde must be an SDE, got {type(sde).__name__}; pass sf.reverse(field) or "
            "sf.forward(process)"
        )
    return sde


def check_function(function: object, name: str, *arguments: str) -> None:
    """Check that a function can be called with these arguments."""
    if isinstance(function, type) or not callable(function):
        got = f"the class {function.__name__}" if isinstance(function, type) else type(function)
        got = got if isinstance(got, str) else got.__name__
        raise TypeError(f"{name} must be a function of ({', '.join(arguments)}), got {got}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions of C have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise TypeError(
            f"{name} must be a function of ({', '.join(arguments)}), got one of {signature}"
        ) from None


def check_drift(f: object, x: Tensor) -> None:
    """Check that a drift f is a real tensor of the shape of the cloud x."""
    if not isinstance(f, Tensor) or f.shape != x.shape or f.is_complex():
        got = type(f).__name__
        if isinstance(f, Tensor):
            got = f"{tuple(f.shape)}{' of complex numbers' * f.is_complex()}"
        raise ValueError(
            f"the drift returned {got} for a cloud of shape {tuple(x.shape)}; return a tensor of "
            "that shape"
        )


def check_diffusion(g: object) -> None:
    """Check that a diffusion g is a number or a tensor."""
    if not isinstance(g, (float, int, Tensor)):
        raise TypeError(
            f"the diffusion returned {type(g).__name__}; return a number or a tensor, and give "
            "diffusion=None if there is no noise"
        )


def time_tensor(t: float, like: Tensor) -> Tensor:
    """Time t () in float64, since the type of the cloud may be too narrow to hold it."""
    # MPS holds no float64; a tensor () on the CPU combines with those of any device.
    device = "cpu" if like.device.type == "mps" else like.device
    return torch.scalar_tensor(t, dtype=torch.float64, device=device)


class SteppedSDE:
    """An SDE written in the step index u; step k runs from u = k to k + 1.

        dx = drift(x, t) dt_k du + diffusion(x, t) sqrt(|dt_k|) dW_u.

    `drift` and `diffusion` return the coefficients of du and dW_u at u = k + fraction.
    """

    def __init__(self, sde: SDE, times: Tensor, like: Tensor) -> None:
        self.sde, self.times, self.like = sde, times, like
        self.gaps: list[float] = (times[1:] - times[:-1]).tolist()
        self._times: list[float] = times.tolist()

    def time(self, k: int, fraction: float = 0.0) -> float:
        """t at u = k + fraction."""
        if fraction == 0.0 or fraction == 1.0:
            return self._times[k + int(fraction)]
        return self._times[k] + fraction * self.gaps[k]

    def drift(self, k: int, fraction: float, x: Tensor) -> Tensor:
        """The drift times dt_k, (n, d), at x (n, d)."""
        f = self.sde.drift(x, self._at(k, fraction))
        check_drift(f, x)
        return (f if f.dtype is x.dtype else f.to(x.dtype)) * self.gaps[k]

    def diffusion(self, k: int, fraction: float, x: Tensor) -> Scale:
        """The diffusion times sqrt(|dt_k|): a number, (d,), (n, d), or None without noise."""
        if self.sde.diffusion is None:
            return None
        g = self.sde.diffusion(x, self._at(k, fraction))
        if not isinstance(g, Tensor):
            check_diffusion(g)
        elif g.dtype is not x.dtype:
            g = g.to(x.dtype)
        return g * abs(self.gaps[k]) ** 0.5

    def noise_scales(self) -> Tensor | None:
        """The diffusion at the start of each step (K,), if it does not depend on x; else None."""
        return None

    def _at(self, k: int, fraction: float) -> Tensor:
        return time_tensor(self.time(k, fraction), self.like)
