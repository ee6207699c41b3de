r"""Densities in motion: the Fokker-Planck equation of any law, on a grid.

    dp/dt = -div(f p) + (1/2) sum_i d_i d_i (g_i^2 p)                          (Ito; forward in t)

A law that runs down in t spreads as t falls; everything here is told in the order of the run.

`evolve` splits each step as X Y H Y X. X and Y move cell masses along one axis each, over half the
step: characteristics are followed back from the faces and the cumulative mass is read there from a
monotone cubic, so mass is kept exactly, never negative, at any Courant number (PPM; Colella and
Woodward 1984). H is the heat semigroup, exact by the cosine transform; where the noise depends on
the state it is one TR-BDF2 solve per axis. Frozen at its middle the step is of second order. No
linear scheme of order above one is positive (Bolley and Crouzeix 1978): what H makes negative is
set to zero and *counted*, and that count is the alarm for a grid too coarse. Without noise H drops
out and the rest is the continuity equation of the probability flow.

A law that is affine along each axis, with noise of time alone, is not stepped at all: its kernel
is a Gaussian known in closed form, one remap and one H (`kernels`).

`Ruler` lets the grid breathe with the cloud, so that every process lives in one box. `sampler_law`
moves the density by a sampler's own Gaussian steps (Chapman-Kolmogorov): the law of the particles
before any sampling noise. `generator` is the sparse matrix of a law that does not change in time
(exponential fitting: Scharfetter and Gummel 1969; Chang and Cooper 1970): stationary states, mean
first-passage times, relaxation rates.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, overload

import numpy as np
import scipy.sparse
import torch
from numpy.polynomial import legendre
from scipy.fft import dctn, idctn
from scipy.linalg import solve_banded
from scipy.sparse import linalg
from torch import Tensor

from sdeflow import door
from sdeflow.density import Density, Grid
from sdeflow.door import SdeflowError
from sdeflow.process import Process
from sdeflow.sde import SDE

CURVE = 0.5  # largest |dt grad f| of one Runge-Kutta step along a characteristic
PARTS = 300  # of a span, at most, that the integrals of an affine law are read in
NODES, WEIGHTS = legendre.leggauss(8)
SERIES = np.linalg.inv(legendre.legvander(NODES, 7))  # from values at the nodes
UP_TO = legendre.legval(NODES, legendre.legint(SERIES, lbnd=-1)).T  # integrals from -1 to a node


# ------------------------------------------------------------------------------- a breathing grid


@dataclass(frozen=True)
class Ruler:
    r"""s(t) = sqrt(alpha^2 std^2 + sigma^2), the size of the cloud, by which a grid may breathe,
    and its clock u = ln(rho^2 + width^2) / 2, rho = sigma / alpha.

    In y = x / s every process lives in one box: VE in these units is VP. On the clock u a feature
    of the data that is `width` wide always relaxes at the same rate.

    Args:
        process: of the law.
        std: of the data, per coordinate, about the origin; or the scale that the box is meant for.
        width: standard deviation of the narrowest feature of the data; 0: uniform in log SNR.
    """

    process: Process
    std: float = 1.0
    width: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that are none."""
        door.positive(self.std, "std")
        door.positive(self.width, "width", zero=True)

    def __call__(self, t: Tensor | float) -> float:
        """s(t)."""
        return float(self.reading(torch.as_tensor(t, dtype=torch.float64))[0])

    def reading(self, t: Tensor) -> Tensor:
        """s, d ln s / dt and du / dt = (d rho^2 / dt) / (2 (rho^2 + width^2)), (3, *t.shape)."""
        c = self.process(t)
        square = (c.alpha * self.std) ** 2 + c.sigma**2
        grown = c.alpha * c.alpha_dot * self.std**2 + c.sigma * c.sigma_dot
        pace = c.sigma * c.stretch / (c.sigma**2 + (c.alpha * self.width) ** 2)
        return torch.stack([torch.sqrt(square), grown / square, pace])

    def feature(self, t: Tensor) -> Tensor:
        """sqrt(alpha^2 width^2 + sigma^2): the narrowest standard deviation in the cloud at t."""
        c = self.process(t)
        return torch.hypot(c.alpha * self.width, c.sigma)

    def clock(self, t: Tensor) -> Tensor:
        """u of t."""
        return torch.log(torch.exp(-self.process.log_snr(t)) + self.width**2) / 2

    def time(self, u: Tensor) -> Tensor:
        """t of u, within the process's interval."""
        level = torch.exp(2 * u) - self.width**2
        t = self.process.time(-torch.log(level.clamp_min(1e-300)))
        return t.clamp(self.process.t_min, self.process.t_max)


def normalised(sde: SDE, ruler: Ruler, at: Tensor | None = None) -> SDE:
    r"""The same law in y = x / s(t), on the ruler's clock u.

    dy = [f(s y, t) / s - (s_dot / s) y] (dt / du) du + g(s y, t) / s sqrt(dt / du) dW.

    Args:
        at: (K,) values of u that will be asked for: what depends on them alone is worked out now.

    Raises:
        ValueError: the law's span leaves the interval of the ruler's process.
    """
    low, high = sorted((sde.t_start, sde.t_end))
    p = ruler.process
    slack = 1e-9 * p.t_max
    if low < p.t_min - slack or high > p.t_max + slack:
        raise ValueError(
            f"the law runs between {low:g} and {high:g}, outside [{p.t_min:g}, {p.t_max:g}] of "
            "the ruler's process; give the ruler the process of this law"
        )
    noise = sde.diffusion
    table: dict[float, tuple[Tensor, list[float]]] = {}

    def work_out(u: Tensor) -> None:
        t = ruler.time(u)
        table.update(
            zip(u.tolist(), zip(t, ruler.reading(t).T.tolist(), strict=True), strict=True)
        )

    def look_up(u: Tensor) -> tuple[Tensor, list[float]]:
        if float(u) not in table:
            work_out(u.detach().double().reshape(1))
        return table[float(u)]

    def drift(y: Tensor, u: Tensor) -> Tensor:
        t, (s, growth, pace) = look_up(u)
        return sde.drift(s * y, t) / (s * pace) - (growth / pace) * y

    def diffusion(y: Tensor, u: Tensor) -> Tensor:
        assert noise is not None
        t, (s, _, pace) = look_up(u)
        return noise(s * y, t) / (s * math.sqrt(pace))

    if at is not None:
        work_out(at)
    ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64).clamp(p.t_min, p.t_max)
    first, last = ruler.clock(ends).tolist()
    return SDE(drift, None if noise is None else diffusion, first, last, calculus=sde.calculus)


# --------------------------------------------------------------------------------- what comes back


@dataclass(frozen=True)
class Guards:
    """What a run of a density has to confess.

    Attributes:
        clipped: negative mass that was set to zero, over the whole run: cells too wide.
        wall: the largest mass that ever lay in the two outermost layers of cells, or that a
            sampler's step carried out of the box: a box too small.
        stretch: the largest root mean square of L dt, L = max |d_j f_i|: steps too long (the
            total variation is about 0.065 stretch^2).
        error: the largest estimate of the total variation, from the same run with cells and steps
            twice as large; NaN where none was made.
        drifted: the largest relative change of the total mass over a step, before it was put
            right: rounding.
        cells: the widest cell over the narrowest feature that the ruler tells of, at the worst of
            the times asked for; NaN where it tells of none.
    """

    clipped: float = 0.0
    wall: float = 0.0
    stretch: float = 0.0
    error: float = math.nan
    drifted: float = 0.0
    cells: float = math.nan


WARN = Guards(clipped=1e-6, wall=1e-5, stretch=0.5, error=0.02, drifted=1e-11, cells=1.0)
REFUSE = Guards(clipped=1e-4, wall=1e-3, stretch=1.5, error=0.05, drifted=1e-9, cells=1.0)
CURES = {
    "clipped": "{:.1e} of the mass came out negative and was set to zero: the grid does not "
    "resolve this density; use finer cells, or a smaller box",
    "wall": "{:.1e} of the mass reached the wall of the grid; use a larger box, or a ruler",
    "stretch": "the drift changes by {:.2g} of itself over one step (L dt); use more steps",
    "error": "twice the cell and twice the step change the density by a total variation of about "
    "3 x {:.2g}; use finer cells or more steps",
    "drifted": "a step changed the total mass by {:.1e} of itself; report this as a fault of ours",
    "cells": "the cells are {:.2g} times as wide as the narrowest feature, by the ruler's width; "
    "use finer cells",
}


@dataclass(frozen=True, eq=False)
class History(Sequence[Density]):
    """A density at several times, in the order of the run: a sequence of `Density`.

    Attributes:
        t: (T,) times.
        densities: one per time.
        guards: what the run has to confess.
    """

    t: Tensor
    densities: tuple[Density, ...]
    guards: Guards

    def __len__(self) -> int:
        """T."""
        return len(self.densities)

    @overload
    def __getitem__(self, k: int) -> Density: ...
    @overload
    def __getitem__(self, k: slice) -> tuple[Density, ...]: ...
    def __getitem__(self, k: int | slice) -> Density | tuple[Density, ...]:
        """The density at t[k]."""
        return self.densities[k]

    def __iter__(self) -> Iterator[Density]:
        """In the order of the run."""
        return iter(self.densities)


def _judged(guards: Guards, refuse: Guards) -> Guards:
    """Raise with the number that is out of bounds, or warn with it."""
    for name, cure in CURES.items():
        value, limit = getattr(guards, name), getattr(refuse, name)
        if value > limit:
            raise SdeflowError(f"{cure.format(value)} (refused above {limit:g})")
    for name, cure in CURES.items():
        value = getattr(guards, name)
        if value > getattr(WARN, name):
            warnings.warn(cure.format(value), RuntimeWarning, stacklevel=3)
    return guards


# ------------------------------------------------------------------------------------------ evolve


def evolve(
    sde: SDE,
    density: Density,
    times: Tensor,
    *,
    steps: int = 200,
    grid: Tensor | None = None,
    ruler: Ruler | None = None,
    estimate: bool = True,
    refuse: Guards = REFUSE,
) -> History:
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
    times = _asked(sde, times)
    door.whole(steps, "steps")
    grid = None if grid is None else _asked(sde, grid, "grid")
    if ruler is None:
        law, clock, sizes = sde, times, [1.0] * len(times)
    else:
        law, clock = normalised(sde, ruler), ruler.clock(times)
        sizes, grid = [ruler(t) for t in times], None if grid is None else ruler.clock(grid)
    start = density.scaled(1 / sizes[0])
    with torch.no_grad():
        legs = kernels(law, start.grid, clock) if grid is None else None
        stops = clock if legs else _merged(clock, law.times(steps) if grid is None else grid)
        rough_stops = torch.cat([stops[:-1:2], stops[-1:]])
        if ruler is not None and not legs:
            middles = [(u[1:] + u[:-1]) / 2 for u in (stops, rough_stops)]
            law = normalised(sde, ruler, torch.cat([stops, *middles]))
        run = _Run(law, start)
        kept = run.carried(legs, clock) if legs else run.through(stops, clock)
        errors: Sequence[float | None] = [None] * len(times)
        if estimate and _halves(density.grid):
            twice = _Run(law, start.coarsen())
            rough = twice.carried(legs, clock) if legs else twice.through(rough_stops, clock)
            errors = _errors(kept, rough, clock)
    error = math.nan if errors[0] is None else max(e for e in errors if e is not None)
    guards = replace(run.guards(error), cells=_coarseness(start.grid, ruler, times))
    out = tuple(
        Density(start.grid.scaled(s), torch.from_numpy(kept[u]), error)
        for s, u, error in zip(sizes, clock.tolist(), errors, strict=True)
    )
    return History(times, out, _judged(guards, refuse))


def _asked(sde: SDE, times: Tensor, name: str = "times") -> Tensor:
    low, high = sorted((sde.t_start, sde.t_end))
    times = door.times(times, low, high, name)
    if (times[-1] > times[0]) != (sde.t_end > sde.t_start):
        raise ValueError(
            f"{name} run from {times[0]:g} to {times[-1]:g}, but this law runs from "
            f"{sde.t_start:g} to {sde.t_end:g}; flip them"
        )
    return times


def _merged(times: Tensor, clock: Tensor) -> Tensor:
    """The clock between the first and the last of `times`, and `times`."""
    low, high = times.aminmax()
    inside = clock[(clock > low) & (clock < high)]
    if len(inside):
        near = (inside[:, None] - times).abs().min(1).values
        inside = inside[near > 1e-9 * (high - low)]
    falls = bool(times[0] > times[-1])
    return torch.cat([inside, times]).sort(descending=falls).values


def _coarseness(grid: Grid, ruler: Ruler | None, times: Tensor) -> float:
    """The cells of a grid in the ruler's units over the narrowest feature, at the worst time."""
    if ruler is None or ruler.width == 0.0:
        return math.nan
    sizes = ruler.reading(times)[0]
    return float((max(grid.width) * sizes / ruler.feature(times)).max())


def _halves(grid: Grid) -> bool:
    """Whether there are cells twice as wide to make an estimate with; it says if not."""
    if any(n % 2 or n < 8 for n in grid.shape):
        warnings.warn(
            f"no error is estimated: the cells, {grid.shape}, cannot be merged two by two; use "
            "even numbers from 8 on, or say estimate=False",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


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
        self.waves = [(np.pi * np.arange(n) / n) ** 2 for n in self.shape]
        self.clipped = self.stretch = self.drifted = 0.0
        self.wall = self._at_the_wall()
        self.last = np.empty(0), 0.0, 0.0  # drift, dt and part of the step that `feet` are for

    def guards(self, error: float) -> Guards:
        return Guards(self.clipped, self.wall, self.stretch, error, self.drifted)

    def through(self, stops: Tensor, times: Tensor) -> dict[float, np.ndarray]:
        """Step from stop to stop; the masses at those that are among `times`."""
        wanted = set(times.tolist())
        kept = {float(stops[0]): self.mass}
        for start, stop in pairwise(stops.tolist()):
            self._step(start, stop)
            if stop in wanted:
                kept[stop] = self.mass
        return kept

    def carried(self, legs: list[list[Kernel]], times: Tensor) -> dict[float, np.ndarray]:
        """From each of `times` to the next by these kernels; the masses at all of them."""
        kept = {float(times[0]): self.mass}
        for stop, leg in zip(times[1:].tolist(), legs, strict=True):
            for kernel in leg:
                self._carry(kernel)
            kept[stop] = self.mass
        return kept

    def _carry(self, kernel: Kernel) -> None:
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
        self.wall = max(self.wall, self._at_the_wall())
        if kernel.spread.any():
            heat = _Heat(self, kernel.spread / 2 / self.h**2)
            self.mass = heat(p).reshape(self.shape)
            self.wall = max(self.wall, self._at_the_wall())

    def _step(self, start: float, stop: float) -> None:
        """X Y H Y X."""
        dt = stop - start
        middle = torch.tensor((start + stop) / 2, dtype=torch.float64)
        heat = self._heat(start, stop, middle)
        self._follow(self._drift(middle), dt, 1.0 if heat is None else 0.5)
        self.stretch = max(self.stretch, math.sqrt((self.mass * self.change).sum() / self.whole))
        x, y = self.feet[0], self.feet[-1]
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
        self.wall = max(self.wall, self._at_the_wall())

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
        self.feet = [feet(self._faces(c, i) * (across if i else 0.5)) for i, c in enumerate(moved)]
        self.change = self._largest_change(moved) ** 2

    def _drift(self, t: Tensor) -> np.ndarray:
        """f at the corners, (d, n + 1, ...)."""
        f = _checked_drift(self.law, self.corners, t)
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
        return _checked_noise(g, x, t)

    def _heat(self, start: float, stop: float, middle: Tensor) -> _Heat | _Solve | None:
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
            return _Heat(self, spread) if spread.any() else None
        size = g.double().reshape(*self.shape, -1).abs().numpy()
        return _Solve(self, size, abs(stop - start))

    def clip(self, p: np.ndarray) -> np.ndarray:
        """Set negative masses to zero, count them, and keep the total."""
        p = self._whole(p)
        negative = np.minimum(p, 0.0).sum()
        if negative == 0.0:
            return p
        self.clipped -= float(negative)
        p = np.maximum(p, 0.0)
        p *= self.whole / p.sum()
        return p

    def _whole(self, p: np.ndarray) -> np.ndarray:
        """p with its total put right, and by how much."""
        factor = self.whole / p.sum()
        self.drifted = max(self.drifted, abs(float(factor) - 1))
        return p * factor


def _checked_drift(law: SDE, x: Tensor, t: Tensor) -> Tensor:
    f = law.drift(x, t)
    if not isinstance(f, Tensor) or f.shape != x.shape:
        got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
        raise ValueError(
            f"the drift returned {got} for a cloud of shape {tuple(x.shape)}; it must return one "
            "row per particle"
        )
    if not torch.isfinite(f).all():
        bad = int((~torch.isfinite(f)).any(1).nonzero()[0])
        where = ", ".join(f"{c:.3g}" for c in x[bad])
        raise SdeflowError(
            f"the drift is NaN or infinite at t = {float(t):.6g}, first at ({where}) of the grid; "
            "move the grid or mend the drift"
        )
    return f.double()


def _checked_noise(g: object, x: Tensor, t: Tensor | float) -> Tensor:
    g = torch.as_tensor(g)
    g = g.expand(x.shape) if g.shape == x.shape[1:] else g
    if g.ndim and g.shape != x.shape:
        raise ValueError(
            f"the diffusion returned {tuple(g.shape)} for a cloud of shape {tuple(x.shape)}; on a "
            "grid noise is (), (d,) or diagonal (n, d)"
        )
    if not torch.isfinite(g).all():
        raise SdeflowError(f"the diffusion is NaN or infinite at t = {float(t):.6g}")
    return g


class _Heat:
    """exp(a d^2 / dx^2) with reflecting walls, a (d,) in cells: one cosine transform."""

    def __init__(self, run: _Run, spread: np.ndarray) -> None:
        self.run = run
        spread = np.broadcast_to(spread, (len(run.shape),))
        decay = [np.exp(-a * k2) for a, k2 in zip(spread, run.waves, strict=True)]
        self.decay = decay[0][:, None] * (decay[1] if len(decay) == 2 else 1.0)

    def __call__(self, p: np.ndarray) -> np.ndarray:
        return self.run.clip(idctn(dctn(p, norm="ortho") * self.decay, norm="ortho"))


class _Solve:
    """The same for noise that depends on the state: TR-BDF2 along x (half), y, x (half).

    In its own reading of the noise the flux needs no derivative of g: from cell to cell it is
    the difference of g^2 p / 2 (Ito), or g times the difference of g p / 2 (Stratonovich).
    Source: Bank et al. 1985.
    """

    def __init__(self, run: _Run, g: np.ndarray, dt: float) -> None:
        self.run, self.dt = run, dt
        self.rates = []
        for i, h in enumerate(run.h):
            along = np.moveaxis(g[..., i], i, 0)
            along = along.reshape(len(along), -1)
            here, there = along[:-1], along[1:]
            both = run.law.calculus == "stratonovich"
            middle = (here + there) / 2
            right, left = (middle if both else v for v in (here, there))
            self.rates.append((right * here / (2 * h * h), left * there / (2 * h * h)))

    def __call__(self, p: np.ndarray) -> np.ndarray:
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
        return self.run.clip(_lines(bands, last))


def _flow(p: np.ndarray, right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """What flows into each cell along axis 0, given the rates across the faces."""
    flux = np.zeros((len(p) + 1, p.shape[1]))
    flux[1:-1] = right * p[:-1] - left * p[1:]
    return -np.diff(flux, axis=0)


def _bands(right: np.ndarray, left: np.ndarray) -> np.ndarray:
    """1 - (rates), tridiagonal, all lines end to end as one."""
    n, m = len(right) + 1, right.shape[1]
    bands = np.zeros((3, m, n))
    bands[0, :, 1:] = -left.T
    bands[2, :, :-1] = -right.T
    bands[1] = 1.0
    bands[1, :, 1:] += left.T
    bands[1, :, :-1] += right.T
    return bands.reshape(3, -1)


def _lines(bands: np.ndarray, p: np.ndarray) -> np.ndarray:
    lines: np.ndarray = solve_banded((1, 1), bands, p.T.ravel(), check_finite=False)
    return lines.reshape(p.shape[1], p.shape[0]).T


# ------------------------------------------------------------------------- laws that stay Gaussian


class Kernel(NamedTuple):
    """x -> N(grow x + shift, spread), each (d,): how an affine law carries a particle."""

    grow: np.ndarray
    shift: np.ndarray
    spread: np.ndarray


def kernels(law: SDE, grid: Grid, times: Tensor) -> list[list[Kernel]] | None:
    r"""The transitions of dx_i = (a_i x_i + b_i) dt + g_i dW_i between neighbours of `times`.

    grow = e^A, A = int a;   shift = int e^{A - A(s)} b ds;   spread = int e^{2 (A - A(s))} g^2 ds.

    None where the law is not of this kind, to rounding, on every second corner of the grid at
    every time that the integrals read, or where it is rough in time. A transition comes in legs
    that shrink by no more than half each: what is shrunk below the cells is lost.
    """
    at = Grid(grid.low, grid.high, tuple(max(4, n // 2) for n in grid.shape)).corners()
    found = []
    for start, stop in pairwise(times.tolist()):
        legs = _legs(law, at, np.array(grid.width), start, stop)
        if legs is None:
            return None
        found.append(_merged_legs(legs))
    return found


def _merged_legs(legs: list[Kernel]) -> list[Kernel]:
    """As few as will do: kernels are a semigroup."""
    out = legs[:1]
    for after in legs[1:]:
        before = out[-1]
        grow = after.grow * before.grow
        if grow.min() < 0.5:
            out.append(after)
            continue
        shift = after.grow * before.shift + after.shift
        out[-1] = Kernel(grow, shift, after.grow**2 * before.spread + after.spread)
    return out


def _legs(law: SDE, x: Tensor, unit: np.ndarray, start: float, stop: float) -> list[Kernel] | None:
    """Halves of halves, until one rule does for each; `unit` is the length errors are small in."""
    legs, todo = [], [(start, stop)]
    for _ in range(PARTS):
        start, stop = todo.pop()
        middle, half = (start + stop) / 2, (stop - start) / 2
        rows = []
        for t in (middle + half * NODES).tolist():
            row = _coefficients(law, x, t)
            if row is None:
                return None
            rows.append(row)
        kernel = _kernel(np.stack(rows, 1), half, unit)
        if kernel is None:
            todo += [(middle, stop), (start, middle)]
            continue
        legs.append(kernel)
        if not todo:
            return legs
    return None


def _kernel(rows: np.ndarray, half: float, unit: np.ndarray) -> Kernel | None:
    """By the eight-point rule of Gauss and Legendre, if the series of a, b and g^2 end before it
    does and it shrinks by no more than half.
    """
    a, b, g2 = rows
    grow = np.exp(half * WEIGHTS @ a)
    size = abs(half * SERIES @ np.concatenate([a, b / unit, g2 / unit**2], 1))
    if grow.min() < 0.5 or (size[-2:] > 1e-5 * (1 + size.max(0))).any():
        return None
    fade = np.exp(half * (WEIGHTS @ a - UP_TO @ a))  # e^{A - A(s)}
    shift, spread = half * WEIGHTS @ (fade * b), abs(half) * WEIGHTS @ (fade**2 * g2)
    return Kernel(grow, shift, spread)


def _coefficients(law: SDE, x: Tensor, t: float) -> np.ndarray | None:
    """a, b and g^2 at t, (3, d), of a law that has them at all of x; else None."""
    when = torch.tensor(t, dtype=torch.float64)
    f = _checked_drift(law, x, when)
    a = (f[-1] - f[0]) / (x[-1] - x[0])
    b = f[0] - a * x[0]
    if ((f - (a * x + b)).abs().amax(0) > 1e-12 * f.abs().amax(0)).any():
        return None
    g = torch.zeros(()) if law.diffusion is None else law.diffusion(x, when)
    g = _checked_noise(g, x, when).double().expand(x.shape)
    if not (g == g[0]).all():
        return None
    return torch.stack([a, b, g[0] ** 2]).numpy()


# ------------------------------------------------------------------------------ one-axis transport


def feet(c: np.ndarray) -> np.ndarray:
    """Where the faces come from, in cells (n + 1, m), if they move by c cells along axis 0.

    Characteristics of the frozen velocity are followed back by Runge and Kutta's method, in as
    many steps as keep |grad c| below a half each; walls stand still and faces never cross.
    """
    c = c.copy()
    c[0] = c[-1] = 0.0
    n, m = len(c) - 1, c.shape[1]
    turns = max(1, math.ceil(float(abs(np.diff(c[1:-1], axis=0)).max(initial=0.0)) / CURVE))
    turns = min(turns, 1000)
    c /= -turns
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
    for k in range(turns):
        a = c if k == 0 else velocity(x)
        b = velocity(x + a / 2)
        d = velocity(x + b / 2)
        e = velocity(x + d)
        x = np.clip(x + (a + 2 * (b + d) + e) / 6, 0.0, n)
    x[0], x[-1] = 0.0, n
    return np.maximum.accumulate(x, axis=0)


def remap(p: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The masses (n, m) between faces that come from x (n + 1, m or 1) cells along axis 0.

    The cumulative mass is a cubic in each cell whose slopes at the faces are at most three times
    the smaller neighbour, hence monotone (Fritsch and Carlson 1980).
    """
    n, m = p.shape
    c = np.zeros((n + 1, m))
    np.cumsum(p, axis=0, out=c[1:])
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


# ------------------------------------------------------------------------------ the sampler's own


def sampler_law(
    sde: SDE,
    density: Density,
    times: Tensor,
    save: Tensor | None = None,
    *,
    ruler: Ruler | None = None,
    estimate: bool = True,
    refuse: Guards = REFUSE,
) -> History:
    r"""The law of the particles that Euler's method with *these* steps has, before any sampling.

    p_{k+1}(z) = int p_k(x) N(z; m_k(x), s_k^2 I) dx,   m_k(x) = x + drift dt,   s_k = g sqrt(dt),

    with drift and noise from `sde.steps(times, x)`, the very object that a solver steps with: so
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
    times = _asked(sde, times)
    save = times[[0, -1]] if save is None else _asked(sde, save, "save")
    gap = (save[:, None] - times).abs().min(1)
    if (gap.values > 1e-9 * times.abs().max()).any():
        lost = float(save[gap.values.argmax()])
        raise ValueError(f"save time {lost:g} is not among the sampler's times; give one that is")
    stops = gap.indices.tolist()
    sizes = [1.0] * len(times) if ruler is None else [ruler(t) for t in times]
    start = density.scaled(1 / sizes[0])
    with torch.no_grad():
        run = _Chain(sde, start, times, sizes)
        kept = run.through(stops)
        errors: list[float | None] = [None] * len(stops)
        if estimate and _halves(density.grid):
            rough = _Chain(sde, start.coarsen(), times, sizes).through(stops)
            errors = [a.coarsen().total_variation(b) / 3 for a, b in zip(kept, rough, strict=True)]
    error = math.nan if errors[0] is None else max(e for e in errors if e is not None)
    out = tuple(
        replace(p.scaled(sizes[k]), error=e) for p, k, e in zip(kept, stops, errors, strict=True)
    )
    cells = _coarseness(start.grid, ruler, save)
    guards = Guards(run.clipped, run.wall, error=error, cells=cells)
    return History(save, out, _judged(guards, refuse))


class _Chain:
    """A density on its way through a sampler's steps; the state is p at the centres times h^d."""

    def __init__(self, sde: SDE, start: Density, times: Tensor, sizes: list[float]) -> None:
        self.start, self.sizes, self.count = start, sizes, len(times) - 1
        self.shape, self.grid = start.grid.shape, start.grid
        self.y = start.grid.centres()
        self.law = sde.steps(times, self.y)
        angles = [np.pi * np.arange(n) / n for n in self.shape]  # k h
        self.square = [a**2 for a in angles]
        box = [np.sinc(a / (2 * np.pi)) for a in angles]
        self.cell = _outer(box)
        # The spline as it is on the grid. Its continuous transform, box^4, in this place is up to
        # four times less accurate (measured), and grows without noise to hold it.
        self.spline = _outer([(2 + np.cos(a)) / 3 for a in angles])
        self.whole = start.total()
        self.clipped = self.wall = 0.0

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
        move = self.law.drift(k, 0.0, x)
        if move.shape != x.shape:
            raise ValueError(
                f"the drift returned {tuple(move.shape)} for a cloud {tuple(x.shape)}"
            )
        if not torch.isfinite(move).all():
            raise SdeflowError(f"the drift is NaN or infinite at t = {self.law.time(k, 0.0):.6g}")
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
        self.wall = max(self.wall, float(abs(p[outside]).sum()))
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
        self.clipped = max(self.clipped, -float(np.minimum(mass, 0.0).sum()))
        mass = np.maximum(mass, 0.0)
        mass *= self.whole / mass.sum()
        layers = mass[tuple(slice(2, -2) for _ in self.shape)]
        self.wall = max(self.wall, self.whole - float(layers.sum()))
        return Density(self.grid, torch.from_numpy(mass))


def _outer(rows: list[np.ndarray]) -> np.ndarray:
    return rows[0] if len(rows) == 1 else rows[0][:, None] * rows[1]


# ------------------------------------------------------------------------------------- the current


def current(sde: SDE, density: Density, t: float) -> Tensor:
    r"""The probability current of this density under this law, at the cells' centres, (*shape, d).

    J = f p -+ (1/2) grad(g^2 p), so that dp/dt + div J = 0 in the law's own time: minus for a law
    that runs up in t, plus for one that runs down. Per unit of volume and time; derivatives of
    fourth order in the cell.
    """
    g = density.grid
    x, t_ = g.centres(), torch.tensor(float(t), dtype=torch.float64)
    p = density.mass / g.volume
    with torch.no_grad():
        flow = sde.drift(x, t_).double().reshape(*g.shape, g.dim) * p[..., None]
        if sde.diffusion is None:
            return flow
        noise = _checked_noise(sde.diffusion(x, t_), x, t).double()
    size = noise.expand(x.shape) if noise.ndim else noise.expand(len(x), g.dim)
    size = size.reshape(*g.shape, g.dim)
    sign = 1.0 if sde.t_end > sde.t_start else -1.0
    for i in range(g.dim):
        a = size[..., i]
        if sde.calculus == "stratonovich":
            spread = a * _slope(a * p, i, g.width[i]) / 2
        else:
            spread = _slope(a**2 * p, i, g.width[i]) / 2
        flow[..., i] -= sign * spread
    return flow


def _slope(q: Tensor, axis: int, h: float) -> Tensor:
    """dq/dx at the centres, q even about the walls."""
    q = q.movedim(axis, 0)
    q = torch.cat([q[[1, 0]], q, q[[-1, -2]]])
    out = (8 * (q[3:-1] - q[1:-3]) - (q[4:] - q[:-4])) / (12 * h)
    return out.movedim(0, axis)


# ----------------------------------------------------------------------------------- the generator


@dataclass(frozen=True, eq=False)
class Generator:
    """A law that does not change in time, as a Markov chain on the cells: dm/dt = L m.

    Walls reflect. Attributes: the grid, and the sparse matrix L (cells, cells), whose columns add
    up to zero and whose other entries are rates, not negative.
    """

    grid: Grid
    matrix: scipy.sparse.csc_matrix

    def rate(self, density: Density) -> Tensor:
        """L m, in the grid's shape: how fast each cell fills."""
        return self._shaped(self.matrix @ self._row(density))

    def propagate(self, density: Density, time: float) -> Density:
        """exp(time L) m, time >= 0."""
        door.positive(time, "time", zero=True)
        mass = linalg.expm_multiply(self.matrix * time, self._row(density))
        mass = np.maximum(mass, 0.0)
        return Density(self.grid, self._shaped(mass * (density.total() / mass.sum())))

    def stationary(self) -> Density:
        """The law that does not move: L m = 0, total 1.

        Raises:
            SdeflowError: it is not unique: the grid falls into parts that do not communicate.
        """
        # Rounding leaks: pin a cell that matters. Where does the chain linger, from anywhere?
        size, scale = self.matrix.shape[0], float(abs(self.matrix.diagonal()).max())
        if scale == 0:
            raise SdeflowError("this law has no unique stationary density: nothing moves")
        stay = scipy.sparse.identity(size, format="csc") * (1e-9 * scale) - self.matrix
        mass = self._null(int(np.argmax(linalg.splu(stay.tocsc()).solve(np.ones(size)))))
        return Density(self.grid, self._shaped(mass / mass.sum()))

    def _null(self, pinned: int) -> np.ndarray:
        """The null vector of L that is 1 in one cell."""
        free = np.delete(np.arange(self.matrix.shape[0]), pinned)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", linalg.MatrixRankWarning)
            block = self.matrix[free][:, free].tocsc()
            rest = linalg.spsolve(block, -self.matrix[free][:, [pinned]].toarray()[:, 0])
        if not np.isfinite(rest).all():
            raise SdeflowError("this law has no unique stationary density on this grid")
        row: np.ndarray = np.insert(np.maximum(rest, 0.0), pinned, 1.0)
        return row

    def passage_time(self, target: Tensor) -> Tensor:
        r"""The mean time to reach the cells of `target` (bool, shape) from each cell, (shape).

        L^T tau = -1 outside the target, tau = 0 in it; it counts as reached at its cells' centres.

        Raises:
            ValueError: target of another shape or kind, or empty.
        """
        if target.dtype != torch.bool or target.shape != self.grid.shape or not target.any():
            raise ValueError(
                f"target must be a boolean {self.grid.shape} with at least one true cell, got "
                f"{target.dtype} {tuple(target.shape)}"
            )
        free = np.flatnonzero(~target.numpy().ravel())
        tau = np.zeros(self.matrix.shape[0])
        block = self.matrix[free][:, free].T.tocsc()
        tau[free] = linalg.spsolve(block, -np.ones(len(free)))
        return self._shaped(tau)

    def relaxation_rates(self, count: int = 4) -> Tensor:
        """The `count` slowest rates, complex (count,), by real part: minus the eigenvalues of L
        next to 0. They are real where the law is reversible.
        """
        door.whole(count, "count")
        scale = float(abs(self.matrix.diagonal()).max())
        start = np.random.default_rng(0).standard_normal(self.matrix.shape[0])
        found = linalg.eigs(
            self.matrix, count + 1, sigma=1e-9 * scale, v0=start, return_eigenvectors=False
        )
        rates = -found[np.argsort(-found.real)][1:]
        return torch.from_numpy(rates.astype(np.complex128))

    def _row(self, density: Density) -> np.ndarray:
        if not density.grid.same(self.grid):
            raise ValueError("the density stands on another grid than the generator")
        row: np.ndarray = density.mass.numpy().ravel()
        return row

    def _shaped(self, row: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(row)).reshape(self.grid.shape)


def generator(
    sde: SDE, grid: Grid, *, t: float | None = None, potential: Tensor | None = None
) -> Generator:
    r"""The generator of a law frozen at one time, by exponential fitting.

    From cell to cell: rate right = D B(-P) / h^2, left = D B(P) / h^2, B(z) = z / (e^z - 1),
    P = f h / D at the face: the flux that is exact for constant f and D. At equilibrium P is minus
    the difference of the potential, and the Boltzmann law is kept exactly.

    Args:
        sde: drift and diffusion are read at t, t_start by default; a law that runs down in t is
            read in the order of the run.
        potential: U / kT at the centres, shape, where f = -D grad U: used instead of the drift.

    Raises:
        TypeError, ValueError: shapes that do not fit; SdeflowError: NaN or infinite coefficients.

    Source: Scharfetter and Gummel 1969; for many dimensions Heida, Kantner and Stephan 2020.
    """
    when = torch.tensor(sde.t_start if t is None else float(t), dtype=torch.float64)
    if potential is not None and potential.shape != grid.shape:
        raise ValueError(
            f"potential must be {grid.shape}, one number per cell, got {tuple(potential.shape)}"
        )
    sign = 1.0 if sde.t_end > sde.t_start else -1.0
    cells = np.arange(math.prod(grid.shape)).reshape(grid.shape)
    rows, columns, rates = [], [], []
    for i, h in enumerate(grid.width):
        here, there = (np.take(cells, range(j, grid.shape[i] - 1 + j), i).ravel() for j in (0, 1))
        axes = [grid.edges(j)[1:-1] if j == i else grid.middles(j) for j in range(grid.dim)]
        faces = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, grid.dim)
        spread, tilt = _face_noise(sde, grid, faces, when, i)
        if potential is not None:
            u = potential.double().numpy().ravel()
            drift = -(u[there] - u[here]) * spread / h
        else:
            drift = sign * _face_drift(sde, faces, when)[:, i] - tilt
        right, left = _fitted(drift * h, spread)
        for source, sink, rate in ((here, there, right), (there, here, left)):
            rows += [sink, source]
            columns += [source, source]
            rates += [rate / h**2, -rate / h**2]
    size = cells.size
    matrix = scipy.sparse.coo_matrix(
        (np.concatenate(rates), (np.concatenate(rows), np.concatenate(columns))), (size, size)
    )
    return Generator(grid, matrix.tocsc())


def _face_drift(sde: SDE, x: Tensor, t: Tensor) -> np.ndarray:
    with torch.no_grad():
        f = sde.drift(x, t)
    if f.shape != x.shape:
        raise ValueError(f"the drift returned {tuple(f.shape)} for a cloud {tuple(x.shape)}")
    if not torch.isfinite(f).all():
        raise SdeflowError("the drift is NaN or infinite on the grid; move the grid")
    out: np.ndarray = f.double().numpy()
    return out


def _face_noise(
    sde: SDE, grid: Grid, x: Tensor, t: Tensor, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """D on the faces across one axis, and what to take off the drift so that the flux is
    (f - tilt) p - D grad p: D' for Ito, D' / 2 for Stratonovich.
    """
    if sde.diffusion is None:
        return np.zeros(len(x)), np.zeros(len(x))

    def half_square(at: Tensor) -> np.ndarray:
        assert sde.diffusion is not None
        with torch.no_grad():
            g = _checked_noise(sde.diffusion(at, t), at, t).double()
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
