r"""Compute the rates of jumps between neighbouring cells, by exponential fitting.

    right = D B(-P) / h^2,    left = D B(P) / h^2,    B(z) = z / (e^z - 1),

with D = g^2 / 2 and the cell Peclet number P = f h / D at the face. They are exact for constant
drift and noise, and positive for any drift. But a chain with these rates has the diffusivity

    D (P / 2) coth(P / 2) = D (1 + P^2 / 12 - ...),

more than D: without noise, |f| h / 2. This numerical diffusion has no effect under detailed
balance (gradient drift, equal noise), where no current flows.

Source: Scharfetter and Gummel 1969; Chang and Cooper 1970.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from sdeflow.density import Density, Grid
from sdeflow.sdes.coefficients import checked_diffusion, checked_drift
from sdeflow.sdes.sde import SDE
from sdeflow.sdes.walls import Axis


class Rates(NamedTuple):
    """The rates of a Markov chain on cells.

    Attributes:
        matrix: L (cells, cells), the rates from column to row, and a diagonal that makes each
            column add up to minus `lost`.
        lost: (cells,) the rates at which absorbing walls take mass.
    """

    matrix: scipy.sparse.csc_matrix
    lost: np.ndarray


class _Jumps(NamedTuple):
    """Rates across the same faces in both directions; sink None: through an absorbing wall."""

    source: np.ndarray
    sink: np.ndarray | None
    rate: np.ndarray


def fitted_rates(sde: SDE, grid: Grid, t: float, potential: Tensor | None) -> Rates:
    """The rates at time t, across the faces between cells and the walls of the SDE.

    With a potential U / kT (grid.shape), P is minus its difference between the cells.
    """
    parts = [rates_along(sde, grid, t, i, potential) for i in range(grid.dim)]
    if len(parts) == 1:
        return parts[0]
    return Rates((parts[0].matrix + parts[1].matrix).tocsc(), parts[0].lost + parts[1].lost)


def rates_along(sde: SDE, grid: Grid, t: float, i: int, potential: Tensor | None) -> Rates:
    """The rates across the faces and the walls that stand across axis i."""
    when = torch.tensor(t, dtype=torch.float64)
    jumps = _inner(sde, grid, when, i, potential)
    if sde.walls is not None:
        jumps += _through_walls(sde, grid, when, i, sde.walls.axes(grid.dim)[i], potential)
    size = math.prod(grid.shape)
    cells, lost = np.arange(size), np.zeros(size)
    rows, columns, rates = [cells], [cells], [lost]
    for source, sink, rate in jumps:
        if sink is None:
            lost[source] += rate
            continue
        rows += [sink, source]
        columns += [source, source]
        rates += [rate, -rate]
    rates[0] = -lost
    entries = np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns))
    return Rates(scipy.sparse.coo_matrix(entries, (size, size)).tocsc(), lost)


def _inner(sde: SDE, grid: Grid, t: Tensor, i: int, potential: Tensor | None) -> list[_Jumps]:
    """Between neighbouring cells along axis i."""
    cells, h = np.arange(math.prod(grid.shape)).reshape(grid.shape), grid.width[i]
    here, there = (np.take(cells, range(j, grid.shape[i] - 1 + j), i).ravel() for j in (0, 1))
    faces = _faces(grid, i, grid.edges(i)[1:-1])
    return _between(sde, faces, t, i, h, here, there, potential)


def _between(
    sde: SDE, faces: Tensor, t: Tensor, i: int, h: float, here: np.ndarray, there: np.ndarray,
    potential: Tensor | None,
) -> list[_Jumps]:  # fmt: skip
    spread, tilt = _face_noise(sde, h, faces, t, i)
    if potential is not None:
        u = potential.numpy().ravel()
        drift = -(u[there] - u[here]) * spread / h
    else:
        drift = sde.direction * _face_drift(sde, faces, t)[:, i] - tilt
    right, left = _fitted(drift * h, spread)
    return [_Jumps(here, there, right / h**2), _Jumps(there, here, left / h**2)]


def _through_walls(
    sde: SDE, grid: Grid, t: Tensor, i: int, axis: Axis, potential: Tensor | None
) -> list[_Jumps]:
    """Around a periodic axis, or through absorbing walls, where p = 0: half a cell from a centre.

    Across half a cell the current is that of exponential fitting with p = 0 at the wall.
    """
    cells, h = np.arange(math.prod(grid.shape)).reshape(grid.shape), grid.width[i]
    first, last = (np.take(cells, j, i).ravel() for j in (0, -1))
    if axis.at_low == "periodic":
        faces = _faces(grid, i, grid.edges(i)[:1])
        return _between(sde, faces, t, i, h, last, first, potential)
    out = []
    for kind, wall, edge, source, outward in (
        (axis.at_low, axis.low, 0, first, -1.0),
        (axis.at_high, axis.high, -1, last, 1.0),
    ):
        if kind != "absorbing" or math.isinf(wall):
            continue
        faces = _faces(grid, i, grid.edges(i)[edge].reshape(1))
        inside = faces.clone()
        inside[:, i] -= outward * h / 4
        spread, tilt = _face_noise(sde, h / 2, inside, t, i)
        drift = outward * (sde.direction * _face_drift(sde, inside, t)[:, i] - tilt)
        out.append(_Jumps(source, None, _fitted(drift * h / 2, spread)[0] / (h * h / 2)))
    return out


def _faces(grid: Grid, i: int, across: Tensor) -> Tensor:
    """The middles of the faces that stand across axis i at these positions."""
    axes = [across if j == i else grid.middles(j) for j in range(grid.dim)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dim)


def centre_noise(sde: SDE, grid: Grid, t: float) -> list[np.ndarray] | None:
    """D at the centres of the cells for each axis, (cells,), or None where it is zero."""
    if sde.diffusion is None:
        return None
    x, when = grid.centres(), torch.tensor(t, dtype=torch.float64)
    with torch.no_grad():
        g = checked_diffusion(sde.diffusion(x.clone(), when), x, when).double()
    d = (g**2 / 2).expand(x.shape) if g.ndim else (g**2 / 2).expand(len(x), grid.dim)
    return None if not bool((d > 0).all()) else [row.numpy() for row in d.T]


def _face_drift(sde: SDE, x: Tensor, t: Tensor) -> np.ndarray:
    with torch.no_grad():
        out: np.ndarray = checked_drift(sde.drift(x.clone(), t), x, t).numpy()
    return out


def _face_noise(
    sde: SDE, h: float, x: Tensor, t: Tensor, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """D and a drift `tilt` on faces between points h apart: the current is (f - tilt) p - D p'.

    tilt is D' for Ito and D' / 2 for Stratonovich noise.
    """
    if sde.diffusion is None:
        return np.zeros(len(x)), np.zeros(len(x))

    def half_square(at: Tensor) -> np.ndarray:
        assert sde.diffusion is not None
        with torch.no_grad():
            g = checked_diffusion(sde.diffusion(at.clone(), t), at, t).double()
        each = g[:, axis] if g.ndim else g.expand(len(at))
        out: np.ndarray = (each**2 / 2).numpy()
        return out

    step = torch.zeros(x.shape[1], dtype=torch.float64)
    step[axis] = h / 2
    slope = (half_square(x + step) - half_square(x - step)) / h
    return half_square(x), slope if sde.calculus == "ito" else slope / 2


def _fitted(drift: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D B(-P) and D B(P) with P = drift / D; upwind where D = 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        peclet = drift / spread
        small = abs(peclet) < 1e-8
        left = np.where(small, spread - drift / 2, drift / np.expm1(peclet))
        right = np.where(small, spread + drift / 2, -drift / np.expm1(-peclet))
    still = (spread == 0) | ~np.isfinite(peclet)
    left = np.where(still, np.maximum(-drift, 0.0), left)
    return np.where(still, np.maximum(drift, 0.0), right), left


class NumericalDiffusion:
    """The numerical diffusion of a Markov generator, as a mean over a density (cells,).

    Attributes:
        peclet: |P| along each axis; infinite without noise.
        remaining: the error of a result over its difference to the result on cells twice as wide:
            1 without noise (first order), 1/3 for small P (second order), and in between else.
        added: the numerical diffusion over that of the noise, each over the variances of the
            density, summed over the axes. Only what acts on a current counts, since exponential
            fitting is exact under detailed balance.
        rate: the rate at which it widens the density, over the variances (1 / time).
    """

    def __init__(self, matrix: scipy.sparse.csc_matrix, mass: np.ndarray, grid: Grid) -> None:
        self.peclet: list[float] = []
        cells = np.arange(len(mass)).reshape(grid.shape)
        spread = Density(grid, torch.from_numpy(mass).reshape(grid.shape)).covariance().diagonal()
        here_total = wider_total = noise_total = flowing_total = 0.0
        for i, (n, h) in enumerate(zip(grid.shape, grid.width, strict=True)):
            here, there = (np.take(cells, range(j, n - 1 + j), i).ravel() for j in (0, 1))
            right, left = (
                np.asarray(matrix[sink, source]).ravel()
                for sink, source in ((there, here), (here, there))
            )
            weight = (mass[here] + mass[there]) / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                p = np.where(right + left > 0, abs(np.log(right / left)), 0.0)
            self.peclet.append(_mean(p, weight))
            size = weight * np.maximum(right, left)
            unit = h**2 / max(float(spread[i]), h**2 / 12)
            added = float(size @ _added(p))
            drifting = float(weight @ abs(right - left))
            flowing = float(abs(right * mass[here] - left * mass[there]).sum())
            here_total += added
            wider_total += float(size @ _added(p, wider=True))
            noise_total += unit * float(size @ _noise(p))
            flowing_total += unit * added * (min(1.0, flowing / drifting) if drifting else 0.0)
        grown = wider_total - here_total
        self.remaining = here_total / grown if grown > 0 else 1 / 3
        self.rate = 2 * flowing_total
        self.added = flowing_total / noise_total if noise_total > 0 else math.inf


def _mean(p: np.ndarray, weight: np.ndarray) -> float:
    held = weight > 0
    return float(p[held] @ weight[held] / weight.sum()) if held.any() else 0.0


def _noise(p: np.ndarray) -> np.ndarray:
    """D over h^2 times the faster rate, which is D B(-p) / h^2."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p < 1e-8, 1.0, -np.expm1(-p) / p)


def _added(p: np.ndarray, *, wider: bool = False) -> np.ndarray:
    """The diffusion that cells add (or cells twice as wide), over h^2 times the faster rate."""
    q = 2 * p if wider else p
    with np.errstate(divide="ignore", invalid="ignore"):
        out = _noise(p) * (q / 2 / np.tanh(q / 2) - 1)
    out = np.where(p < 1e-2, q**2 / 12, out)
    return np.where(np.isinf(p), 1.0 if wider else 0.5, out)
