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

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from sdeflow.density import Density, Grid
from sdeflow.sdes.coefficients import checked_diffusion, checked_drift
from sdeflow.sdes.sde import SDE


def fitted_rates(
    sde: SDE, grid: Grid, t: float, potential: Tensor | None
) -> scipy.sparse.csc_matrix:
    """The generator L (cells, cells): rates from column to row, and columns of sum 0.

    With a potential U / kT (grid.shape), P is minus its difference between the cells.
    """
    when = torch.tensor(t, dtype=torch.float64)
    cells = np.arange(math.prod(grid.shape)).reshape(grid.shape)
    rows, columns, rates = [], [], []
    for i, h in enumerate(grid.width):
        here, there = (np.take(cells, range(j, grid.shape[i] - 1 + j), i).ravel() for j in (0, 1))
        axes = [grid.edges(j)[1:-1] if j == i else grid.middles(j) for j in range(grid.dim)]
        faces = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dim)
        spread, tilt = _face_noise(sde, grid, faces, when, i)
        if potential is not None:
            u = potential.numpy().ravel()
            drift = -(u[there] - u[here]) * spread / h
        else:
            drift = sde.direction * _face_drift(sde, faces, when)[:, i] - tilt
        right, left = _fitted(drift * h, spread)
        for source, sink, rate in ((here, there, right), (there, here, left)):
            rows += [sink, source]
            columns += [source, source]
            rates += [rate / h**2, -rate / h**2]
    entries = np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns))
    return scipy.sparse.coo_matrix(entries, (cells.size, cells.size)).tocsc()


def _face_drift(sde: SDE, x: Tensor, t: Tensor) -> np.ndarray:
    with torch.no_grad():
        out: np.ndarray = checked_drift(sde.drift(x.clone(), t), x, t).numpy()
    return out


def _face_noise(
    sde: SDE, grid: Grid, x: Tensor, t: Tensor, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """D and a drift `tilt` at the faces across one axis, for the current (f - tilt) p - D grad p.

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

    step = torch.zeros(grid.dim, dtype=torch.float64)
    step[axis] = grid.width[axis] / 2
    slope = (half_square(x + step) - half_square(x - step)) / grid.width[axis]
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
