r"""Move cell masses by transport and by diffusion, the two parts of a step.

Transport is semi-Lagrangian. Characteristics are followed backwards from the faces of the cells
(`departure_points`), and the cumulative mass

    C(x) = int_{-inf}^x p dx'

is interpolated there by a monotone cubic (`remap`). Its differences are the new masses, so the
total is kept and no mass is negative, at any Courant number.

Diffusion is exact for additive noise (`HeatKernel`), and implicit for noise that depends on the
state (`TRBDF2`). No linear scheme of order above one keeps all masses positive (Bolley and
Crouzeix 1978): `clip` sets negative masses to zero and adds them up.

Source: Colella and Woodward 1984 (PPM).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.fft import dctn, fftfreq, idctn, irfft2, rfft2, rfftfreq
from scipy.linalg import solve_banded

LONGEST_STEP = 0.5  # largest |dt grad f| of one Runge-Kutta step along a characteristic

Clip = Callable[[np.ndarray], np.ndarray]

# Lengths are in cells here, velocities in cells per step. Axis 0 is the one along which masses
# move, and every column is a line of its own.


def departure_points(c: np.ndarray) -> np.ndarray:
    """The departure points (n + 1, m), in cells, of faces that move by c cells along axis 0.

    The characteristics of the velocity c, which depends on x and not on t, are followed backwards
    by the Runge-Kutta method, with |grad c| below a half in each step. The walls do not move and
    faces never cross.
    """
    c = c.copy()
    c[0] = c[-1] = 0.0
    n, m = len(c) - 1, c.shape[1]
    count = max(1, math.ceil(float(abs(np.diff(c[1:-1], axis=0)).max(initial=0.0)) / LONGEST_STEP))
    count = min(count, 1000)
    c /= -count
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
    for k in range(count):
        a = c if k == 0 else velocity(x)
        b = velocity(x + a / 2)
        d = velocity(x + b / 2)
        e = velocity(x + d)
        x = np.clip(x + (a + 2 * (b + d) + e) / 6, 0.0, n)
    x[0], x[-1] = 0.0, n
    crossed = (x[1:] < x[:-1]).any()  # seldom; the accumulation takes 70 times as long
    return np.maximum.accumulate(x, axis=0) if crossed else x


def remap(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The new masses (n, m), from the departure points x (n + 1, m or 1) of the faces.

    The cumulative mass is a cubic in each cell, with slopes at the faces of at most three times
    the smaller neighbouring mass: hence monotone.

    Source: Fritsch and Carlson 1980.
    """
    n, m = p.shape
    c = np.zeros((n + 1, m))
    c[1:] = np.cumsum(p, axis=0, out=np.empty(p.shape, order="F"))  # three times as quick
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


def face_values(c: np.ndarray, axis: int) -> np.ndarray:
    """c at the corners, interpolated to the faces across `axis`, (n + 1, m), that axis first."""
    if c.ndim == 1:
        return c[:, None].copy()
    c = c if axis == 0 else c.T
    out = np.empty((c.shape[0], c.shape[1] - 1))
    out[:, 1:-1] = (9 * (c[:, 1:-2] + c[:, 2:-1]) - c[:, :-3] - c[:, 3:]) / 16
    out[:, 0] = (3 * c[:, 0] + 6 * c[:, 1] - c[:, 2]) / 8
    out[:, -1] = (3 * c[:, -1] + 6 * c[:, -2] - c[:, -3]) / 8
    return out


def largest_change(moved: list[np.ndarray], h: np.ndarray) -> np.ndarray:
    """max |d_j f_i| dt in each cell, from f_i dt at the corners (in cells) and cell widths h."""
    largest = np.zeros(tuple(n - 1 for n in moved[0].shape))
    for i, c in enumerate(moved):
        for j, width in enumerate(h):
            change = abs(np.diff(c, axis=j)) * (h[i] / width)
            if len(moved) == 2:
                change = change.swapaxes(0, j)
                change = ((change[:, :-1] + change[:, 1:]) / 2).swapaxes(0, j)
            np.maximum(largest, change, out=largest)
    return largest


class HeatKernel:
    """The heat kernel exp(a d^2 / dx^2) between reflecting walls, by a cosine transform.

    Args:
        spread: a (d,), half the variance added along each axis, in cells squared; or half the
            covariance (d, d), with periodic walls where axes couple.
    """

    def __init__(self, shape: tuple[int, ...], spread: np.ndarray, clip: Clip) -> None:
        self.clip, self.coupled = clip, False
        if spread.ndim == 2:
            self.coupled = bool((spread != np.diag(np.diag(spread))).any())
            if self.coupled:
                self.decay = _coupled_decay(shape, spread)
                return
            spread = np.diag(spread)
        waves = [(np.pi * np.arange(n) / n) ** 2 for n in shape]
        spread = np.broadcast_to(spread, (len(shape),))
        decay = [np.exp(-a * k2) for a, k2 in zip(spread, waves, strict=True)]
        self.decay = decay[0][:, None] * (decay[1] if len(decay) == 2 else 1.0)

    def __call__(self, p: np.ndarray) -> np.ndarray:
        """The masses p after the step."""
        if self.coupled:
            return self.clip(irfft2(rfft2(p) * self.decay, s=p.shape))
        return self.clip(idctn(dctn(p, norm="ortho") * self.decay, norm="ortho"))


def _coupled_decay(shape: tuple[int, ...], spread: np.ndarray) -> np.ndarray:
    """exp(-k . a k) at the frequencies of a real Fourier transform."""
    x = 2 * np.pi * fftfreq(shape[0])[:, None]
    y = 2 * np.pi * rfftfreq(shape[1])[None, :]
    (xx, xy), (_, yy) = spread
    out: np.ndarray = np.exp(-(xx * x**2 + 2 * xy * x * y + yy * y**2))
    return out


class TRBDF2:
    """Diffusion by noise that depends on the state, by TR-BDF2 along x (half), y, x (half).

    The current between neighbouring cells needs no derivative of g: it is the difference of
    g^2 p / 2 (Ito), or g times the difference of g p / 2 (Stratonovich).

    Args:
        h: (d,) cell widths.
        g: (*shape, d) noise at the centres.
        dt: the step, positive.

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
        """The masses p after the step."""
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
    """dp/dt of each cell by currents along axis 0, from the rates across the faces."""
    current = np.zeros((len(p) + 1, p.shape[1]))
    current[1:-1] = right * p[:-1] - left * p[1:]
    return -np.diff(current, axis=0)


def _bands(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The tridiagonal matrix 1 - (rates), with all lines joined end to end."""
    n, m = len(right) + 1, right.shape[1]
    bands = np.zeros((3, m, n))
    bands[0, :, 1:] = -left.T
    bands[2, :, :-1] = -right.T
    bands[1] = 1.0
    bands[1, :, 1:] += left.T
    bands[1, :, :-1] += right.T
    return bands.reshape(3, -1)


def _lines(bands: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Solve bands q = p for each line."""
    lines: np.ndarray = solve_banded((1, 1), bands, p.T.ravel(), check_finite=False)
    return lines.reshape(p.shape[1], p.shape[0]).T
