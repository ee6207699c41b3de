r"""Densities in motion: the Fokker-Planck equation of any law, on a grid.

    dp/dt = -div(f p) + (1/2) sum_i d_i d_i (g_i^2 p)                          (Ito; forward in t)

A law that runs down in t spreads as t falls; everything here is told in the order of the run.

`evolve` splits each step as X Y H Y X. X and Y move cell masses along one axis each, over half the
step; H is the diffusion, exact where the noise does not depend on the state (`transport` has all
three). Frozen at its middle the step is of second order. Without noise H drops out and the rest
is the continuity equation of the probability flow.

A law that is affine along each axis, with noise of time alone, is not stepped at all: its kernel
is a Gaussian known in closed form, one remap and one H (`affine`). A `ruler` lets the grid
breathe with the cloud. What comes back is a `history` with its guards, one of which is the run
again with cells and steps twice as large.

Beside it stand two more ways to move a density: `chapman_kolmogorov` by a sampler's own steps,
and `master_equation` by rates between cells, for laws that do not change in time.

See docs/theory.md, (8.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.density import Density
from sdeflow.fokker_planck.density_path import (
    REFUSE,
    DensityPath,
    Diagnostics,
    check_nouns,
    coarseness,
    halves,
    warn_or_refuse,
)
from sdeflow.fokker_planck.linear import TransitionKernel, transition_kernels
from sdeflow.fokker_planck.rescaling import Rescaling, rescale
from sdeflow.fokker_planck.transport import TRBDF2, HeatKernel, departure_points, remap
from sdeflow.sdes.coefficients import checked_drift, checked_noise
from sdeflow.sdes.sde import SDE


def evolve(
    sde: SDE,
    density: Density,
    times: Tensor,
    *,
    steps: int = 200,
    grid: Tensor | None = None,
    rescaling: Rescaling | None = None,
    estimate: bool = True,
    refuse: Diagnostics = REFUSE,
) -> DensityPath:
    r"""The density at each of `times`, the first of which is the time of the one given.

    dp/dt = -div(f p) + (1/2) sum_i d_i d_i (g_i^2 p), second order in the cells and in the steps.
    A law that is seen to be affine along each axis goes by its own kernel, exact in time.

    Args:
        sde: any law of ours; noise (), (d,) or (n, d), Ito or Stratonovich, or none.
        density: the law at times[0]. Mass that it lacks stays outside.
        times: (T,) within the law's span, in its direction.
        steps: of the law's own clock (the ruler's, where there is one) over its whole span; the
            times asked for are added.
        grid: (K + 1,) times to step on instead, whatever the law.
        ruler: lets the grid breathe: at t it is the given one times s(t) / s(times[0]).
        estimate: run also with cells and steps twice as large (an eighth of the work), and keep a
            third of the difference in each density's `error`; it warns where cells cannot be
            merged two by two.
        refuse: where the guards stop; they warn at `WARN`.

    Raises:
        TypeError, ValueError: at the door, in one sentence.
        SdeflowError: a guard was violated, or the drift went NaN or infinite.
    """
    check_nouns(sde, density, rescaling)
    times = sde.check_times(times)
    check_int(steps, "steps")
    grid = None if grid is None else sde.check_times(grid, "grid")
    if rescaling is None:
        law, clock, sizes = sde, times, [1.0] * len(times)
    else:
        law, clock = rescale(sde, rescaling), rescaling.rescaled_time(times)
        sizes, grid = (
            [rescaling(t) for t in times],
            None if grid is None else rescaling.rescaled_time(grid),
        )
    start = density.scaled(1 / sizes[0])
    with torch.no_grad():
        legs = transition_kernels(law, start.grid, clock) if grid is None else None
        stops = clock if legs else _merged(clock, law.times(steps) if grid is None else grid)
        rough_stops = torch.cat([stops[:-1:2], stops[-1:]])
        if rescaling is not None and not legs:
            middles = [(u[1:] + u[:-1]) / 2 for u in (stops, rough_stops)]
            law = rescale(sde, rescaling, torch.cat([stops, *middles]))
        run = _Run(law, start)
        kept = run.carried(legs, clock) if legs else run.through(stops, clock)
        errors: Sequence[float | None] = [None] * len(times)
        if estimate and halves(density.grid):
            twice = _Run(law, start.coarsen())
            rough = twice.carried(legs, clock) if legs else twice.through(rough_stops, clock)
            errors = _errors(kept, rough, clock)
    error = math.nan if errors[0] is None else max(e for e in errors if e is not None)
    diagnostics = replace(
        run.diagnostics(error), cells_per_feature=coarseness(start.grid, rescaling, times)
    )
    out = tuple(
        Density(start.grid.scaled(s), torch.from_numpy(kept[u]), error)
        for s, u, error in zip(sizes, clock.tolist(), errors, strict=True)
    )
    return DensityPath(times, out, warn_or_refuse(diagnostics, refuse))


def _merged(times: Tensor, clock: Tensor) -> Tensor:
    """The clock between the first and the last of `times`, and `times`."""
    low, high = times.aminmax()
    inside = clock[(clock > low) & (clock < high)]
    if len(inside):
        near = (inside[:, None] - times).abs().min(1).values
        inside = inside[near > 1e-9 * (high - low)]
    falls = bool(times[0] > times[-1])
    return torch.cat([inside, times]).sort(descending=falls).values


def _errors(
    fine: dict[float, np.ndarray], rough: dict[float, np.ndarray], times: Tensor
) -> list[float]:
    """A third of the total variation where both runs stopped, interpolated between those."""
    at, values = [], []
    for t in rough:
        a, b = fine[t], rough[t]
        n = b.shape
        blocks = a.reshape([m for cells in n for m in (cells, 2)])
        merged = blocks.sum(tuple(range(1, 2 * len(n), 2)))
        at.append(t)
        values.append(abs(merged - b).sum() / 6)
    order = np.argsort(at)
    return np.interp(times.numpy(), np.array(at)[order], np.array(values)[order]).tolist()


class _Run:
    """One density on its way: the state, and what the guards count."""

    def __init__(self, law: SDE, start: Density) -> None:
        self.law, self.grid = law, start.grid
        self.mass = start.mass.numpy().copy()
        self.whole = self.mass.sum()
        self.shape = start.grid.shape
        self.h = np.array(start.grid.width)
        self.corners, self.centres = start.grid.corners(), start.grid.centres()
        self.negative_mass = self.courant = self.mass_drift = 0.0
        self.boundary_mass = self._at_the_wall()
        self.last = np.empty(0), 0.0, 0.0  # drift, dt and part of the step that `feet` are for

    def diagnostics(self, error: float) -> Diagnostics:
        return Diagnostics(
            self.negative_mass, self.boundary_mass, self.courant, error, self.mass_drift
        )

    def through(self, stops: Tensor, times: Tensor) -> dict[float, np.ndarray]:
        """Step from stop to stop; the masses at those that are among `times`."""
        wanted = set(times.tolist())
        kept = {float(stops[0]): self.mass}
        for start, stop in pairwise(stops.tolist()):
            self._step(start, stop)
            if stop in wanted:
                kept[stop] = self.mass
        return kept

    def carried(
        self, legs: list[list[TransitionKernel]], times: Tensor
    ) -> dict[float, np.ndarray]:
        """From each of `times` to the next by these kernels; the masses at all of them."""
        kept = {float(times[0]): self.mass}
        for stop, leg in zip(times[1:].tolist(), legs, strict=True):
            for kernel in leg:
                self._carry(kernel)
            kept[stop] = self.mass
        return kept

    def _carry(self, kernel: TransitionKernel) -> None:
        """X Y H, and no more. What the walls stop is counted before it spreads back."""
        p = self.mass if len(self.shape) == 2 else self.mass[:, None]
        for i, (grow, shift) in enumerate(zip(kernel.grow, kernel.shift, strict=True)):
            if grow == 1.0 and shift == 0.0:
                continue
            faces = self.grid.edges(i).numpy()
            x = ((faces - shift) / grow - faces[0]) / self.h[i]
            line = np.clip(x, 0.0, self.shape[i])[:, None]
            p = remap(p, line) if i == 0 else remap(p.T, line).T
        self.mass = self._whole(p).reshape(self.shape)
        self.boundary_mass = max(self.boundary_mass, self._at_the_wall())
        if kernel.spread.any():
            heat = HeatKernel(self.shape, kernel.spread / 2 / self.h**2, self.clip)
            self.mass = heat(p).reshape(self.shape)
            self.boundary_mass = max(self.boundary_mass, self._at_the_wall())

    def _step(self, start: float, stop: float) -> None:
        """X Y H Y X."""
        dt = stop - start
        middle = torch.tensor((start + stop) / 2, dtype=torch.float64)
        heat = self._heat(start, stop, middle)
        self._follow(self._drift(middle), dt, 1.0 if heat is None else 0.5)
        self.courant = max(self.courant, math.sqrt((self.mass * self.change).sum() / self.whole))
        x, y = self.departure_points[0], self.departure_points[-1]
        p = self.mass if len(self.shape) == 2 else self.mass[:, None]
        if len(self.shape) == 1:
            p = remap(p, x)
            p = p if heat is None else heat(p)
            p = remap(p, x)
        elif heat is None:
            p = remap(remap(remap(p, x).T, y).T, x)
        else:
            p = heat(remap(remap(p, x).T, y).T)
            p = remap(remap(p.T, y).T, x)
        self.mass = self._whole(p).reshape(self.shape)
        self.boundary_mass = max(self.boundary_mass, self._at_the_wall())

    def _follow(self, drift: np.ndarray, dt: float, across: float) -> None:
        """The faces' feet over half a step along the first axis and `across` of one along the
        second, and the square of L dt in each cell. A law that stands still keeps its feet.
        """
        before, length, part = self.last
        same = part == across and abs(length - dt) < 1e-9 * abs(dt)
        if same and np.array_equal(before, drift):
            return
        self.last = drift, dt, across
        moved = [c * (dt / h) for c, h in zip(drift, self.h, strict=True)]
        self.departure_points = [
            departure_points(self._faces(c, i) * (across if i else 0.5))
            for i, c in enumerate(moved)
        ]
        self.change = self._largest_change(moved) ** 2

    def _drift(self, t: Tensor) -> np.ndarray:
        """f at the corners, (d, n + 1, ...)."""
        f = checked_drift(self.law.drift(self.corners, t), self.corners, t)
        rows = np.ascontiguousarray(f.numpy().T)
        return rows.reshape(-1, *(n + 1 for n in self.shape))

    def _faces(self, c: np.ndarray, axis: int) -> np.ndarray:
        """c at the corners, taken to the faces across `axis`, (n + 1, m), that axis first."""
        if c.ndim == 1:
            return c[:, None].copy()
        c = c if axis == 0 else c.T
        out = np.empty((c.shape[0], c.shape[1] - 1))
        out[:, 1:-1] = (9 * (c[:, 1:-2] + c[:, 2:-1]) - c[:, :-3] - c[:, 3:]) / 16
        out[:, 0] = (3 * c[:, 0] + 6 * c[:, 1] - c[:, 2]) / 8
        out[:, -1] = (3 * c[:, -1] + 6 * c[:, -2] - c[:, -3]) / 8
        return out

    def _largest_change(self, moved: list[np.ndarray]) -> np.ndarray:
        """max |d_j f_i| dt in each cell, from f_i dt at the corners, in cells."""
        largest = np.zeros(self.shape)
        for i, c in enumerate(moved):
            for j, h in enumerate(self.h):
                change = abs(np.diff(c, axis=j)) * (self.h[i] / h)
                if len(moved) == 2:
                    change = change.swapaxes(0, j)
                    change = ((change[:, :-1] + change[:, 1:]) / 2).swapaxes(0, j)
                np.maximum(largest, change, out=largest)
        return largest

    def _at_the_wall(self) -> float:
        inner = self.mass[tuple(slice(2, -2) for _ in self.shape)]
        return max(0.0, float(self.whole - inner.sum()))

    def _noise(self, x: Tensor, t: Tensor | float) -> Tensor:
        noise = self.law.diffusion
        assert noise is not None
        g = noise(x, torch.as_tensor(t, dtype=torch.float64))
        return checked_noise(g, x, t)

    def _heat(self, start: float, stop: float, middle: Tensor) -> HeatKernel | TRBDF2 | None:
        """The diffusion over the step: exact where it does not depend on the state."""
        if self.law.diffusion is None:
            return None
        g = self._noise(self.centres, middle)
        if g.ndim == 0 or bool((g == g[0]).all()):
            # Simpson, because the integral of g^2 over the step is what spreads.
            x = self.centres[:1]
            ends = [self._noise(x, t).reshape(-1) ** 2 for t in (start, stop)]
            g2 = (ends[0] + 4 * g.reshape(-1, g.shape[-1] if g.ndim else 1)[0] ** 2 + ends[1]) / 6
            spread = (g2 / 2).double().numpy() * abs(stop - start) / self.h**2
            return HeatKernel(self.shape, spread, self.clip) if spread.any() else None
        size = g.double().reshape(*self.shape, -1).abs().numpy()
        return TRBDF2(self.h, size, abs(stop - start), self.law.calculus, self.clip)

    def clip(self, p: np.ndarray) -> np.ndarray:
        """Set negative masses to zero, count them, and keep the total."""
        p = self._whole(p)
        negative = np.minimum(p, 0.0).sum()
        if negative == 0.0:
            return p
        self.negative_mass -= float(negative)
        p = np.maximum(p, 0.0)
        p *= self.whole / p.sum()
        return p

    def _whole(self, p: np.ndarray) -> np.ndarray:
        """p with its total put right, and by how much."""
        factor = self.whole / p.sum()
        self.mass_drift = max(self.mass_drift, abs(float(factor) - 1))
        return p * factor
