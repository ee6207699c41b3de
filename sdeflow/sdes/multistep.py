r"""Sample in few calls of the network: the reverse SDE in steps that are exact for Gaussian data.

With s the standard deviation of the data (centred), tan theta = sigma / (alpha s), V = alpha^2 s^2
+ sigma^2 and u = x / sqrt(V), the reverse SDE of noise eta from angle a to b < a is

    u_b = c^(eta^2) u_a + (1 + eta^2) cos(b)^(-eta^2) int_b^a cos(theta)^(eta^2) F d theta
          + sqrt(1 - c^(2 eta^2)) z,    c = cos a / cos b,

where F is the unit row of the field (`unit_row`), which is zero for Gaussian data. F is continued
by the polynomial in theta through its last values, as Adams and Bashforth do. A corrector repeats
the last step, at no call, once F is known at its end. All weights are known before the first call.

See docs/theory.md, (4.8).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from itertools import repeat
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._blocks import Evaluate, paged
from sdeflow._validation import check_int, check_kind, check_positive
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.loss_guided import LossGuidedField
from sdeflow.fields.prediction import mixing, unit_row
from sdeflow.processes.process import Coefficients, Process
from sdeflow.processes.time_grids import AngleTimes, SpanTimes
from sdeflow.sdes.field_sde import FieldSDE, _SteppedFieldSDE, driven
from sdeflow.sdes.generative import ReverseCoefficients, checked
from sdeflow.sdes.plan import FittedPlan, Plan, aligned, recipe
from sdeflow.sdes.sde import Scale, SteppedSDE


class Spread(NamedTuple):
    """The mean of the data and their widths (length), from which the steps are computed.

    Attributes:
        mean: (d,), or None for centred data.
        std: s, root mean square deviation per coordinate; the angle theta depends on it.
        widest: standard deviation along the first principal axis, at least s; it sets the times.
        narrowest: width of the finest structure, 0 for points; None for a learned field. If it is
            given, the steps use that F vanishes at infinite noise, which no network guarantees.
    """

    mean: Tensor | None
    std: float
    widest: float
    narrowest: float | None = None

    def __repr__(self) -> str:
        finest = "unknown" if self.narrowest is None else f"{self.narrowest:.4g}"
        return f"data of std {self.std:.4g}, widest {self.widest:.4g}, narrowest {finest}"

    @property
    def finest(self) -> float | None:
        """The width of the finest structure, narrowest / std; None if it is not known."""
        return None if self.narrowest is None else self.narrowest / self.std


MOST = 3.0
"""The largest eta: above it 16 nodes do not integrate cos(theta)^(eta^2) over a long step."""


class Moments(NamedTuple):
    """Mean (d,), or None for centred data, and standard deviation per coordinate."""

    mean: Tensor | None
    std: float


CENTRED = Spread(None, 1.0, 1.0)


def known_spread(field: Field) -> Moments | None:
    """Mean (d,) and standard deviation of the data of a field; None if they are not known."""
    if isinstance(field, GuidedField):
        return known_spread(field.conditional)
    if isinstance(field, LossGuidedField):
        return known_spread(field.field)
    if isinstance(field, ExactField):
        return Moments(field.distribution.mean(), field.distribution.std())
    if isinstance(field, LearnedField) and field.data_std is not None:
        return Moments(field.data_mean, field.data_std)
    return None


def spread_of(field: Field) -> Spread:
    """The spread of the data of a field; where it is not known, centred data with s = 1."""
    known = known_spread(field)
    if known is None:
        return CENTRED
    guided = isinstance(field, GuidedField | LossGuidedField)
    while isinstance(field, GuidedField | LossGuidedField):
        field = field.conditional if isinstance(field, GuidedField) else field.field
    if not isinstance(field, ExactField):
        return Spread(known.mean, known.std, known.std)
    data = field.distribution
    return Spread(known.mean, known.std, data.widest(), None if guided else data.narrowest())


def multistep(
    field: Field,
    eta: float = 0.0,
    order: int | None = None,
    corrector: int | None = None,
    spread: Spread | None = None,
) -> MultistepSDE:
    r"""The reverse SDE in multistep form, the sampler to use for few calls of the network.

    Solve it with the method `euler`: each of its steps is a whole step of the sampler and costs
    one call. A step uses values of F of earlier steps, so the parts of a run that is cut begin
    with order 1. Gaussian data N(mean, s^2) are sampled exactly in any number of steps.

    No recipe is safe for a `GuidedField` of scale above 1. Its flow gets the safest recipe,
    `recipe(steps, guided=True)`, and a run warns; `calibrate` tries the steps on this field.

    Args:
        field: gives x0_hat and eps_hat.
        eta: size of the noise, at most 3; 0 is the probability flow and needs `ODESolver`, other
            values need `SDESolver`.
        order, corrector: numbers of values of F in the polynomials of the step, 1 to 4, and of the
            corrector, 0 (none) to 5; by default those of `recipe`.
        spread: of the data; by default that of the field's data, where it is known. A `widest`
            that is twice too large costs little accuracy, one that is too small costs much.

    Source: Salimans and Ho 2022 for the angle at eta = 0; Lu et al. 2022 for multistep samplers in
    other coordinates, Zhao et al. 2023 for such correctors.
    """
    process, eta = checked(field, eta)
    if eta > MOST:
        raise ValueError(f"eta must be at most {MOST:g} in multistep sampling, got {eta:g}")
    found = spread_of(field) if spread is None else check_kind(spread, Spread, "spread")
    check_positive(found.std, "spread.std")
    check_positive(found.widest, "spread.widest")
    if found.narrowest is not None:
        check_positive(found.narrowest, "spread.narrowest", zero=True)
    for name, value, least, most in (("order", order, 1, 4), ("corrector", corrector, 0, 5)):
        if value is not None and check_int(value, name, least) > most:
            raise ValueError(f"{name} must be at most {most}, got {value}")
    grid = RecipeTimes(process.t_max, process.t_min, process, found, eta, _pushed(field))
    sde = driven(ReverseCoefficients(field, eta), grid, "multistep sampling", MultistepSDE)
    return replace(sde, order=order, corrector=corrector, spread=found)


@dataclass(frozen=True)
class RecipeTimes(SpanTimes):
    """The times of the default `recipe`."""

    process: Process
    spread: Spread
    eta: float
    guided: bool = False

    def __call__(self, steps: int) -> Tensor:
        usual = recipe(check_int(steps, "steps"), self.eta, self.guided, self.spread.finest)
        widest = usual.widen * self.spread.widest
        return AngleTimes(self.t_start, self.t_end, self.process, widest, usual.power)(steps)


def _pushed(field: Field) -> bool:
    """Whether guidance extrapolates beyond both parts of the field: scale above 1 or below 0."""
    return isinstance(field, GuidedField) and not 0 <= field.scale <= 1


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MultistepSDE(FieldSDE):
    """The SDE that `multistep` makes: `reverse`, solved in the steps given there."""

    order: int | None = None
    corrector: int | None = None
    spread: Spread = CENTRED
    fitted: FittedPlan | None = None

    whole_step: ClassVar[bool] = True
    remembers: ClassVar[bool] = True

    def __repr__(self) -> str:
        return super().__repr__() + (f"; {self.fitted}" if self.fitted is not None else "")

    @property
    def untried(self) -> bool:
        """Whether the steps of a guided flow come from a recipe, not tried on this field."""
        chosen = (self.fitted, self.order, self.corrector) != (None, None, None)
        return not chosen and not self.eta and _pushed(self.field)

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        if not self.as_made:
            raise ValueError(
                "the steps of multistep sampling come from its field, not from a drift of your "
                "own; replace the drift of reverse(field) instead"
            )
        return _SteppedMultistepSDE(self, times, like)

    def plan(self, times: Tensor) -> Plan:
        """The weights of every step on the times (K + 1,).

        Raises:
            ValueError: the steps were fitted to other times.
        """
        if self.fitted is not None:
            return self.fitted.on(times)
        usual = recipe(len(times) - 1, self.eta, _pushed(self.field), self.spread.finest)
        order = usual.order if self.order is None else self.order
        corrector = usual.corrector if self.corrector is None else self.corrector
        c = self.field.process(times)
        exact = self.spread.narrowest is not None and not self.eta
        return Plan.adams(c, self.spread.std, self.eta, order, corrector, exact)


Step = tuple[Evaluate, float, float, float, Tensor, tuple[float, ...]]
"""The field, u / v, v, state - 1, and the weights of F / v: the newest, and the others."""


class _SteppedMultistepSDE(_SteppedFieldSDE):
    """The steps of one run, which keep its last values of F.

    Kept is F / v, with F = u x + v field(x), where u / v is a safe factor: it costs one pass over
    the cloud. The weights then contain v.
    """

    sde: MultistepSDE

    def __init__(self, sde: MultistepSDE, times: Tensor, like: Tensor) -> None:
        super().__init__(sde, times, like)
        c, field = sde.field.process(times), sde.field
        start = Coefficients(*(v[:-1] for v in c))
        unit, self._plan = unit_row(start, sde.spread.std), sde.plan(times)
        u, v = (np.asarray(w + 0 * start.alpha) for w in mixing(field.row(start), start, unit))
        safe = np.abs(u) < 1e3 * np.abs(v)
        scale = np.where(safe, v, 1.0)
        units = aligned(scale, self._plan.units.shape[1]) * self._plan.units
        newest = torch.as_tensor(units[:, 0]).to(like)
        numbers = u / scale, v / scale, self._plan.state - 1.0
        self._numbers, self._newest = np.stack([*numbers, *units.T[1:]]), newest
        self._table, self._step = field.table(times[:-1], start, like), paged(self._page)
        self._shift = self._centred(c, np.asarray(unit[0]))
        self._before = self._plan.before.tolist() if self._plan.before.any() else []
        self._rare = bool(self._shift or self._before)
        self._next, self._last, self._memory = 0, like, deque[Tensor](maxlen=units.shape[1] - 1)

    def _page(self, start: int, stop: int) -> list[Step]:
        newest = self._newest[start:stop].unbind()
        ratio, factor, state, *others = self._numbers[:, start:stop].tolist()
        fields = map(self._table, range(start, start + len(newest)))
        weights = zip(*others, strict=True) if others else repeat(())
        return list(zip(fields, ratio, factor, state, newest, weights))  # noqa: B905

    def _centred(self, c: Coefficients[Tensor], unit: np.ndarray) -> list[Tensor]:
        """The term that the mean of the data adds to each step, (d,): x - alpha mean and
        F - unit mean are those of centred data."""
        mean, (state, before, units, _) = self.sde.spread.mean, self._plan
        if mean is None or not bool(mean.any()):
            return []
        pulled = (aligned(unit, units.shape[1]) * units).sum(1)
        alpha = c.alpha.numpy()
        past = before * np.concatenate([[0.0], alpha[:-2]])
        size = torch.as_tensor(alpha[1:] - state * alpha[:-1] - past - pulled)
        return list((size[:, None] * mean.double().cpu()).to(self.like).unbind())

    def drift(self, k: int, fraction: float, x: Tensor) -> Tensor:
        """x_{k+1} - x_k without its noise."""
        if k != self._next or fraction != 0.0:
            self._rewind(k, fraction)
        self._next = k + 1
        field, ratio, factor, state, newest, others = self._step(k)
        out = field(x)
        if ratio:
            out = torch.add(out if factor == 1.0 else out * factor, x, alpha=ratio)
        step = (out * newest).add_(x, alpha=state)
        memory = self._memory
        for weight, before in zip(others, memory):  # noqa: B905
            step.add_(before, alpha=weight)
        memory.appendleft(out)
        return step if not self._rare else self._with_rare(step, k, x)

    def _with_rare(self, step: Tensor, k: int, x: Tensor) -> Tensor:
        """The step with the terms of data that are not centred and of fitted steps."""
        if self._shift:
            step.add_(self._shift[k])
        if self._before:
            step.add_(self._last, alpha=self._before[k])
            self._last = x
        return step

    def _rewind(self, k: int, fraction: float) -> None:
        """Clear the kept values of F at the first step of a run."""
        if fraction != 0.0:
            raise ValueError(
                "multistep sampling takes whole steps; use the method 'euler' with it"
            )
        if k:
            raise ValueError("multistep sampling remembers its last steps: take them in order")
        self._memory.clear()

    def noise_scales(self) -> Tensor | None:
        noise = torch.as_tensor(self._plan.noise)
        return noise if bool(noise.any()) else None

    def diffusion(self, k: int, fraction: float, x: Tensor) -> Scale:
        return float(self._plan.noise[k]) or None
