r"""The law of a sampler: densities moved by its own Gaussian steps, not by the equation it solves.

A sampler does not follow the SDE. It takes K steps, each a Gaussian around a mean that the field
gives, and its particles have the law of *that* chain (Chapman and Kolmogorov),

    p_{k+1}(z) = int p_k(x) N(z; m_k(x), s_k^2 I) dx,

which differs from the law of the equation by the error of the steps and by nothing else: no
particle is drawn, so there is no sampling noise to see it through. Beside `evolve` it splits what
a cloud gets wrong into two, the steps' part and chance.

Masses sit at cell centres, are carried to m_k and laid down there as cubic B-splines; a cosine
transform adds the noise and takes off the shape that a spline has on the grid.

See docs/theory.md, (8.3).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.fft import dctn, idctn
from torch import Tensor

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
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.processes.time_grids import indices
from sdeflow.sdes.coefficients import checked_drift
from sdeflow.sdes.sde import SDE


def sampler_density(
    sde: SDE,
    density: Density,
    times: Tensor,
    save: Tensor | None = None,
    *,
    rescaling: Rescaling | None = None,
    estimate: bool = True,
    refuse: Diagnostics = REFUSE,
) -> DensityPath:
    r"""The law of the particles that Euler's method with *these* steps has, before any sampling.

    p_{k+1}(z) = int p_k(x) N(z; m_k(x), s_k^2 I) dx,   m_k(x) = x + drift dt,   s_k = g sqrt(dt),

    with drift and noise from `sde.stepped(times, x)`, the very object that a solver steps with: so
    `reverse` gives Euler and Maruyama's method, `bridge` DDPM, DDIM-eta and DDIM. Cell centres are
    carried to m_k and laid down as cubic B-splines; a cosine transform adds the noise and takes
    off the shape that a spline has on the grid, so that a step which moves nothing changes
    nothing. The error is of fourth order in the cell.

    Args:
        sde, times: what the solver is given; times (K + 1,) in the law's direction.
        density: the law at times[0]. save: which of `times` to keep, by default both ends.
        ruler, estimate, refuse: as in `evolve`; the estimate is a third of the difference to cells
            twice as wide, the steps being what they are.

    Raises:
        TypeError, ValueError: at the door, in one sentence; noise that depends on the state.
        SdeflowError: a guard was violated, or the drift went NaN or infinite.
    """
    check_nouns(sde, density, rescaling)
    times = sde.check_times(times)
    save = times[[0, -1]] if save is None else sde.check_times(save, "save")
    stops = indices(save, times, "save time")
    sizes = [1.0] * len(times) if rescaling is None else [rescaling(t) for t in times]
    start = density.scaled(1 / sizes[0])
    with torch.no_grad():
        run = _Chain(sde, start, times, sizes)
        kept = run.through(stops)
        errors: list[float | None] = [None] * len(stops)
        if estimate and halves(density.grid):
            rough = _Chain(sde, start.coarsen(), times, sizes).through(stops)
            errors = [a.coarsen().total_variation(b) / 3 for a, b in zip(kept, rough, strict=True)]
    error = math.nan if errors[0] is None else max(e for e in errors if e is not None)
    out = tuple(
        replace(p.scaled(sizes[k]), error=e) for p, k, e in zip(kept, stops, errors, strict=True)
    )
    cells = coarseness(start.grid, rescaling, save)
    diagnostics = Diagnostics(
        run.negative_mass, run.boundary_mass, error=error, cells_per_feature=cells
    )
    return DensityPath(save, out, warn_or_refuse(diagnostics, refuse))


class _Chain:
    """A density on its way through a sampler's steps; the state is p at the centres times h^d."""

    def __init__(self, sde: SDE, start: Density, times: Tensor, sizes: list[float]) -> None:
        self.start, self.sizes, self.count = start, sizes, len(times) - 1
        self.shape, self.grid = start.grid.shape, start.grid
        self.y = start.grid.centres()
        self.law = sde.stepped(times, self.y)
        angles = [np.pi * np.arange(n) / n for n in self.shape]  # k h
        self.square = [a**2 for a in angles]
        box = [np.sinc(a / (2 * np.pi)) for a in angles]
        self.cell = _outer(box)
        # The spline as it is on the grid. Its continuous transform, box^4, in this place is up to
        # four times less accurate (measured), and grows without noise to hold it.
        self.spline = _outer([(2 + np.cos(a)) / 3 for a in angles])
        self.whole = start.total()
        self.negative_mass = self.boundary_mass = 0.0

    def through(self, stops: list[int]) -> list[Density]:
        kept = {0: self.start}
        p = idctn(dctn(self.start.mass.numpy(), norm="ortho") / self.cell, norm="ortho")
        for k in range(max(stops)):
            p = self._step(k, p)
            if k + 1 in stops:
                kept[k + 1] = self._cells(p)
        return [kept[k] for k in stops]

    def _step(self, k: int, p: np.ndarray) -> np.ndarray:
        x = self.sizes[k] * self.y
        move = checked_drift(self.law.drift(k, 0.0, x), x, self.law.time(k, 0.0))
        noise = self.law.diffusion(k, 0.0, x)
        s = 0.0 if noise is None else float(self._one(noise)) / self.sizes[k + 1]
        laid = self._lay(((x + move) / self.sizes[k + 1]).numpy(), p.ravel())
        blur = [(s / h) ** 2 / 2 for h in self.grid.width]
        heat = _outer([np.exp(-a * k2) for a, k2 in zip(blur, self.square, strict=True)])
        out: np.ndarray = idctn(dctn(laid, norm="ortho") * (heat / self.spline), norm="ortho")
        return out

    @staticmethod
    def _one(noise: Tensor | float) -> Tensor:
        g = torch.as_tensor(noise)
        if g.ndim and not bool((g == g.reshape(-1)[0]).all()):
            raise ValueError(
                "the noise depends on the state or the axis, so this sampler's step is not round; "
                "compare its particles with `evolve` instead"
            )
        return g.reshape(-1)[0]

    def _lay(self, z: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Cubic B-splines of masses p at z (cells, d), folded back at the walls."""
        index, weight = [], []
        outside = np.zeros(len(p), dtype=bool)
        for i, n in enumerate(self.shape):
            at = (z[:, i] - self.grid.low[i]) / self.grid.width[i] - 0.5
            outside |= (at < -0.5) | (at > n - 0.5)
            at = np.clip(at, -0.5, n - 0.5)
            base = np.floor(at).astype(np.int64)
            u = at - base
            weight.append(
                [(1 - u) ** 3 / 6, (4 - 3 * u**2 * (2 - u)) / 6,
                 (1 + 3 * u * (1 + u * (1 - u))) / 6, u**3 / 6]
            )  # fmt: skip
            cells = [base + j - 1 for j in range(4)]
            index.append(
                [np.where(c < 0, -1 - c, np.where(c >= n, 2 * n - 1 - c, c)) for c in cells]
            )
        self.boundary_mass = max(self.boundary_mass, float(abs(p[outside]).sum()))
        size = math.prod(self.shape)
        out = np.zeros(size)
        for i0, w0 in zip(index[0], weight[0], strict=True):
            if len(self.shape) == 1:
                out += np.bincount(i0, w0 * p, size)
                continue
            row, part = i0 * self.shape[1], w0 * p
            for i1, w1 in zip(index[1], weight[1], strict=True):
                out += np.bincount(row + i1, part * w1, size)
        return out.reshape(self.shape)

    def _cells(self, p: np.ndarray) -> Density:
        """Cell masses from the values at the centres."""
        mass = idctn(dctn(p, norm="ortho") * self.cell, norm="ortho")
        self.negative_mass = max(self.negative_mass, -float(np.minimum(mass, 0.0).sum()))
        mass = np.maximum(mass, 0.0)
        mass *= self.whole / mass.sum()
        layers = mass[tuple(slice(2, -2) for _ in self.shape)]
        self.boundary_mass = max(self.boundary_mass, self.whole - float(layers.sum()))
        return Density(self.grid, torch.from_numpy(mass))


def _outer(rows: list[np.ndarray]) -> np.ndarray:
    return rows[0] if len(rows) == 1 else rows[0][:, None] * rows[1]
