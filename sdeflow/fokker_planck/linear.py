r"""Move a density under a linear SDE by its transition kernel, in one step for any span of time.

A linear SDE whose axes do not couple,

    dx_i = (a_i(t) x_i + b_i(t)) dt + g_i(t) dW_i,

takes x_s to a Gaussian, x_t ~ N(scale x_s + shift, variance), so it stretches, shifts and blurs a
density: one remap along each axis and one heat kernel. The SDE tells its kernel by
`SDE.transition`; all noising has one, and so has the reverse SDE of a single Gaussian.

See docs/theory.md, section 2.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.density import Density
from sdeflow.fokker_planck.cell_masses import CellMasses
from sdeflow.fokker_planck.transport import HeatKernel, remap
from sdeflow.sdes.sde import SDE

LEAST_SCALE = 0.5  # of one step: details that shrink below a cell are lost, noise or not

Kernel = tuple[np.ndarray, np.ndarray, np.ndarray]
"""scale, shift and variance, each (d,)."""


class LinearTransitions:
    """A density under an SDE with a transition kernel."""

    def __init__(self, sde: SDE, start: Density) -> None:
        self.sde, self.cells = sde, CellMasses(start)

    def masses(self, times: Tensor) -> dict[float, np.ndarray]:
        """The cell masses at each of `times`, the first of which is the start's."""
        kept = {float(times[0]): self.cells.mass}
        for start, stop in pairwise(times.tolist()):
            for s, t in pairwise(step_times(self.sde, start, stop, len(self.cells.shape))):
                self._apply(checked_kernel(self.sde, s, t, len(self.cells.shape)))
            kept[stop] = self.cells.mass
        return kept

    def _apply(self, kernel: Kernel) -> None:
        """Remap, then blur. Mass that reaches the boundary is counted before it is blurred."""
        cells, (scale, shift, variance) = self.cells, kernel
        p = cells.columns
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
                f"the transition kernel of the SDE jumps at t = {s:.6g}: from there to the next "
                "number its scale falls by half; correct `transition`"
            )
        return [*halved(s, middle), *halved(middle, t)]

    fine, kept = halved(start, stop), [start]
    for here, after in pairwise(fine):
        if not fits(kept[-1], after):
            kept.append(here)
    return [*kept, stop]


def checked_kernel(sde: SDE, s: float, t: float, dim: int) -> Kernel:
    """The transition kernel from s to t, one number per axis.

    Raises:
        ValueError: a shape that is neither () nor (d,), NaN, a negative scale or variance.
    """
    assert sde.transition is not None
    rows = [torch.as_tensor(v).detach().double() for v in sde.transition(s, t)]
    if any(v.shape not in ((), (dim,)) for v in rows):
        raise ValueError(
            f"the transition kernel must hold numbers () or ({dim},), one per axis, got shapes "
            f"{[tuple(v.shape) for v in rows]}"
        )
    scale, shift, variance = (v.expand(dim).numpy() for v in rows)
    if not all(np.isfinite(v).all() for v in (scale, shift, variance)):
        raise ValueError(f"the transition kernel from {s:.6g} to {t:.6g} is NaN or infinite")
    if scale.min() < 0 or variance.min() < 0:
        raise ValueError(
            f"the transition kernel from {s:.6g} to {t:.6g} has a negative scale or variance; "
            "check the order of its times (s, t)"
        )
    return scale, shift, variance
