r"""Move a density under a linear SDE by its transition kernel, in one step for any span of time.

A linear SDE whose axes do not couple,

    dx_i = (a_i(t) x_i + b_i(t)) dt + g_i(t) dW_i,

has the transition kernel x_t ~ N(scale x_s + shift, variance). So it stretches, shifts and blurs a
density: one remap along each axis and one heat kernel. `SDE.transition` is this kernel; every
forward SDE has one, and so has the reverse SDE of a single Gaussian.

The kernel is that of the SDE without walls. `through_wall` is the mass that it carries through the
walls of the grid; where that is not small, `evolve` takes steps instead. Brownian motion without
drift is exact in any case, because the heat kernel reflects at the walls.

See docs/theory.md, section 2.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.density import Density, Grid
from sdeflow.fokker_planck.cell_masses import CellMasses
from sdeflow.fokker_planck.transport import HeatKernel, remap
from sdeflow.sdes.sde import SDE

LEAST_SCALE = 0.5  # of one step, since details that shrink below a cell are lost

Kernel = tuple[np.ndarray, np.ndarray, np.ndarray]
"""scale, shift and variance, each (d,)."""


class LinearTransitions:
    """A density that moves under an SDE with a transition kernel.

    Attributes:
        through_wall: the largest mass that a step with a drift carried through a wall.
    """

    def __init__(self, sde: SDE, start: Density) -> None:
        self.sde, self.cells = sde, CellMasses(start)
        self.through_wall = 0.0

    def masses(self, times: Tensor) -> dict[float, np.ndarray]:
        """The cell masses at each of `times`, the first of which is the start's."""
        kept = {float(times[0]): self.cells.mass}
        for start, stop in pairwise(times.tolist()):
            for s, t in pairwise(step_times(self.sde, start, stop, len(self.cells.shape))):
                self._apply(checked_kernel(self.sde, s, t, len(self.cells.shape)))
            kept[stop] = self.cells.mass
        return kept

    def _apply(self, kernel: Kernel) -> None:
        """Remap, then blur; mass near the boundary is measured before and after the blur."""
        cells, (scale, shift, variance) = self.cells, kernel
        p = cells.columns
        self.through_wall = max(self.through_wall, _carried_out(p, cells.grid, kernel))
        for i, (a, b) in enumerate(zip(scale, shift, strict=True)):
            if a == 1.0 and b == 0.0:
                continue
            faces = cells.grid.edges(i).numpy()
            x = ((faces - b) / a - faces[0]) / cells.width[i]
            x = np.clip(x, 0.0, cells.shape[i])[:, None]
            p = remap(p, x) if i == 0 else remap(p.T, x).T
        cells.set(p)
        if variance.any():
            heat = HeatKernel(cells.shape, variance / 2 / cells.width**2, cells.clip)
            cells.mass = heat(p).reshape(cells.shape)
            cells.measure_boundary()


def _carried_out(p: np.ndarray, grid: Grid, kernel: Kernel) -> float:
    """The mass that the kernel takes out of the grid along axes with a drift."""
    out = 0.0
    for i, (a, b, v) in enumerate(zip(*kernel, strict=True)):
        if a == 1.0 and b == 0.0:
            continue
        share = p.sum(1 - i) if grid.dim == 2 else p[:, 0]
        mean = a * grid.middles(i).numpy() + b
        width = max(math.sqrt(v), 1e-9 * grid.width[i])
        inside = ndtr((grid.high[i] - mean) / width) - ndtr((grid.low[i] - mean) / width)
        out += float(share @ (1 - inside))
    return out


def step_times(sde: SDE, start: float, stop: float, dim: int) -> list[float]:
    """Times from start to stop between which no axis shrinks by more than `LEAST_SCALE`."""

    def fits(s: float, t: float) -> bool:
        return bool(checked_kernel(sde, s, t, dim)[0].min() >= LEAST_SCALE)

    def halved(s: float, t: float) -> list[float]:
        if fits(s, t):
            return [t]
        middle = (s + t) / 2
        if middle in (s, t):
            raise SdeflowError(
                f"the transition kernel of the SDE jumps at t = {s:.6g}, where its scale falls by "
                "half at once; correct `transition`"
            )
        return [*halved(s, middle), *halved(middle, t)]

    fine, kept = halved(start, stop), [start]
    for here, after in pairwise(fine):
        if not fits(kept[-1], after):
            kept.append(here)
    return [*kept, stop]


def checked_kernel(sde: SDE, s: float, t: float, dim: int) -> Kernel:
    """Return the transition kernel from s to t if it is valid, with one number per axis."""
    assert sde.transition is not None
    rows = [torch.as_tensor(v).detach().double() for v in sde.transition(s, t)]
    if any(v.shape not in ((), (dim,)) for v in rows):
        raise ValueError(
            f"the transition kernel must hold numbers () or ({dim},), one per axis, got shapes "
            f"{[tuple(v.shape) for v in rows]}"
        )
    scale, shift, variance = (v.expand(dim).numpy() for v in rows)
    if not all(np.isfinite(v).all() for v in (scale, shift, variance)):
        raise ValueError(
            f"the transition kernel from {s:.6g} to {t:.6g} is NaN or infinite; "
            "correct `transition`"
        )
    if scale.min() < 0 or variance.min() < 0:
        raise ValueError(
            f"the transition kernel from {s:.6g} to {t:.6g} has a negative scale or variance; "
            "check the order of its times (s, t)"
        )
    return scale, shift, variance
