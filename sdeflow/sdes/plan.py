r"""Work out the weights of a multistep sampler before its first call.

    x_{k+1} = state x_k + before x_{k-1} + sum_j units_j F_{k-j} + noise z,

F the unit row of the field at the start of a step (see `multistep`). `Plan.adams` has the weights
of exponential Adams-Bashforth steps with a corrector, `recipe` the orders to use; `calibrate` fits
weights to one field.

See docs/theory.md, (4.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import SpanTimes

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)

LITTLE_NOISE = 0.4
"""Up to here the corrector pays: in 16 dimensions it brings the error in law at 10 calls from 2.5
floors to 1. With more noise it doubles the error on a fine spiral, and at eta 1 it is unstable."""


class Recipe(NamedTuple):
    """How a run of K steps is made.

    Attributes:
        power: P of `angle_times`.
        order: values of F in the polynomial of a step.
        corrector: values of F in the polynomial of the corrector; 0: no corrector.
        widen: factor on `Spread.widest` in the time grid.
    """

    power: float
    order: int
    corrector: int
    widen: float = 1.0


SAFEST = Recipe(2.5, 2, 3, 2.0)
"""For the flow of a field that guidance pushes beyond both of its parts, from 7 steps on."""

FINE, COARSE = 0.05, 0.2
"""Of the finest structure of the data, in their standard deviations: below the one, the last steps
must be shorter; above the other, they may be longer. Chosen on problems of docs/benchmarks.md."""


def recipe(
    steps: int, eta: float = 0.0, guided: bool = False, finest: float | None = None
) -> Recipe:
    """The default recipe for this number of steps, chosen once for nine unlike problems.

    Args:
        steps: K.
        eta: noise.
        guided: whether the field is pushed beyond both of its parts; then `SAFEST`, from 7 steps.
        finest: width of the finest structure in the data's standard deviation, of an exact field.

    Raises:
        TypeError, ValueError: steps is not a positive whole number, or eta or finest is negative.
    """
    steps = check_int(steps, "steps")
    if check_positive(eta, "eta", zero=True):
        return Recipe(2.0, 2, 3 if eta <= LITTLE_NOISE else 0)
    if guided and steps > 6:
        return SAFEST
    power = 2.5 if steps < 10 else 3.0
    if finest is not None:
        check_positive(finest, "finest", zero=True)
        power += 1.0 if finest < FINE else -0.5 if finest > COARSE else 0.0
    if steps <= 6:
        return Recipe(power, 2 if finest is None else 3, 0)
    return Recipe(power, 2 if steps < 10 else 3 if steps < 20 else 4, 4)


class Plan(NamedTuple):
    """The weights of every step.

    Attributes:
        state: (K,), of the state at the start of the step.
        before: (K,), of the state one step before.
        units: (K, J), of F at the start of the step first; zero where there is no value yet.
        noise: (K,) standard deviation per coordinate.
    """

    state: np.ndarray
    before: np.ndarray
    units: np.ndarray
    noise: np.ndarray

    @staticmethod
    def adams(
        c: Coefficients[Tensor],
        std: float,
        eta: float,
        order: int,
        corrector: int,
        exact: bool = False,
    ) -> Plan:
        """Exponential Adams-Bashforth steps between the times of the coefficients c (K + 1,).

        exact: whether F is that of an exact field, which vanishes at infinite noise, so that the
        first steps, with too few values, know one more.
        """
        angle = torch.atan2(c.sigma, c.alpha * std).numpy()
        root = torch.sqrt((c.alpha * std) ** 2 + c.sigma**2).numpy()
        decay = np.cos(angle[:-1]) / np.cos(angle[1:])
        state = decay**eta**2 * root[1:] / root[:-1]
        units = np.zeros((len(state), max(order + 1, corrector) if corrector else order))
        units[:, :order] = root[1:, None] * _adams(angle, eta, order, 0, exact)
        if corrector:
            # The corrected state differs from the state by the difference of the two polynomials'
            # weights, and the step goes on from it.
            change = root[1:, None] * _adams(angle, eta, corrector, 1, exact)
            change = np.pad(change, ((0, 0), (0, units.shape[1] - corrector)))
            change[:, 1:] -= units[:, :-1]
            units[1:] += state[1:, None] * change[:-1]
        noise = root[1:] * np.sqrt(np.maximum(0.0, 1 - decay ** (2 * eta**2)))
        return Plan(state, np.zeros_like(state), units, noise)


NEAREST, FARTHEST = 0.05, 0.15
"""From pi / 2, of the first angle, where F(pi / 2) = 0 gives a slope: in first steps, and in
radians. Nearer, the step is so much longer than the base of the slope that rounding tells."""


def _adams(
    angle: np.ndarray, eta: float, count: int, ahead: int, exact: bool = False
) -> np.ndarray:
    """(K, count) weights of F in u at the end of each step, by Gauss's rule in the angle.

    F goes through its values at the last `count` angles, up to the start of the step (ahead = 0)
    or its end (ahead = 1); where there are fewer, through F(pi / 2) = 0 if the field is exact.
    """
    beyond = np.pi / 2 - angle[0]
    vanishes = exact and NEAREST * (angle[0] - angle[1]) < beyond < FARTHEST
    a, b = angle[:-1, None], angle[1:, None]
    nodes = (a + b) / 2 + (a - b) / 2 * NODES
    kernel = (1 + eta**2) * (np.cos(nodes) / np.cos(b)) ** eta**2 * WEIGHTS * (a - b) / 2
    out = np.zeros((len(a), count))
    for known in range(1, count + 1):  # the first steps know fewer values
        first = known - 1 - ahead
        steps = np.arange(first, len(a) if known == count else first + 1)
        steps = steps[(steps >= 0) & (steps < len(a))]
        near = angle[steps[:, None] + ahead - np.arange(known)]
        if vanishes and known < count:
            near = np.pad(near, ((0, 0), (0, 1)), constant_values=np.pi / 2)
        polynomials = _lagrange(nodes[steps], near)[:, :known]
        out[steps, :known] = (polynomials * kernel[steps][:, None, :]).sum(2)
    return out


def _lagrange(x: np.ndarray, near: np.ndarray) -> np.ndarray:
    """At x (K, Q): the polynomials that are 1 at one of the points near (K, J), 0 at the others.

    (K, J, Q).
    """
    one, other = near[:, :, None], near[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = (x[:, None, None, :] - other[..., None]) / (one - other)[..., None]
    own = np.eye(near.shape[1], dtype=bool)
    factors[:, own] = 1.0
    return factors.prod(2)


DEFAULT, SAFE = "default recipe", "safe recipe"
"""Names of the two recipes among the plans that compete."""


class FittedPlan(NamedTuple):
    """Steps that `calibrate` has fitted to a field.

    Attributes:
        times: (K + 1,) for which they are.
        plan: their weights.
        name: of the plan that was chosen.
        errors: name -> RMS distance to the flow's end without the worst 1 %, per coordinate
            (length), of the two recipes and the best fitted plan, on particles that played no part
            in fit or choice.
        pilot_errors: the same on the pilot, of all plans that competed.
        evaluations: of the field, by particle, that the calibration has cost.
        points, answers: (n, d) and (2, n, d), the field's predictions by which it is recognised.
    """

    times: Tensor
    plan: Plan
    name: str
    errors: dict[str, float]
    pilot_errors: dict[str, float]
    evaluations: int
    points: Tensor
    answers: Tensor

    @property
    def error(self) -> float:
        """That of the plan that was chosen, in `errors`."""
        return self.errors[self.name]

    @property
    def default_error(self) -> float:
        """That of the default recipe, in `errors`."""
        return self.errors[DEFAULT]

    def __repr__(self) -> str:
        """In words."""
        others = ", ".join(
            f"{e:.3g} by {name}" for name, e in self.errors.items() if name != self.name
        )
        return f"{len(self.times) - 1} steps, {self.name}: error {self.error:.3g} ({others})"

    def plain(self) -> dict:
        """As JSON can hold it."""
        plan = {k: v.tolist() for k, v in self.plan._asdict().items()}
        found = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in self._asdict().items()}
        return {**found, "plan": plan}

    @staticmethod
    def from_plain(found: dict) -> FittedPlan:
        """What `plain` has made."""
        plan = Plan(**{k: np.array(v, dtype=np.float64) for k, v in found["plan"].items()})
        rows = ("times", "points", "answers")
        tensors = {k: torch.tensor(found[k], dtype=torch.float64) for k in rows}
        return FittedPlan(**{**found, **tensors, "plan": plan})

    def on(self, times: Tensor) -> Plan:
        """The weights, if these are their times."""
        if times.shape != self.times.shape or not torch.allclose(times, self.times, rtol=1e-9):
            raise ValueError(
                f"this sampler is calibrated for its own {len(self.times) - 1} steps; use "
                f"steps={len(self.times) - 1} without times=, or calibrate again"
            )
        return self.plan


@dataclass(frozen=True, eq=False)
class FittedTimes(SpanTimes):
    """The times of a fitted plan.

    Raises:
        ValueError: the span is not theirs, or (when called) there are not so many steps.
    """

    fitted: FittedPlan

    def __post_init__(self) -> None:
        """Check the span."""
        ends = self.fitted.times[[0, -1]].tolist()
        if not np.allclose(ends, (self.t_start, self.t_end), rtol=1e-9, atol=0.0):
            raise ValueError(
                f"these steps were fitted from t = {ends[0]:g} to {ends[1]:g}, but the sampler "
                f"runs from {self.t_start:g} to {self.t_end:g}; calibrate again"
            )

    def __call__(self, steps: int) -> Tensor:
        """See `SpanTimes`."""
        if steps != len(self.fitted.times) - 1:
            self.fitted.on(torch.empty(0))
        return self.fitted.times.clone()


def aligned(values: np.ndarray, count: int) -> np.ndarray:
    """(K, count): the values (K,) at each step, at the step before, ...; zero before the first."""
    at = np.arange(len(values))[:, None] - np.arange(count)
    return np.where(at >= 0, values[np.maximum(at, 0)], 0.0)
