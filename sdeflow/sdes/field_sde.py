r"""Make an SDE whose drift is linear in x and in a field, and evaluates the field once.

    dx = [state x + prediction field(scale x, t)] dt + g dW.

state, prediction, scale and g are functions of time alone. They are computed before the run for
all its steps, so a step costs one evaluation of the field and two passes over x.

See docs/theory.md, (4.2) and (5.1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from sdeflow._blocks import Evaluate, paged
from sdeflow._validation import check_cloud
from sdeflow.fields.field import Field, Table
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import SpanTimes
from sdeflow.sdes.sde import SDE, Scale, SteppedSDE


class TimeCoefficients(NamedTuple):
    """The coefficients of drift = state x + prediction field(scale x, t), and the diffusion g.

    Attributes:
        t, c: process time, and alpha, sigma and their rates there.
        scale, state, prediction, diffusion: shaped like t.
    """

    t: Tensor
    c: Coefficients[Tensor]
    scale: Tensor
    state: Tensor
    prediction: Tensor
    diffusion: Tensor


@dataclass(frozen=True, eq=False)
class FieldCoefficients(ABC):
    """A function of t, () or (K,), that gives the `TimeCoefficients` of one field and one eta."""

    field: Field
    eta: float

    @abstractmethod
    def __call__(self, t: Tensor) -> TimeCoefficients:
        """The coefficients at t, in its dtype."""


@dataclass(frozen=True, eq=False)
class FieldDrift:
    """The drift (x, t) -> state x + prediction field(scale x, t)."""

    coefficients: FieldCoefficients

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        now = self.coefficients(t)
        state, prediction, scale = (v.to(x) for v in (now.state, now.prediction, now.scale))
        field = self.coefficients.field.at(now.t, now.c, x)
        return state * x + prediction * field(scale * x)


@dataclass(frozen=True, eq=False)
class FieldNoise:
    """The diffusion (x, t) -> g."""

    coefficients: FieldCoefficients

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.coefficients(t).diffusion


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class FieldSDE(SDE):
    """An SDE whose drift evaluates a `Field` once.

    Attributes:
        field: the field.
        coefficients: t () or (K,) -> `TimeCoefficients` of that shape.
        eta: the diffusion relative to that of the reverse SDE.

    Raises:
        ValueError: `dataclasses.replace` has changed field, eta or coefficients, of which the
            drift is made.
    """

    field: Field
    coefficients: FieldCoefficients
    eta: float

    def __post_init__(self) -> None:
        """Check that the drift is made of this field, this eta and these coefficients."""
        super().__post_init__()
        own, drift = self.coefficients, self.drift if self.as_made else None
        known = own if not isinstance(drift, FieldDrift) else drift.coefficients
        if not (known is own and own.field is self.field and own.eta == self.eta):
            raise ValueError(
                "field, eta and coefficients belong to the drift of this SDE and cannot be "
                "replaced; make it anew, as in sf.reverse(field, eta)"
            )

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """This SDE on the step index; what depends on time alone is computed once, for all k."""
        return (_SteppedFieldSDE if self.as_made else SteppedSDE)(self, times, like)


F = TypeVar("F", bound=FieldSDE)


class _SteppedFieldSDE(SteppedSDE):
    sde: FieldSDE

    def __init__(self, sde: FieldSDE, times: Tensor, like: Tensor) -> None:
        super().__init__(sde, times, check_cloud(like, dim=sde.field.dim))
        self._stages: dict[float, _Stage] = {}

    @cached_property
    def _on_grid(self) -> Table:
        """The field at every time of the grid: the end of a step is the start of the next."""
        return self._field(self.sde.coefficients(self.times))

    def _field(self, now: TimeCoefficients) -> Table:
        return self.sde.field.table(now.t, now.c, self.like)

    def _stage(self, fraction: float) -> _Stage:
        """The coefficients at u = k + fraction, for all steps k."""
        if fraction not in self._stages:
            dt = torch.tensor(self.gaps, dtype=torch.float64)
            first = int(fraction)
            inner = fraction not in (0.0, 1.0)
            at = self.times[:-1] + fraction * dt if inner else self.times[first:][: len(dt)]
            now = self.sde.coefficients(at)
            field = self._field(now) if inner else (lambda k: self._on_grid(k + first))
            self._stages[fraction] = _Stage.of(
                field, now.scale, now.state * dt, now.prediction * dt,
                now.diffusion * dt.abs().sqrt(), self.like,
            )  # fmt: skip
        return self._stages[fraction]

    def drift(self, k: int, fraction: float, x: Tensor) -> Tensor:
        stage = self._stages.get(fraction) or self._stage(fraction)
        field, scale, ratio, prediction, state = stage.step(k)
        out = field(x) if scale is None else field(x * scale)
        # For small clouds each torch call counts: a factor that is a tensor () is faster than a
        # number, and a number in `alpha` is faster than both.
        if -1e3 < ratio < 1e3:
            return torch.add(out, x, alpha=ratio).mul_(prediction)
        return torch.add(out * prediction, x, alpha=state)

    def noise_scales(self) -> Tensor | None:
        noise = self._stage(0.0).noise
        return noise if bool(noise.any()) else None

    def diffusion(self, k: int, fraction: float, x: Tensor) -> Scale:
        return float(self._stage(fraction).noise[k]) or None


Step = tuple[Evaluate, Tensor | None, float, Tensor, float]
"""The field, its scale (None is 1), state / prediction, prediction, state."""


class _Stage(NamedTuple):
    """One stage of every step: drift dt = state x + prediction field(scale x), and the noise."""

    step: Callable[[int], Step]
    noise: Tensor

    @staticmethod
    def of(
        field: Table, scale: Tensor, state: Tensor, prediction: Tensor, noise: Tensor, like: Tensor
    ) -> _Stage:
        """The stage with these coefficients, each (K,) in float64."""
        rows, unscaled = torch.stack([state / prediction, state]).numpy(), bool((scale == 1).all())
        own, factors = scale.to(like), prediction.to(like)

        def page(start: int, stop: int) -> list[Step]:
            scales = repeat(None) if unscaled else own[start:stop].unbind()
            ratios, states = rows[:, start:stop].tolist()
            fields = map(field, range(start, start + len(states)))
            return list(zip(fields, scales, ratios, factors[start:stop].unbind(), states))  # noqa: B905

        return _Stage(paged(page), noise)


def driven(coefficients: FieldCoefficients, time_grid: SpanTimes, name: str, kind: type[F]) -> F:
    """The SDE with these coefficients over the span of a time grid, without noise if eta is 0."""
    field, eta = coefficients.field, coefficients.eta
    return kind(
        FieldDrift(coefficients),
        FieldNoise(coefficients) if eta else None,
        time_grid.t_start,
        time_grid.t_end,
        time_grid=time_grid,
        name=f"{name} of {type(field.process).__name__}, eta {eta:g}",
        field=field,
        coefficients=coefficients,
        eta=eta,
    )
