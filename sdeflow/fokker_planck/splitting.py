r"""Solve the Fokker-Planck equation by Strang splitting: transport, diffusion, transport.

One step from t to t + dt, with drift and diffusion at its middle, is X Y H Y X:

    X, Y    transport along one axis over dt / 2, semi-Lagrangian: `departure_points` and `remap`
    H       diffusion over dt, by `HeatKernel` where the noise is additive, else by `TRBDF2`

It is of second order in dt. Without noise there is no H, and the rest solves the continuity
equation of the probability flow.

Source: Strang 1968.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sdeflow.density import Density
from sdeflow.fokker_planck.cell_masses import CellMasses
from sdeflow.fokker_planck.transport import (
    TRBDF2,
    HeatKernel,
    departure_points,
    face_values,
    largest_change,
    remap,
)
from sdeflow.sdes.coefficients import checked_diffusion, checked_drift, constant_tensor
from sdeflow.sdes.sde import SDE


class StrangSplitting:
    """A density that moves under any SDE by steps over a time grid."""

    def __init__(self, sde: SDE, start: Density, time_grid: Tensor) -> None:
        self.sde, self.time_grid, self.cells = sde, time_grid, CellMasses(start)
        self.corners, self.centres = start.grid.corners(), start.grid.centres()
        # The drift (cells per step), dt and share of the step of the departure points.
        self.followed = np.empty(0), 0.0, 0.0
        # The end of a step is the start of the next: t, and g there.
        self.noise_at_end: tuple[float, Tensor] = math.nan, torch.empty(0)

    def masses(self, times: Tensor) -> dict[float, np.ndarray]:
        """The cell masses at those of `times` that the time grid holds."""
        wanted = set(times.tolist())
        kept = {float(self.time_grid[0]): self.cells.mass}
        for start, stop in pairwise(self.time_grid.tolist()):
            self._step(start, stop)
            if stop in wanted:
                kept[stop] = self.cells.mass
        return kept

    def _step(self, start: float, stop: float) -> None:
        """One step X Y H Y X."""
        cells, dt = self.cells, stop - start
        middle = torch.tensor((start + stop) / 2, dtype=torch.float64)
        heat = self._diffusion(start, stop, middle)
        self._follow(self._drift(middle), dt, 1.0 if heat is None else 0.5)
        courant = math.sqrt((cells.mass * self.change).sum() / cells.total)
        cells.courant = max(cells.courant, courant)
        x, y = self.departure_points[0], self.departure_points[-1]
        p = cells.columns
        if len(cells.shape) == 1:
            p = remap(p, x)
            p = p if heat is None else heat(p)
            p = remap(p, x)
        elif heat is None:
            p = remap(remap(remap(p, x).T, y).T, x)
        else:
            p = heat(remap(remap(p, x).T, y).T)
            p = remap(remap(p.T, y).T, x)
        cells.set(p)

    def _follow(self, drift: np.ndarray, dt: float, share: float) -> None:
        """Compute departure points and (L dt)^2 in each cell, unless drift and dt are unchanged.

        The points are for half a step along the first axis and `share` of a step along the second.
        """
        before, length, part = self.followed
        same = part == share and abs(length - dt) < 1e-9 * abs(dt)
        if same and np.array_equal(before, drift):
            return
        self.followed = drift, dt, share
        moved = [c * (dt / h) for c, h in zip(drift, self.cells.width, strict=True)]
        self.departure_points = [
            departure_points(face_values(c, i) * (share if i else 0.5))
            for i, c in enumerate(moved)
        ]
        self.change = largest_change(moved, self.cells.width) ** 2

    def _drift(self, t: Tensor) -> np.ndarray:
        """f at the corners, (d, n + 1, ...)."""
        f = checked_drift(self.sde.drift(self.corners.clone(), t), self.corners, t)
        rows = np.ascontiguousarray(f.numpy().T)
        return rows.reshape(-1, *(n + 1 for n in self.cells.shape))

    def _noise(self, x: Tensor, t: Tensor | float) -> Tensor:
        assert self.sde.diffusion is not None
        g = self.sde.diffusion(x.clone(), torch.as_tensor(t, dtype=torch.float64))
        return checked_diffusion(g, x, t)

    def _diffusion(self, start: float, stop: float, middle: Tensor) -> HeatKernel | TRBDF2 | None:
        """H over the step, exact where the noise does not depend on the state."""
        if self.sde.diffusion is None:
            return None
        cells, dt = self.cells, abs(stop - start)
        if self.sde.noises is not None:
            return self._heat_of_matrix(start, stop, middle)
        g = self._noise(self.centres, middle)
        if g.ndim == 0 or bool((g == g[0]).all()):
            # Simpson's rule: the heat kernel needs the integral of g^2 over the step.
            x = self.centres[:1]
            before, known = self.noise_at_end
            first = known if before == start else self._noise(x, start)
            self.noise_at_end = stop, self._noise(x, stop)
            ends = [each.reshape(-1) ** 2 for each in (first, self.noise_at_end[1])]
            g2 = (ends[0] + 4 * g.reshape(-1, g.shape[-1] if g.ndim else 1)[0] ** 2 + ends[1]) / 6
            spread = (g2 / 2).double().numpy() * dt / cells.width**2
            return HeatKernel(cells.shape, spread, cells.clip) if spread.any() else None
        size = g.double().reshape(*cells.shape, -1).abs().numpy()
        return TRBDF2(cells.width, size, dt, self.sde.calculus, cells.clip)

    def _heat_of_matrix(self, start: float, stop: float, middle: Tensor) -> HeatKernel | None:
        """H for g g^T that does not depend on the state, by Simpson's rule."""
        assert self.sde.diffusion is not None
        x, d = self.centres, len(self.cells.shape)
        total = np.zeros((d, d))
        for t, weight in ((start, 1 / 6), (middle, 4 / 6), (stop, 1 / 6)):
            when = torch.as_tensor(t, dtype=torch.float64)
            total += weight * constant_tensor(self.sde.diffusion(x.clone(), when), x, t)
        width = self.cells.width
        spread = total / 2 * abs(stop - start) / (width[:, None] * width)
        return HeatKernel(self.cells.shape, spread, self.cells.clip) if spread.any() else None
