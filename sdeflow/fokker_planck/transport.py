r"""The parts of one step: how cell masses are carried along an axis, and how they spread.

Carried: characteristics are followed back from the faces (`feet`), and the cumulative mass

    C(x) = int_{-inf}^x p dx'

is read there from a monotone cubic (`remap`). The differences are the new masses, so mass is kept
exactly and never negative, at any Courant number (PPM; Colella and Woodward 1984).

Spread: where the noise does not depend on the state, `Heat` is the heat semigroup itself, exact
by the cosine transform, whose waves meet reflecting walls at right angles. Where it does, `TRBDF2`
solves for the flux between neighbours, one axis at a time, implicitly and to second order.

No linear scheme of order above one is positive (Bolley and Crouzeix 1978). What spreading makes
negative is handed to `clip`, which sets it to zero and counts it: the alarm for a grid too coarse.

Lengths are in cells here, velocities in cells per step; axis 0 is the one in question, and every
column a line of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.fft import dctn, idctn
from scipy.linalg import solve_banded

CURVE = 0.5  # largest |dt grad f| of one Runge-Kutta step along a characteristic

Clip = Callable[[np.ndarray], np.ndarray]


def departure_points(c: np.ndarray) -> np.ndarray:
    """Where the faces come from, in cells (n + 1, m), if they move by c cells along axis 0.

    Characteristics of the frozen velocity are followed back by Runge and Kutta's method, in as
    many steps as keep |grad c| below a half each; walls stand still and faces never cross.
    """
    c = c.copy()
    c[0] = c[-1] = 0.0
    n, m = len(c) - 1, c.shape[1]
    turns = max(1, math.ceil(float(abs(np.diff(c[1:-1], axis=0)).max(initial=0.0)) / CURVE))
    turns = min(turns, 1000)
    c /= -turns
    flat = c.ravel()
    column = np.arange(m)

    def velocity(x: np.ndarray) -> np.ndarray:
        x = np.clip(x, 0.0, n)
        i = np.minimum(x.astype(np.int64), n - 1)
        part = x - i
        i *= m
        i += column
        low = flat.take(i)
        i += m
        return low + part * (flat.take(i) - low)

    start = np.arange(n + 1.0)[:, None]
    x = start + np.zeros(m)
    for k in range(turns):
        a = c if k == 0 else velocity(x)
        b = velocity(x + a / 2)
        d = velocity(x + b / 2)
        e = velocity(x + d)
        x = np.clip(x + (a + 2 * (b + d) + e) / 6, 0.0, n)
    x[0], x[-1] = 0.0, n
    return np.maximum.accumulate(x, axis=0)


def remap(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The masses (n, m) between faces that come from x (n + 1, m or 1) cells along axis 0.

    The cumulative mass is a cubic in each cell whose slopes at the faces are at most three times
    the smaller neighbour, hence monotone (Fritsch and Carlson 1980).
    """
    n, m = p.shape
    c = np.zeros((n + 1, m))
    np.cumsum(p, axis=0, out=c[1:])
    e = np.empty((n + 1, m))
    e[2:-2] = (7 * (p[1:-2] + p[2:-1]) - p[:-3] - p[3:]) / 12
    e[1], e[-2] = (p[0] + p[1]) / 2, (p[-2] + p[-1]) / 2
    e[0], e[-1] = p[0], p[-1]
    np.clip(e[1:-1], 0.0, 3 * np.minimum(p[:-1], p[1:]), out=e[1:-1])
    i = np.minimum(x.astype(np.int64), n - 1)
    u = x - i
    if x.shape[1] == 1:
        i = i[:, 0]
        below, middle, left, right = c[i], p[i], e[i], e[i + 1]
    else:
        i *= m
        i += np.arange(m)
        below, middle, left = (q.ravel().take(i) for q in (c, p, e))
        right = e.ravel().take(i + m)
    v = below + u * (
        left + u * ((3 * middle - 2 * left - right) + u * (left + right - 2 * middle))
    )
    v[0], v[-1] = 0.0, c[-1]
    return np.maximum(np.diff(v, axis=0), 0.0)  # what rounding takes below zero


class HeatKernel:
    """exp(a d^2 / dx^2) with reflecting walls, a (d,) in cells: one cosine transform."""

    def __init__(self, shape: tuple[int, ...], spread: np.ndarray, clip: Clip) -> None:
        self.clip = clip
        waves = [(np.pi * np.arange(n) / n) ** 2 for n in shape]
        spread = np.broadcast_to(spread, (len(shape),))
        decay = [np.exp(-a * k2) for a, k2 in zip(spread, waves, strict=True)]
        self.decay = decay[0][:, None] * (decay[1] if len(decay) == 2 else 1.0)

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """The masses p after it."""
        return self.clip(idctn(dctn(p, norm="ortho") * self.decay, norm="ortho"))


class TRBDF2:
    """Diffusion by noise that depends on the state: TR-BDF2 along x (half), y, x (half).

    In its own reading of the noise the flux needs no derivative of g: from cell to cell it is
    the difference of g^2 p / 2 (Ito), or g times the difference of g p / 2 (Stratonovich).
    Source: Bank et al. 1985.
    """

    def __init__(self, h: np.ndarray, g: np.ndarray, dt: float, calculus: str, clip: Clip) -> None:
        self.dt, self.clip = dt, clip
        self.rates = []
        for i, width in enumerate(h):
            along = np.moveaxis(g[..., i], i, 0)
            along = along.reshape(len(along), -1)
            here, there = along[:-1], along[1:]
            both = calculus == "stratonovich"
            middle = (here + there) / 2
            right, left = (middle if both else v for v in (here, there))
            area = 2 * width * width
            self.rates.append((right * here / area, left * there / area))

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """The masses p after it."""
        if len(self.rates) == 1:
            return self._along(p, 0, self.dt)
        p = self._along(p, 0, self.dt / 2)
        p = self._along(p.T, 1, self.dt).T
        return self._along(p, 0, self.dt / 2)

    def _along(self, p: np.ndarray, axis: int, dt: float) -> np.ndarray:
        right, left = (r * dt for r in self.rates[axis])
        if not right.any() and not left.any():
            return p
        gamma = 2 - math.sqrt(2)
        stage = _flow(p, right, left) * (gamma / 2) + p
        bands = _bands(right * (gamma / 2), left * (gamma / 2))
        between = _lines(bands, stage)
        last = (between - (1 - gamma) ** 2 * p) / (gamma * (2 - gamma))
        return self.clip(_lines(bands, last))


def _flow(p: np.ndarray, right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """What flows into each cell along axis 0, given the rates across the faces."""
    flux = np.zeros((len(p) + 1, p.shape[1]))
    flux[1:-1] = right * p[:-1] - left * p[1:]
    return -np.diff(flux, axis=0)


def _bands(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """1 - (rates), tridiagonal, all lines end to end as one."""
    n, m = len(right) + 1, right.shape[1]
    bands = np.zeros((3, m, n))
    bands[0, :, 1:] = -left.T
    bands[2, :, :-1] = -right.T
    bands[1] = 1.0
    bands[1, :, 1:] += left.T
    bands[1, :, :-1] += right.T
    return bands.reshape(3, -1)


def _lines(bands: np.ndarray, p: np.ndarray) -> np.ndarray:
    lines: np.ndarray = solve_banded((1, 1), bands, p.T.ravel(), check_finite=False)
    return lines.reshape(p.shape[1], p.shape[0]).T
