r"""Compute the mean time in which noise carries a particle over a barrier, in one dimension.

    mean_first_passage_time    from a start to a target, by an exact integral
    kramers_time               from a well over a high barrier, by Kramers' formula

Any units of length, energy and time may be used.
"""

from __future__ import annotations

import math
import warnings

import torch

from sdeflow._validation import SdeflowError, check_finite, check_function, check_positive
from sdeflow.analysis.passage_integral import Line, log_integral
from sdeflow.sdes.potentials import Potential, gradient, scalar

LOW = 2.0  # temperatures: below such a barrier Kramers' time is off by more than a fifth
EXTREMUM = 1e-3  # largest distance from an extremum, over the distance from well to top
LARGEST = math.log(1.79e308)


def mean_first_passage_time(
    potential: Potential,
    start: float,
    target: float,
    temperature: float = 1.0,
    mobility: float = 1.0,
) -> float:
    r"""The mean time until a particle of `langevin` first reaches a target, in one dimension.

        (1 / (mu T)) int_start^target dy int_{-inf}^y dz e^{(U(y) - U(z)) / T}

    for a target above the start, mirrored for one below, by quadrature. The potential must confine
    the particle on the side away from the target.

    Args:
        potential: U, (n, 1) -> (n,), infinite where no particle can be.
        start, target: positions.
        temperature: T, in the unit of U.
        mobility: mu.

    Raises:
        SdeflowError: the integral diverges or is larger than the largest float, or U is NaN.

    Source: Gardiner 2009, section 5.5.
    """
    kt, mu = check_positive(temperature, "temperature"), check_positive(mobility, "mobility")
    first = check_finite(start, "start")
    line = Line(_function(potential), first, check_finite(target, "target") - first, kt)
    if not line.distance:
        return 0.0
    log_time = log_integral(line) + 2 * math.log(abs(line.distance)) - math.log(mu) - math.log(kt)
    return _exp(log_time, "the mean first-passage time")


def kramers_time(
    potential: Potential,
    well: float,
    top: float,
    temperature: float = 1.0,
    mobility: float = 1.0,
) -> float:
    r"""Kramers' mean time from a well over a high barrier into the next well, in one dimension.

        2 pi / (mu sqrt(U''(well) |U''(top)|)) e^{(U(top) - U(well)) / T}

    is twice the mean time to the top, and the first term of a series in T / barrier.
    `mean_first_passage_time` is the exact integral.

    Args:
        potential: U, (n, 1) -> (n,).
        well, top: positions of the minimum and the maximum.
        temperature, mobility: as in `mean_first_passage_time`.

    Raises:
        ValueError: U is not curved upwards at the well and downwards at the top, one of them is no
            extremum, or the top is not above the well.
        SdeflowError: the time is larger than the largest float.

    Warns:
        RuntimeWarning: the barrier is lower than two temperatures.

    Source: Kramers 1940.
    """
    kt, mu = check_positive(temperature, "temperature"), check_positive(mobility, "mobility")
    _function(potential)
    places = {"well": check_finite(well, "well"), "top": check_finite(top, "top")}
    at = torch.tensor(list(places.values()), dtype=torch.float64)[:, None]
    low, high = scalar(potential, at).tolist()
    slope, curvature = _derivatives(potential, at)
    if not curvature[0] > 0 > curvature[1]:
        raise ValueError(
            f"U'' is {curvature[0]:.3g} at the well {well:g} and {curvature[1]:.3g} at the top "
            f"{top:g}; give a minimum and a maximum of U"
        )
    for (name, place), force, bend in zip(places.items(), slope, curvature, strict=True):
        off = -force / bend
        if abs(off) > EXTREMUM * abs(places["top"] - places["well"]):
            raise ValueError(
                f"U' is {force:.3g} and not zero at the {name} {place:g}; give the extremum, by "
                f"Newton's step near {place + off:.6g}"
            )
    if not high > low:
        raise ValueError(
            f"the top {top:g} is not above the well {well:g}: U is {high:.3g} and {low:.3g}; give "
            "the maximum next to the well"
        )
    if high - low < LOW * kt:
        warnings.warn(
            f"the barrier is only {(high - low) / kt:.2g} temperatures high, too low for Kramers' "
            "formula; use mean_first_passage_time",
            RuntimeWarning,
            stacklevel=2,
        )
    log_rate = math.log(mu) + (math.log(curvature[0]) + math.log(-curvature[1])) / 2
    return _exp(math.log(2 * math.pi) - log_rate + (high - low) / kt, "Kramers' time")


def _function(potential: Potential) -> Potential:
    check_function(potential, "potential", "of the cloud, (n, 1) -> (n,)")
    return potential


def _exp(log_time: float, name: str) -> float:
    if log_time > LARGEST:
        raise SdeflowError(
            f"{name} is e^{log_time:.6g}, larger than the largest float; raise the temperature"
        )
    return math.exp(log_time)


def _derivatives(potential: Potential, at: torch.Tensor) -> tuple[list[float], list[float]]:
    """U' and U'' at the places (k, 1)."""
    with torch.enable_grad():
        at = at.requires_grad_()
        u = scalar(potential, at)
        if not u.requires_grad:
            gradient(potential, at)  # raises the error that says what is wrong
        slope = torch.autograd.grad(u.sum(), at, create_graph=True)[0]
        bend = torch.zeros_like(at)
        if slope.requires_grad:
            bend = torch.autograd.grad(slope.sum(), at)[0]
    return slope.detach()[:, 0].tolist(), bend[:, 0].tolist()
