r"""Sample in few calls of the network: the reverse SDE in steps that are exact for Gaussian data.

With s the standard deviation of the data (centred), tan theta = sigma / (alpha s), V = alpha^2 s^2 +
sigma^2 and u = x / sqrt(V), the reverse SDE of noise eta from angle a to b < a is

    u_b = c^(eta^2) u_a + (1 + eta^2) cos(b)^(-eta^2) int_b^a cos(theta)^(eta^2) F d theta
          + sqrt(1 - c^(2 eta^2)) z,    c = cos a / cos b,

where F is the unit row of the field (`unit_row`), which is zero for Gaussian data. F is continued by
the polynomial in theta through its last values, as Adams and Bashforth do. A corrector repeats the
last step, at no call, once F is known at its end. All weights are known before the first call.

See docs/theory.md, (4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import mixing, unit_row
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import angle_times
from sdeflow.sdes.field_sde import FieldSDE, _SteppedFieldSDE
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.sde import Scale, SteppedSDE

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


class Spread(NamedTuple):
    """What the steps need to know of the data.

    Attributes:
        mean: (d,), or None for centred data.
        std: s, root mean square deviation per coordinate; it sets the frame.
        widest: standard deviation along the first principal axis, at least s; it sets the times.
    """

    mean: Tensor | None
    std: float
    widest: float


class Recipe(NamedTuple):
    """How a run of K steps is made.

    Attributes:
        power: P of `angle_times`.
        order: values of F in the polynomial of a step.
        corrector: values of F in the polynomial of the corrector; 0: no corrector.
    """

    power: float
    order: int
    corrector: int


def recipe(steps: int, eta: float = 0.0) -> Recipe:
    """The default recipe for this number of steps, chosen once for nine unlike problems."""
    if eta:
        return Recipe(2.0, 2, 0)
    if steps < 10:
        return Recipe(2.5, 2, 3 if steps > 6 else 0)
    return Recipe(3.0, 3 if steps < 20 else 4, 4)


def spread_of(field: Field) -> Spread:
    """The spread of the data of a field, as far as it knows it: by default centred, with s = 1."""
    if isinstance(field, GuidedField):
        return spread_of(field.conditional)
    if isinstance(field, ExactField):
        data = field.distribution
        return Spread(data.mean(), data.std(), data.widest())
    if isinstance(field, LearnedField) and field.data_std is not None:
        return Spread(field.data_mean, field.data_std, field.data_std)
    return Spread(None, 1.0, 1.0)


def multistep(
    field: Field,
    eta: float = 0.0,
    order: int | None = None,
    corrector: int | None = None,
    spread: Spread | None = None,
) -> MultistepSDE:
    r"""The reverse SDE in multistep form, the sampler to use for few calls of the network.

    Only the method `euler` can run it; each of its steps is a whole step of the sampler and costs
    one call. Gaussian data N(mean, s^2) are sampled exactly in any number of steps.

    Args:
        field: gives x0_hat and eps_hat.
        eta: noise; 0 for the probability flow (`ODESolver`), above for `SDESolver`.
        order, corrector: numbers of values of F in the polynomials of the step, 1 to 4, and of the
            corrector, 0 (none) to 5; by default those of `recipe`.
        spread: of the data; by default what the field knows of them. A `widest` that is too large
            by 2 costs little, one that is too small a lot.

    Raises:
        TypeError: field is not a `Field`.
        ValueError: eta is negative, or order, corrector or spread is out of range.

    Source: Salimans and Ho 2022 for the frame at eta = 0; Lu et al. 2022 and Zhao et al. 2023 for
    multistep samplers and correctors in other frames.
    """
    sde = reverse(field, eta)
    found = spread_of(field) if spread is None else spread
    check_positive(found.std, "spread.std")
    check_positive(found.widest, "spread.widest")
    for name, value, least, most in (("order", order, 1, 4), ("corrector", corrector, 0, 5)):
        if value is not None and check_int(value, name, least) > most:
            raise ValueError(f"{name} must be at most {most}, got {value}")
    return MultistepSDE(
        sde.drift,
        sde.diffusion,
        sde.t_start,
        sde.t_end,
        time_grid=partial(_times, field.process, found.widest, sde.eta),
        name=f"multistep sampling of {type(field.process).__name__}, eta {eta:g}",
        field=field,
        coefficients=sde.coefficients,
        eta=sde.eta,
        order=order,
        corrector=corrector,
        spread=found,
    )


def _times(process: object, widest: float, eta: float, steps: int) -> Tensor:
    return angle_times(process, steps, widest, recipe(steps, eta).power)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MultistepSDE(FieldSDE):
    """The SDE that `multistep` makes: `reverse`, with the steps given there."""

    order: int | None
    corrector: int | None
    spread: Spread

    whole_step: ClassVar[bool] = True

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """See `SDE`."""
        if not self.as_made:
            raise ValueError(
                "the steps of multistep sampling come from its field, not from a drift of your "
                "own; replace the drift of reverse(field) instead"
            )
        return _SteppedMultistepSDE(self, times, like)

    def plan(self, times: Tensor) -> Plan:
        """The weights of every step on the times (K + 1,)."""
        usual = recipe(len(times) - 1, self.eta)
        order = usual.order if self.order is None else self.order
        corrector = usual.corrector if self.corrector is None else self.corrector
        c = self.field.process(times)
        return Plan.adams(c, self.spread.std, self.eta, order, corrector)


class Weights(NamedTuple):
    """of x, and of F at the points of the polynomial, the newest first."""

    state: float
    units: list[float]


class Plan(NamedTuple):
    """The weights of every step, known before the first call.

    Attributes:
        predict: x_{k+1} = state x_k + sum_j units_j F_{k-j} + noise z, for each step.
        correct: the same for x_k again, from x_{k-1} and F_k, F_{k-1}, ...; empty: no corrector.
        noise: for each step.
    """

    predict: list[Weights]
    correct: list[Weights]
    noise: list[float]

    @staticmethod
    def adams(c: Coefficients[Tensor], std: float, eta: float, order: int, corrector: int) -> Plan:
        """Exponential Adams-Bashforth steps between the times of the coefficients c (K + 1,)."""
        angle = torch.atan2(c.sigma, c.alpha * std).numpy()
        root = torch.sqrt((c.alpha * std) ** 2 + c.sigma**2).numpy()
        predict, correct, noise = [], [], []
        for k in range(len(angle) - 1):
            near = angle[max(0, k + 1 - order) : k + 1][::-1]
            predict.append(_weights(angle[k], angle[k + 1], near, root[k], root[k + 1], eta))
            if corrector:
                near = angle[max(0, k + 2 - corrector) : k + 2][::-1]
                correct.append(_weights(angle[k], angle[k + 1], near, root[k], root[k + 1], eta))
            decay = np.cos(angle[k]) / np.cos(angle[k + 1])
            noise.append(float(root[k + 1] * np.sqrt(max(0.0, 1 - decay ** (2 * eta**2)))))
        return Plan(predict, correct, noise)


def _weights(
    a: float, b: float, near: np.ndarray, start: float, end: float, eta: float
) -> Weights:
    """Of the step from angle a to b, with F through the angles `near`; sqrt(V) at both ends."""
    nodes, half = (a + b) / 2 + (a - b) / 2 * NODES, (a - b) / 2
    kernel = (1 + eta**2) * (np.cos(nodes) / np.cos(b)) ** eta**2 * WEIGHTS * half * end
    decay = (np.cos(a) / np.cos(b)) ** eta**2
    return Weights(float(decay * end / start), (_lagrange(nodes, near) @ kernel).tolist())


def _lagrange(x: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The polynomials (J, Q) that are 1 at one of the points `near` (J,) and 0 at the others."""
    out = np.ones((len(near), len(x)))
    for j, one in enumerate(near):
        for other in np.delete(near, j):
            out[j] *= (x - other) / (one - other)
    return out


class _SteppedMultistepSDE(_SteppedFieldSDE):
    """The steps of one run, with the memory of its last values of F and its last corrected state.

    The memory holds F / v, F = u x + v field(x), wherever u / v is a safe factor: one pass over the
    cloud. The weights then contain v.
    """

    sde: MultistepSDE

    def __init__(self, sde: MultistepSDE, times: Tensor, like: Tensor) -> None:
        super().__init__(sde, times, like)
        c, field, spread = sde.field.process(times), sde.field, sde.spread
        start = Coefficients(*(v[:-1] for v in c))
        unit = unit_row(start, spread.std)
        u, v = mixing(field.row(start), start, unit)
        one = torch.ones_like(start.alpha)
        self._mix = list(zip((u / v * one).tolist(), (v * one).tolist(), strict=True))
        self._plan, self._table = sde.plan(times), field.table(times[:-1], start, like)
        self._factors = self._scaled(self._plan.predict, 0)
        self._corrected = self._scaled(self._plan.correct, 1)
        self._shifts = self._centres(c, unit[0])
        self._k, self._units, self._base, self._mean = -1, list[Tensor](), like, like

    def _scaled(self, rows: list[Weights], ahead: int) -> list[tuple[float, Tensor, list[float]]]:
        """Of each step: the weight of x, and those of the memory, the newest as a tensor ()."""
        out = []
        for k, (state, units) in enumerate(rows):
            sizes = [self._size(k + ahead - j) for j in range(len(units))]
            first, *rest = (w * size for w, size in zip(units, sizes, strict=True))
            out.append((state, torch.tensor(first).to(self.like), rest))
        return out

    def _size(self, k: int) -> float:
        """F at step k in units of what the memory holds of it."""
        if k == len(self._mix):  # the end of the last step is never corrected
            return 0.0
        ratio, v = self._mix[k]
        return v if abs(ratio) < 1e3 else 1.0

    def _centres(self, c: Coefficients[Tensor], unit: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What data of this mean add to every step, and to every corrected one, (d,)."""
        if self.sde.spread.mean is None or not bool(self.sde.spread.mean.any()):
            return []
        mean = self.sde.spread.mean.double().cpu()
        unit = torch.cat([unit, unit.new_zeros(1)]).tolist()
        alpha, out = c.alpha.tolist(), []
        for k, row in enumerate(self._plan.predict):
            pair = []
            for (state, units), last in ((row, k), (self._plan.correct[k], k + 1)) if (
                self._plan.correct
            ) else ((row, k),):
                pulled = sum(w * unit[last - j] for j, w in enumerate(units))
                pair.append(mean * (alpha[k + 1] - state * alpha[k] - pulled))
            out.append(tuple(v.to(self.like) for v in (pair[0], pair[-1])))
        return out

    def drift(self, k: int, fraction: float, x: Tensor) -> Tensor:
        """x_{k+1} - x_k without its noise."""
        memory = self._remember(k, fraction, x)
        state, factor, rest = self._factors[k]
        out = memory[0] * factor
        for w, past in zip(rest, memory[1:]):  # noqa: B905
            out.add_(past, alpha=w)
        if self._shifts:
            out.add_(self._shifts[k][0])
        if not self._corrected:
            return out.add_(x, alpha=state - 1.0)
        self._base = self._again(k, x) if k else x
        self._mean = out.add_(self._base, alpha=state)
        return out - x

    def _remember(self, k: int, fraction: float, x: Tensor) -> list[Tensor]:
        """The last values of F, the newest first, in the units of `_size`."""
        if fraction != 0.0:
            raise ValueError("multistep sampling takes whole steps; use the method 'euler' with it")
        out, (ratio, v) = self._table(k)(x), self._mix[k]
        if abs(ratio) < 1e3:
            new = out if ratio == 0.0 else torch.add(out, x, alpha=ratio)
        else:
            new = torch.add(out * v, x, alpha=ratio * v)
        if k == 0:
            self._units.clear()
        elif k == self._k:  # the same step again
            self._units.pop(0)
        elif k != self._k + 1:
            raise ValueError("multistep sampling remembers its last steps: take them in order")
        self._k = k
        self._units.insert(0, new)
        del self._units[self._kept :]
        return self._units

    @property
    def _kept(self) -> int:
        return max(len(w.units) for w in (*self._plan.predict, *self._plan.correct))

    def _again(self, k: int, x: Tensor) -> Tensor:
        """The state at the start of step k, by the corrector; it keeps the noise of its step."""
        state, factor, rest = self._corrected[k - 1]
        out = self._units[0] * factor
        for w, past in zip(rest, self._units[1:]):  # noqa: B905
            out.add_(past, alpha=w)
        out.add_(self._base, alpha=state)
        if self._shifts:
            out.add_(self._shifts[k - 1][1])
        return out.add_(x - self._mean) if self.sde.eta else out

    def noise_scales(self) -> Tensor | None:
        noise = torch.tensor(self._plan.noise, dtype=torch.float64)
        return noise if bool(noise.any()) else None

    def diffusion(self, k: int, fraction: float, x: Tensor) -> Scale:
        return self._plan.noise[k] or None
