r"""Compute the mass of Gaussians in each cell of a grid.

If the principal axes of a Gaussian are those of the grid, the mass is a product of differences of
the error function. If they are tilted, the error function is used along y given x, and
Gauss-Legendre quadrature along x, on panels no wider than the standard deviation of x given y
(error below 1e-12).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from sdeflow.density import Grid

NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)


def gaussian_masses(
    grid: Grid, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """The mass of a mixture in each cell, sum_k w_k int_{cell} N(x; mu_k, C_k) dx, of grid.shape.

    weights (k,), means (k, d), covariances (k, d, d), all in float64. A tilted component whose
    standard deviation is less than 1e-3 of a cell is refused with a ValueError.
    """
    cut = [(grid.edges(i).numpy(), means[:, i]) for i in range(grid.dim)]
    tilted = np.zeros(len(weights), dtype=bool)
    if grid.dim == 2:
        size = _root(covariances[:, 0, 0]) * _root(covariances[:, 1, 1])
        tilted = abs(covariances[:, 0, 1]) > 1e-14 * size
    with np.errstate(over="ignore"):  # infinitely many standard deviations away
        sides = [
            _between((e - m[:, None]) / _root(covariances[:, i, i])[:, None])
            for i, (e, m) in enumerate(cut)
        ]
    if grid.dim == 1:
        mass = weights @ sides[0]
    else:
        mass = (weights * ~tilted * sides[0].T) @ sides[1]
    for k in np.flatnonzero(tilted):
        mass += weights[k] * _tilted(cut[0][0], cut[1][0], means[k], covariances[k])
    return mass


def _root(variance: np.ndarray) -> np.ndarray:
    """Standard deviations; the smallest positive one in place of zero, so that one may divide."""
    return np.sqrt(np.maximum(variance, np.finfo(float).tiny))


def _between(z: np.ndarray) -> np.ndarray:
    """The standard normal mass between neighbours along the last axis, accurate in both tails."""
    a, b = z[..., :-1], z[..., 1:]
    flip = a > 0
    return ndtr(np.where(flip, -a, b)) - ndtr(np.where(flip, -b, a))


def _tilted(x: np.ndarray, y: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """The masses (len(x) - 1, len(y) - 1) of N(mean, cov) between the edges x and y of cells."""
    square = cov[0, 1] ** 2 / (cov[0, 0] * cov[1, 1])  # the squared correlation
    narrow = math.sqrt(cov[0, 0] * max(1 - square, 0.0))  # standard deviation of x given y
    if narrow < 1e-3 * (x[1] - x[0]):
        raise ValueError(
            f"a tilted component of standard deviation {narrow:.2g} cannot be integrated over "
            f"cells of width {x[1] - x[0]:.2g}; add noise, or refine the grid"
        )
    wide = math.sqrt(cov[0, 0])
    given = math.sqrt(cov[1, 1] * (1 - square))
    panels = math.ceil((x[1] - x[0]) / narrow)
    ends = np.linspace(x[0], x[-1], panels * (len(x) - 1) + 1)
    half = (ends[1] - ends[0]) / 2
    at = ((ends[1:] + ends[:-1]) / 2)[:, None] + half * NODES
    u = (at.ravel() - mean[0]) / wide
    keep = abs(u) < 38.0
    height = np.exp(-(u[keep] ** 2) / 2) / (wide * math.sqrt(2 * math.pi))
    middle = mean[1] + cov[0, 1] / wide * u[keep]
    strips = np.zeros((len(u), len(y) - 1))
    strips[keep] = height[:, None] * _between((y - middle[:, None]) / given)
    parts = strips.reshape(len(x) - 1, panels, len(NODES), len(y) - 1)
    return half * np.einsum("ipqj,q->ij", parts, WEIGHTS)
