"""Keep the cell masses of a run non-negative and their total constant, and count corrections."""

from __future__ import annotations

import math

import numpy as np

from sdeflow.density import Density
from sdeflow.fokker_planck.density_path import Diagnostics
from sdeflow.sdes.walls import Box


class CellMasses:
    """The mass in each cell of a density while it moves, and the diagnostics so far.

    Attributes:
        grid, shape, width: the cells.
        mass: in each cell now, in `shape`.
        total: the sum of the masses, kept constant.
        share: the error over the change by cells and steps twice as large: 1/3 for a scheme of
            second order, 1 for one of first order.
        negative_mass, boundary_mass, courant, mass_drift: as in `Diagnostics`.
    """

    def __init__(self, start: Density, walls: Box | None = None) -> None:
        self.grid, self.shape = start.grid, start.grid.shape
        self.width = np.array(start.grid.width)
        self.mass = start.mass.numpy().copy()
        self.total, self.share = self.mass.sum(), 1 / 3
        self.negative_mass = self.courant = self.mass_drift = 0.0
        # The layers of cells next to a wall of the SDE may hold any mass.
        self._layers = [(2, 2)] * len(self.shape)
        if walls is not None:
            axes = walls.axes(len(self.shape))
            self._layers = [(2 * math.isinf(a.low), 2 * math.isinf(a.high)) for a in axes]
        self.boundary_mass = self._near_boundary()

    @property
    def columns(self) -> np.ndarray:
        """The masses with two axes; on a grid of one axis, (n, 1)."""
        return self.mass if len(self.shape) == 2 else self.mass[:, None]

    def set(self, p: np.ndarray) -> None:
        """Replace the masses by p, with the total restored."""
        self.mass = self.restore(p).reshape(self.shape)
        self.measure_boundary()

    def measure_boundary(self) -> None:
        """Update `boundary_mass`, the largest mass near the boundary so far."""
        self.boundary_mass = max(self.boundary_mass, self._near_boundary())

    def restore(self, p: np.ndarray) -> np.ndarray:
        """p with its sum scaled to `total`; `mass_drift` is the largest correction so far."""
        factor = self.total / p.sum()
        self.mass_drift = max(self.mass_drift, abs(float(factor) - 1))
        return p * factor

    def clip(self, p: np.ndarray) -> np.ndarray:
        """p with negative masses set to zero and the total kept; `negative_mass` adds them up."""
        p = self.restore(p)
        negative = np.minimum(p, 0.0).sum()
        if negative == 0.0:
            return p
        self.negative_mass -= float(negative)
        p = np.maximum(p, 0.0)
        p *= self.total / p.sum()
        return p

    def take(self, p: np.ndarray) -> None:
        """Take p (cells,) for the new masses, whose total walls may have lowered."""
        total = p.sum()
        negative = np.minimum(p, 0.0).sum()
        if negative < 0.0:
            self.negative_mass -= float(negative)
            p = np.maximum(p, 0.0)
            p *= max(total, 0.0) / p.sum()
        self.mass, self.total = p.reshape(self.shape), float(p.sum())
        self.measure_boundary()

    def diagnostics(
        self, error: float, cells_per_feature: float, table_error: float
    ) -> Diagnostics:
        """All diagnostics of the run, of which three are computed elsewhere."""
        return Diagnostics(
            self.negative_mass,
            self.boundary_mass,
            self.courant,
            error,
            self.mass_drift,
            cells_per_feature,
            table_error,
        )

    def _near_boundary(self) -> float:
        sides = zip(self._layers, self.shape, strict=True)
        inner = self.mass[tuple(slice(low, n - high) for (low, high), n in sides)]
        return max(0.0, float(self.total - inner.sum()))
