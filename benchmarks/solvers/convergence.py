"""Fit an order of convergence to errors at nested steps, in a window chosen by a rule.

    ln(error) = constant - order ln(steps),

by least squares over the finest `POINTS` numbers of steps whose error is at least `ABOVE` times
its floor, which is the larger of the truth's own error and of rounding. The rule does not depend
on slopes: coarser steps are left out because they may not be asymptotic, finer ones because of the
floor.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

POINTS, LEAST = 4, 3
ABOVE = 10.0
NEAR = 0.25
"""Orders are multiples of 1/2: a slope within 1/4 of one is nearer to no other."""


class Measured(NamedTuple):
    """The errors of one method.

    Attributes:
        steps: increasing numbers of steps.
        squares: (len(steps), B) mean square errors, one for each batch of particles.
        floors: (len(steps),) root mean square errors of the truth, or of rounding.
        calls: evaluations of the field in each run, per particle.
    """

    steps: tuple[int, ...]
    squares: np.ndarray
    floors: np.ndarray
    calls: tuple[float, ...]


@dataclass(frozen=True)
class OrderReport:
    """The declared and the fitted order of a method.

    Attributes:
        name, kind, on: the method; "ODE", "strong" or "weak"; the problem.
        declared: the declared order; None if there is none.
        fitted: the fitted order; None without a window.
        error: its standard error, from the scatter about the line and from the sampling.
        doubt: half the width of its 95 % interval, by Student's t for the scatter of few points.
        window: the numbers of steps of the fit.
        steps, errors, floors: the measured values.
        counted, by_hand: evaluations of the field in the longest run, per particle.
        per_step: evaluations in each further step.
        calls_as_counted: whether every run had the number of evaluations counted by hand.
        verdict: the result of the function `verdict`.
    """

    name: str
    kind: str
    on: str
    declared: float | None
    fitted: float | None
    error: float | None
    doubt: float | None
    window: tuple[int, ...]
    steps: tuple[int, ...]
    errors: tuple[float | None, ...]
    floors: tuple[float, ...]
    counted: float
    by_hand: int
    per_step: float
    calls_as_counted: bool
    verdict: str

    @property
    def row(self) -> dict[str, object]:
        """The report as a row for JSON."""
        lists = ("window", "steps", "errors", "floors")
        return {k: list(v) if k in lists else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        """The report in a sentence."""
        found = (
            "no fit" if self.fitted is None else f"fitted {self.fitted:.2f} +- {self.doubt:.2f}"
        )
        window = f", steps {self.window[0]} to {self.window[-1]}" if self.window else ""
        return (
            f"{self.name}, {self.kind} order on {self.on}: declared {self.declared}, {found}"
            f"{window}: {self.verdict}; {self.per_step:g} calls a step"
        )


def window(errors: np.ndarray, floors: np.ndarray) -> np.ndarray:
    """The indices of the fit: those of the finest errors well above their floors."""
    usable = np.isfinite(errors) & (errors > ABOVE * floors) & (errors > 0)
    return np.flatnonzero(usable)[-POINTS:]


def slope(steps: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """The order, and its standard error from the scatter about the line."""
    x, y = -np.log(steps), np.log(errors)
    centred = x - x.mean()
    order = float(centred @ y / (centred @ centred))
    left = y - y.mean() - order * centred
    return order, math.sqrt(float(left @ left / (len(x) - 2) / (centred @ centred)))


class Fit(NamedTuple):
    """The order, its standard error and interval, and the window, as in `OrderReport`."""

    order: float | None
    error: float | None
    doubt: float | None
    window: tuple[int, ...]


def fitted(measured: Measured) -> Fit:
    """The slope in the window; None if fewer than `LEAST` errors can be used."""
    steps, squares = np.array(measured.steps), measured.squares
    at = window(np.sqrt(squares.mean(1)), measured.floors)
    if len(at) < LEAST:
        return Fit(None, None, None, tuple(steps[at].tolist()))
    order, scatter = slope(steps[at], np.sqrt(squares[at].mean(1)))
    batches = squares.shape[1]
    sampling = 0.0
    if batches > 1:  # the jackknife
        parts = [
            slope(steps[at], np.sqrt(np.delete(squares[at], b, 1).mean(1)))[0]
            for b in range(batches)
        ]
        sampling = math.sqrt((batches - 1) * float(np.var(parts)))
    wide = float(student.ppf(0.975, len(at) - 2)) * scatter
    doubt = math.hypot(wide, 2 * sampling)
    return Fit(order, math.hypot(scatter, sampling), doubt, tuple(steps[at].tolist()))


def verdict(declared: float | None, order: float | None, doubt: float | None) -> str:
    """Whether the order is as declared within 1/4, lower or higher with all of its interval."""
    if order is None or doubt is None:
        return "no window: its errors do not stand out of the floor"
    if declared is None:
        return "none declared"
    off = order - declared
    if abs(off) <= NEAR:
        return "as declared" if doubt <= NEAR else "not settled"
    if abs(off) - doubt <= NEAR:
        return "not settled"
    return "LOWER than declared" if off < 0 else "higher than declared"


def report(
    name: str, kind: str, problem: str, declared: float | None, stages: int, once: int,
    measured: Measured,
) -> OrderReport:  # fmt: skip
    """Fit the order, and compare evaluations with stages K + once in a run of K steps."""
    found = fitted(measured)
    errors = np.sqrt(measured.squares.mean(1))
    by_hand = [stages * k + once for k in measured.steps]
    (few, many), (less, more) = measured.steps[-2:], measured.calls[-2:]
    return OrderReport(
        name, kind, problem, declared, *found, measured.steps,
        tuple(float(e) if np.isfinite(e) else None for e in errors),
        tuple(measured.floors.tolist()),
        counted=more, by_hand=by_hand[-1], per_step=(more - less) / (many - few),
        calls_as_counted=list(measured.calls) == by_hand,
        verdict=verdict(declared, found.order, found.doubt),
    )  # fmt: skip
