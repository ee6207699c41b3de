r"""Compute the weights of a multistep sampler before its first call.

    x_{k+1} = state x_k + before x_{k-1} + sum_j units_j F_{k-j} + noise z,

with F the unit row of the field at the start of a step (see `multistep`). `Plan.adams` gives the
weights of exponential Adams-Bashforth steps with a corrector, `recipe` the orders to use;
`calibrate` fits weights to one field.

See docs/theory.md, (4.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive
from sdeflow.processes.process import Coefficients
from sdeflow.processes.time_grids import SpanTimes

RULES = {fine: np.polynomial.legendre.leggauss(16 if fine else 3) for fine in (True, False)}
"""Gauss's rules. That of 3 nodes is exact at eta = 0, where a polynomial of degree 4 at most is
integrated; its products with cos(theta)^(eta^2) need the fine one."""

LITTLE_NOISE = 0.4
"""The largest eta at which a corrector is used. In 16 dimensions it lowers the W2 distance to the
data at 10 calls from 2.5 sampling floors to 1. With more noise it doubles the error on a fine
spiral, and at eta 1 it is unstable."""


class Recipe(NamedTuple):
    """The time grid and the polynomials of a multistep run of K steps.

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
"""The recipe from 7 steps on for a guided flow of scale above 1 or below 0."""

FINE, COARSE = 0.05, 0.2
"""Bounds on the width of the finest structure, in units of the data's standard deviation: below
FINE the last steps must be shorter, above COARSE they may be longer. They were chosen on the
problems of docs/benchmarks.md."""


def recipe(
    steps: int, eta: float = 0.0, guided: bool = False, finest: float | None = None
) -> Recipe:
    """The default recipe for K steps, chosen once on nine different problems.

    Args:
        steps: K.
        eta: size of the noise, as in `reverse`.
        guided: whether the field is guided with a scale above 1 or below 0.
        finest: for an exact field, the width of the finest structure of its data, in units of
            their standard deviation.
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
    """The weights of every step, as in the module's equation.

    Attributes:
        state: (K,) weight of the state at the start of the step.
        before: (K,) weight of the state one step before.
        units: (K, J) weights of F, newest first; zero where there is no value yet.
        noise: (K,) standard deviation of the noise per coordinate.
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

        exact: whether F belongs to an exact field. It then vanishes at infinite noise, which gives
        the first steps one more value of F.
        """
        angle = torch.atan2(c.sigma, c.alpha * std).numpy()
        root = torch.sqrt((c.alpha * std) ** 2 + c.sigma**2).numpy()
        decay = np.cos(angle[:-1]) / np.cos(angle[1:])
        state = decay**eta**2 * root[1:] / root[:-1]
        units = np.zeros((len(state), max(order + 1, corrector) if corrector else order))
        units[:, :order] = root[1:, None] * _adams(angle, eta, order, 0, exact)
        if corrector:
            # Corrected and predicted state differ by the difference of the weights of the two
            # polynomials; the next step starts from the corrected one.
            change = root[1:, None] * _adams(angle, eta, corrector, 1, exact)
            change = np.pad(change, ((0, 0), (0, units.shape[1] - corrector)))
            change[:, 1:] -= units[:, :-1]
            units[1:] += state[1:, None] * change[:-1]
        noise = root[1:] * np.sqrt(np.maximum(0.0, 1 - decay ** (2 * eta**2)))
        return Plan(state, np.zeros_like(state), units, noise)


NEAREST, FARTHEST = 0.05, 0.15
"""The value F(pi / 2) = 0 is used if the first angle lies more than NEAREST first steps and less
than FARTHEST radians below pi / 2. Nearer, extrapolation would amplify rounding errors."""


def _adams(
    angle: np.ndarray, eta: float, count: int, ahead: int, exact: bool = False
) -> np.ndarray:
    """The weights of F in u at the end of each step, (K, count), by Gauss's rule in the angle.

    F is the polynomial through its values at the last `count` angles, up to the start of the step
    (ahead = 0) or its end (ahead = 1), and through F(pi / 2) = 0 where there are fewer values and
    the field is exact.
    """
    beyond = np.pi / 2 - angle[0]
    vanishes = exact and NEAREST * (angle[0] - angle[1]) < beyond < FARTHEST
    a, b = angle[:-1], angle[1:]
    places, weights = (v[:, None] for v in RULES[eta > 0])
    # Steps are the last axis, along which numpy is fast.
    nodes = (a + b) / 2 + (a - b) / 2 * places
    kernel = (1 + eta**2) * (np.cos(nodes) / np.cos(b)) ** eta**2 * weights * (a - b) / 2
    out = np.zeros((count, len(a)))
    for known in range(1, count + 1):  # the first steps have fewer values
        first = known - 1 - ahead
        steps = np.arange(first, len(a) if known == count else first + 1)
        steps = steps[(steps >= 0) & (steps < len(a))]
        near = angle[steps + ahead - np.arange(known)[:, None]]
        if vanishes and known < count:
            near = np.pad(near, ((0, 1), (0, 0)), constant_values=np.pi / 2)
        polynomials = _lagrange(nodes[:, steps], near)[:known]
        out[:known, steps] = (polynomials * kernel[:, steps]).sum(1)
    return out.T


def _lagrange(x: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Lagrange's polynomials of the points near (J, K) at x (Q, K), (J, Q, K)."""
    out = np.ones((len(near), *x.shape))
    for (i, one), (_, other) in permutations(enumerate(near), 2):
        out[i] *= (x - other) / (one - other)
    return out


DEFAULT, SAFE = "default recipe", "safe recipe"
"""Names of the two recipes among the plans that `calibrate` compares."""


class FittedPlan(NamedTuple):
    """The steps that `calibrate` has chosen for a field, and their errors.

    Attributes:
        times: (K + 1,) times of the steps.
        plan: weights of the steps.
        name: name of the chosen plan.
        errors: name -> RMS distance per coordinate (length) to the end of the flow, without the
            worst 1 % of particles, of the two recipes and the best fitted plan. The particles
            were used neither for the fit nor for the choice.
        pilot_errors: the same on the pilot cloud, of all plans that were tried.
        evaluations: evaluations of the field that the calibration has cost, summed over particles.
        points, answers: (n, d) and (2, n, d), predictions of the field, by which it is recognised.
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
        """The error of the chosen plan."""
        return self.errors[self.name]

    def __repr__(self) -> str:
        others = ", ".join(
            f"{e:.3g} by {name}" for name, e in self.errors.items() if name != self.name
        )
        return f"{len(self.times) - 1} steps, {self.name}: error {self.error:.3g} ({others})"

    def plain(self) -> dict:
        """The plan in numbers, texts and lists, as JSON can hold it."""
        plan = {k: v.tolist() for k, v in self.plan._asdict().items()}
        found = {k: v.tolist() if isinstance(v, Tensor) else v for k, v in self._asdict().items()}
        return {**found, "plan": plan}

    @staticmethod
    def from_plain(found: dict) -> FittedPlan:
        """The plan that `plain` has written."""
        plan = Plan(**{k: np.array(v, dtype=np.float64) for k, v in found["plan"].items()})
        rows = ("times", "points", "answers")
        tensors = {k: torch.tensor(found[k], dtype=torch.float64) for k in rows}
        return FittedPlan(**{**found, **tensors, "plan": plan})

    def on(self, times: Tensor) -> Plan:
        """The weights, if they were fitted for these times."""
        if times.shape != self.times.shape or not torch.allclose(times, self.times, rtol=1e-9):
            raise ValueError(
                f"this sampler is calibrated for {len(self.times) - 1} steps at times of its own; "
                f"use steps={len(self.times) - 1} without times=, or calibrate again"
            )
        return self.plan


@dataclass(frozen=True, eq=False)
class FittedTimes(SpanTimes):
    """The time grid of a fitted plan."""

    fitted: FittedPlan

    def __post_init__(self) -> None:
        ends = self.fitted.times[[0, -1]].tolist()
        if not np.allclose(ends, (self.t_start, self.t_end), rtol=1e-9, atol=0.0):
            raise ValueError(
                f"these steps were fitted from t = {ends[0]:g} to {ends[1]:g}, but the sampler "
                f"runs from {self.t_start:g} to {self.t_end:g}; calibrate again"
            )

    def __call__(self, steps: int) -> Tensor:
        if steps != len(self.fitted.times) - 1:
            self.fitted.on(torch.empty(0))
        return self.fitted.times.clone()


def aligned(values: np.ndarray, count: int) -> np.ndarray:
    """The values (K,) at each step, at the step before, ..., (K, count); zero before the first."""
    at = np.arange(len(values))[:, None] - np.arange(count)
    return np.where(at >= 0, values[np.maximum(at, 0)], 0.0)
