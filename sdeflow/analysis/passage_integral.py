r"""Integrate e^{(U(y) - U(z)) / T} over z < y, from start to target, for mean passage times.

The unit of length is the distance from start to target. The line is cut into panels, short near
start and target and longer away from them. By Gauss quadrature

    E_j = int_panel e^{U / T} dy,    W_k = int_panel e^{-U / T} dz,

and the double integral is the sum of E_j W_k over panels k before j, plus the double integral
within each panel. Panels are halved until the result no longer changes. All numbers are kept as
logarithms, so that barriers of any height and any unit of length can be given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from sdeflow._validation import SdeflowError
from sdeflow.sdes.potentials import Potential, scalar

NEAREST, FARTHEST = -40, 200  # panels are cut at 2^k distances from start and target
PER_OCTAVE = 4  # panels
TOLERANCE = math.log(1e-11)  # ln of the largest change of the integral by halving a panel
WORST = 5.0  # panels within this of the ln of the largest change are halved together
ROUGH = 1e-6  # largest relative error that is accepted where no more panels are allowed
PANELS, ROUNDS = 100_000, 300  # at most
NEGLIGIBLE = -36.0  # e^-36 = 2e-16
SLOWEST = math.log(0.99)  # ln of the largest ratio of a geometric series that is summed
STEEP = 30.0  # change of U / T over a panel above which U is taken as linear there
STRAIGHT = 1e-3  # deviation of U / T from a line below which STEEP / 8 suffices
WALL = 1e100  # U / T beyond which a potential may overflow to NaN


@dataclass(frozen=True, eq=False)
class Line:
    """The dimensionless potential U / T on the line, with the start at 0 and the target at 1."""

    potential: Potential
    start: float
    distance: float  # signed
    temperature: float

    def at(self, left: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U / T at the nodes (P, q) and at the ends (P, 2) of panels that are in order."""
        s = left[:, None] + width[:, None] * PLACES
        z = self.start + self.distance * s
        energy = scalar(self.potential, torch.from_numpy(z.reshape(-1, 1)))
        u: np.ndarray = energy.detach().double().numpy().reshape(z.shape) / self.temperature
        return _walled(u[:, 1:-1].ravel(), z[:, 1:-1].ravel()).reshape(len(u), -1), u[:, [0, -1]]


def _walled(u: np.ndarray, z: np.ndarray) -> np.ndarray:
    """U / T, with infinity where it overflowed to NaN in a high wall."""
    bad = np.isnan(u)
    if not bad.any():
        return u
    known = np.where(bad, len(u) - 1, np.arange(len(u)))
    nearer = u[np.minimum.accumulate(known[::-1])[::-1]]  # the next one towards the target
    unexplained = bad & ~(nearer > WALL)
    if unexplained.any():
        raise SdeflowError(
            f"the potential is NaN at {z[unexplained][-1]:.4g}; return inf where no particle can "
            "be"
        )
    return np.where(bad, math.inf, u)


def _gauss(q: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes and weights (q,) on [0, 1], and integrals (q, q) from 0 to each node."""
    legendre = np.polynomial.legendre
    x, w = legendre.leggauss(q)
    coefficients = legendre.legvander(x, q - 1).T * w * (2 * np.arange(q)[:, None] + 1) / 2
    below = legendre.legval(x, legendre.legint(np.eye(q), lbnd=-1, axis=0)).T
    return (x + 1) / 2, w / 2, below @ coefficients / 2


NODES, WEIGHTS, BELOW = _gauss(10)
PLACES = np.concatenate([[0.0], NODES, [1.0]])


def _panels(line: Line, left: np.ndarray, width: np.ndarray) -> np.ndarray:
    """ln W, ln E and the logarithm of the double integral within each panel, (3, P)."""
    u, ends = line.at(left, width)
    out = _smooth(u)
    with np.errstate(invalid="ignore"):
        rise = ends[:, 1] - ends[:, 0]
        bend = abs(u - ends[:, :1] - rise[:, None] * NODES).max(1)
        steep = (abs(rise) > STEEP) | ((abs(rise) > STEEP / 8) & (bend < STRAIGHT))
    steep &= np.isfinite(ends).all(1)
    out[:, steep] = _linear(ends[steep, 0], ends[steep, 1])
    between = left >= 0
    if np.isposinf(u[between]).any():
        raise SdeflowError(
            "the mean first-passage time is infinite, since the potential is infinite between "
            "start and target; give a target that can be reached"
        )
    out[1:, ~between] = -math.inf
    return out + np.log(width) * np.array([[1.0], [1.0], [2.0]])


def _smooth(u: np.ndarray) -> np.ndarray:
    """ln W, ln E and ln of the double integral (3, P), unit panels, from U / T at the nodes."""
    log_w, log_e = (np.logaddexp.reduce(np.log(WEIGHTS) + sign * u, 1) for sign in (-1, 1))
    top, bottom = u.max(1), u.min(1)
    with np.errstate(invalid="ignore"):
        inner = np.exp(bottom[:, None] - u) @ BELOW.T
        within = (np.exp(u - top[:, None]) * inner) @ WEIGHTS
        log_within = np.log(np.maximum(within, np.finfo(float).tiny)) + top - bottom
    return np.stack([log_w, log_e, log_within])


def _linear(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """ln W, ln E, ln of the double integral (3, P), steep unit panels, from U / T at the ends."""
    rise = last - first
    size = np.log(-np.expm1(-abs(rise))) - np.log(abs(rise))
    uphill = np.maximum(rise, 0.0)
    log_w, log_e = size - np.minimum(first, last), size + np.maximum(first, last)
    within = np.exp(rise - uphill) - (1 + rise) * np.exp(-uphill)
    return np.stack([log_w, log_e, uphill + np.log(within) - 2 * np.log(abs(rise))])


def log_integral(line: Line) -> float:
    """ln int_0^1 dy int_{-inf}^y dz e^{(U(y) - U(z)) / T}, relative error about 1e-10."""
    left, width = _first_panels()
    parts = _panels(line, left, width)
    left, width, parts = _with_tail(left, width, parts)
    log_error = np.where(np.isfinite(left), math.inf, -math.inf)  # all are halved once
    for _ in range(ROUNDS):
        relative = log_error - _total(parts)
        # Those that change most come first, since the number of panels is limited.
        k = (relative > max(TOLERANCE, min(relative.max(), 0.0) - WORST)).nonzero()[0]
        if not len(k) or len(left) + len(k) > PANELS:
            break
        left, width, parts, change = _halved(line, left, width, parts, k)
        at = k + np.arange(len(k))  # the first half of each panel
        before, after = _outside(parts)
        log_error = np.insert(log_error, k + 1, -math.inf)
        log_error[at] = log_error[at + 1] = np.logaddexp.reduce(
            [change[0] + after[at + 1], change[1] + before[at], change[2]]
        )
    log_total = _total(parts)
    if np.exp(np.minimum(log_error - log_total, 0.0)).sum() / 2 > ROUGH:
        raise SdeflowError(
            "the quadrature of the mean first-passage time does not converge, since the potential "
            "changes too much or is not in float64; raise the temperature, smooth the potential, "
            "or use first_passage"
        )
    return log_total


def _first_panels() -> tuple[np.ndarray, np.ndarray]:
    """Left ends and widths (P,) of panels from -2^FARTHEST to 1."""
    octaves = 2.0 ** np.arange(NEAREST, FARTHEST)
    steps = (octaves[:, None] * (1 + np.arange(PER_OCTAVE) / PER_OCTAVE)).ravel()
    near = steps[steps < 0.5]
    edges = np.concatenate(
        [-2 * octaves[-1:], -steps[::-1], [0.0], near, [0.5], 1 - near[::-1], [1.0]]
    )
    return edges[:-1], np.diff(edges)


def _with_tail(
    left: np.ndarray, width: np.ndarray, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The panels, and one more at minus infinity for the line beyond the last octave.

    There W falls from octave to octave as a geometric series: by 2^(1 - p) for
    e^{-U / T} ~ |z|^-p.
    """
    last, before = (np.logaddexp.reduce(parts[0, i * PER_OCTAVE :][:PER_OCTAVE]) for i in (0, 1))
    beyond = -math.inf
    if not last + np.logaddexp.reduce(parts[1]) - _total(parts) < NEGLIGIBLE:
        growth = last - before
        if not growth < SLOWEST:
            raise SdeflowError(
                "the mean first-passage time is infinite, since the potential does not confine "
                "the particle on the side away from the target; add a wall there"
            )
        beyond = last + growth - math.log(-math.expm1(growth))
    tail = np.array([beyond, -math.inf, -math.inf])
    return (
        np.append(-math.inf, left),
        np.append(math.inf, width),
        np.concatenate([tail[:, None], parts], 1),
    )


def _outside(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln of the sum of W over the panels before each, and of E over those after it, (P,) each."""
    before = np.append(-math.inf, np.logaddexp.accumulate(parts[0])[:-1])
    after = np.append(np.logaddexp.accumulate(parts[1, ::-1])[-2::-1], -math.inf)
    return before, after


def _total(parts: np.ndarray) -> float:
    return float(np.logaddexp.reduce(np.logaddexp(parts[1] + _outside(parts)[0], parts[2])))


def _halved(
    line: Line, left: np.ndarray, width: np.ndarray, parts: np.ndarray, k: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The panels with those of index k halved, and ln of the change of each, (3, k)."""
    half = width[k] / 2
    ends = np.stack([left[k], left[k] + half], 1).ravel()
    new = _panels(line, ends, half.repeat(2))
    one, two = new[:, ::2], new[:, 1::2]
    both = np.logaddexp(one, two)
    both[2] = np.logaddexp(both[2], one[0] + two[1])
    change = _log_difference(both, parts[:, k])
    parts, width = parts.copy(), width.copy()
    parts[:, k], width[k] = one, half
    return (
        np.insert(left, k + 1, left[k] + half),
        np.insert(width, k + 1, half),
        np.insert(parts, k + 1, two, 1),
        change,
    )


def _log_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ln |e^a - e^b|."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.maximum(a, b) + np.log(-np.expm1(-abs(a - b)))
    return np.where(np.isnan(out), -math.inf, out)
