"""Compare results on cells with those on cells twice as wide."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdeflow.density import Density, Grid

AS_DISTANCE = 1 / 3  # total variation over the relative change of a variance that goes with it


def change_by_merging(density: Density, wide: Density) -> float:
    """The total variation between a density and one on cells twice as wide, or more.

    The total variation is bounded and the width of the densities is not: it tells more where both
    are far from the right one.
    """
    here = density.coarsen()
    square = torch.tensor(wide.grid.width, dtype=torch.float64) ** 2
    variances = [p.covariance().diagonal() for p in (here, wide)]
    grown = abs(variances[0] - variances[1]) / torch.maximum(variances[0], square)
    return max(here.total_variation(wide), min(1.0, AS_DISTANCE * float(grown.max())))


def block_means(row: np.ndarray, grid: Grid) -> np.ndarray:
    """The means of a row (cells,) over cells twice as wide."""
    shape = [n for cells in grid.shape for n in (cells // 2, 2)]
    mean: np.ndarray = row.reshape(shape).mean(tuple(range(1, 2 * grid.dim, 2))).ravel()
    return mean


def neighbours(inside: np.ndarray, grid: Grid) -> np.ndarray:
    """The cells (cells,) next to those that are inside."""
    mask = inside.reshape(grid.shape)
    near = np.zeros_like(mask)
    for axis in range(grid.dim):
        a, b = np.moveaxis(near, axis, 0), np.moveaxis(mask, axis, 0)
        a[1:] |= b[:-1]
        a[:-1] |= b[1:]
    return near.ravel()


def merged_energy(energy: Tensor, grid: Grid) -> Tensor:
    """U / kT of cells twice as wide: the free energy of their parts."""
    least = energy.min()
    mean = block_means(np.exp(-(energy - least).numpy().ravel()), grid)
    return least - torch.from_numpy(np.log(mean)).reshape(grid.coarser().shape)
