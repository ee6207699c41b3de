r"""Compute the density that the particles of a sampler have after its finite steps.

A sampler does not solve its SDE exactly. It takes K steps, each of which draws from a Gaussian
around a mean that depends on the field. The density of this Markov chain obeys the
Chapman-Kolmogorov equation

    p_{k+1}(z) = int p_k(x) N(z; m_k(x), s_k^2 I) dx.

No particle is drawn, so the difference to the density of the SDE (`evolve`) is the error of the
finite steps alone.

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
from sdeflow.fokker_planck.arguments import check_arguments, on_axes_of
from sdeflow.fokker_planck.density_path import (
    REFUSE,
    DensityPath,
    Diagnostics,
    can_be_coarsened,
    cells_per_feature,
    check_diagnostics,
)
from sdeflow.fokker_planck.field_table import ROUNDING, with_fewer_levels
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.processes.time_grids import indices
from sdeflow.sdes.coefficients import check_each_alone, checked_drift
from sdeflow.sdes.requirements import check_chain
from sdeflow.sdes.sde import SDE, Times


def sampler_density(
    sde: SDE,
    density: Density,
    times: Times,
    save: Times | None = None,
    *,
    rescaling: Rescaling | None = None,
    estimate: bool = True,
    refuse: Diagnostics = REFUSE,
) -> DensityPath:
    r"""The density of a sampler's particles after Euler steps at these times.

        p_{k+1}(z) = int p_k(x) N(z; m_k(x), s_k^2 I) dx,
        m_k(x) = x + drift dt,    s_k = g sqrt(dt)

    Drift and noise are those of the solver, `sde.stepped(times, x)`: of the Euler-Maruyama method
    for `reverse`, of DDPM and DDIM for `ancestral`. The error is of fourth order in the cell
    width. A sampler has no walls, so mass that reaches those of the grid is an error; if `refuse`
    allows it, that mass stays there.

    Args:
        sde: as given to the solver.
        density: at times[0].
        times: (K + 1,) as given to the solver, in the SDE's direction.
        save: which of `times` to keep, by default both ends.
        rescaling, estimate, refuse: as in `evolve`. The estimate is a third of the difference to
            cells twice as wide, with the same steps. A `FieldTable` is used at the centres of the
            cells only if they are corners of its grid.

    Raises:
        ValueError: the noise depends on the state or the axis.
        SdeflowError: a diagnostic is above `refuse`, or the drift is NaN or infinite.
    """
    check_arguments(sde, density, rescaling, refuse)
    check_chain(sde, "the sampler's density")
    times = sde.check_times(times)
    save = times[[0, -1]] if save is None else sde.check_times(save, "save")
    stops = indices(save, times, "save time")
    scales = [1.0] * len(times) if rescaling is None else [rescaling(t) for t in times]
    start = density.scaled(1 / scales[0])
    with torch.no_grad(), on_axes_of(density.grid):
        check_each_alone(sde, density.grid.centres(), float(times[0]))
        chain = _Chain(sde, start, times, scales)
        kept = chain.through(stops)
        errors: list[float | None] = [None] * len(stops)
        table_error = math.nan
        if estimate and can_be_coarsened(density.grid):
            rough = _Chain(sde, start.coarsen(), times, scales).through(stops)
            errors = [a.coarsen().total_variation(b) / 3 for a, b in zip(kept, rough, strict=True)]
            if (fewer := with_fewer_levels(sde)) is not None:
                half = _Chain(fewer, start.coarsen(), times, scales).through(stops)
                table_error = max(map(Density.total_variation, rough, half)) + ROUNDING
    error = math.nan if errors[0] is None else max(e for e in errors if e is not None)
    out = tuple(
        replace(p.scaled(scales[k]), error=e) for p, k, e in zip(kept, stops, errors, strict=True)
    )
    cells = cells_per_feature(start.grid, rescaling, save)
    diagnostics = Diagnostics(
        chain.negative_mass, chain.boundary_mass, error=error, cells_per_feature=cells,
        table_error=table_error,
    )  # fmt: skip
    return DensityPath(save, out, check_diagnostics(diagnostics, refuse))


class _Chain:
    """A density that moves by the steps of a sampler.

    The state is p at the centres times h^d. One step moves it to m_k, spreads it there over the
    cells by cubic B-splines, and in a cosine transform adds the noise and divides by the
    transform of the spline. So a step without drift or noise changes nothing.
    """

    def __init__(self, sde: SDE, start: Density, times: Tensor, scales: list[float]) -> None:
        self.start, self.scales = start, scales
        self.shape, self.grid = start.grid.shape, start.grid
        self.y = start.grid.centres()
        self.stepped = sde.stepped(times, self.y)
        angles = [np.pi * np.arange(n) / n for n in self.shape]  # k h
        self.square = [a**2 for a in angles]
        box = [np.sinc(a / (2 * np.pi)) for a in angles]
        self.cell = _outer(box)
        # The transform of the sampled spline. The continuous one, box^4, is up to four times less
        # accurate (measured), and unstable without noise.
        self.spline = _outer([(2 + np.cos(a)) / 3 for a in angles])
        self.total = start.total()
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
        x = self.scales[k] * self.y
        move = checked_drift(self.stepped.drift(k, 0.0, x.clone()), x, self.stepped.time(k, 0.0))
        noise = self.stepped.diffusion(k, 0.0, x)
        s = 0.0 if noise is None else float(self._one(noise)) / self.scales[k + 1]
        moved = self._spread(((x + move) / self.scales[k + 1]).numpy(), p.ravel())
        blur = [(s / h) ** 2 / 2 for h in self.grid.width]
        heat = _outer([np.exp(-a * k2) for a, k2 in zip(blur, self.square, strict=True)])
        out: np.ndarray = idctn(dctn(moved, norm="ortho") * (heat / self.spline), norm="ortho")
        return out

    @staticmethod
    def _one(noise: Tensor | float) -> Tensor:
        g = torch.as_tensor(noise)
        if g.ndim and not bool((g == g.reshape(-1)[0]).all()):
            raise ValueError(
                "the noise depends on the state or the axis, but `sampler_density` needs the same "
                "noise everywhere; compare the particles with `evolve` instead"
            )
        return g.reshape(-1)[0]

    def _spread(self, z: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The sum of cubic B-splines of masses p at z (cells, d).

        Masses beyond a wall are moved to it; a part of a spline beyond a wall is reflected.
        """
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
        mass *= self.total / mass.sum()
        layers = mass[tuple(slice(2, -2) for _ in self.shape)]
        self.boundary_mass = max(self.boundary_mass, self.total - float(layers.sum()))
        return Density(self.grid, torch.from_numpy(mass))


def _outer(rows: list[np.ndarray]) -> np.ndarray:
    return rows[0] if len(rows) == 1 else rows[0][:, None] * rows[1]
