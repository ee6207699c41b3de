r"""A law of motion as a grid sees it: its coefficients at points, and the current they make.

The Fokker-Planck equation is a balance. What changes in a cell is what flows through its faces,

    dp/dt + div J = 0,    J_i = f_i p - (1/2) d_i (g_i^2 p)             (Ito)
                          J_i = f_i p - (1/2) g_i d_i (g_i p)           (Stratonovich)

for a law that runs up in t; one that runs down spreads as t falls, and the sign of the second
term turns. A density that stands still need not be without current: where detailed balance is
broken, J goes round and round, and its loops are what entropy production is made of.

Noise on a grid is one number, one per axis, or one per particle and axis. Whoever reads a law's
coefficients reads them by `checked_drift` and `checked_noise`, so that a NaN is told with the
place where it came from.

See docs/theory.md, (8.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow.density import Density
from sdeflow.sdes.coefficients import checked_drift, checked_noise
from sdeflow.sdes.sde import SDE


def probability_current(sde: SDE, density: Density, t: float) -> Tensor:
    r"""The probability current of this density under this law, at the cells' centres, (*shape, d).

    J = f p -+ (1/2) grad(g^2 p), so that dp/dt + div J = 0 in the law's own time: minus for a law
    that runs up in t, plus for one that runs down. Per unit of volume and time; derivatives of
    fourth order in the cell.

    Raises:
        ValueError, SdeflowError: as `checked_drift` and `checked_noise`.
    """
    g = density.grid
    x, t_ = g.centres(), torch.tensor(float(t), dtype=torch.float64)
    p = density.mass / g.volume
    with torch.no_grad():
        f = checked_drift(sde.drift(x, t_), x, t)
        flow = f.reshape(*g.shape, g.dim) * p[..., None]
        if sde.diffusion is None:
            return flow
        noise = checked_noise(sde.diffusion(x, t_), x, t).double()
    size = noise.expand(x.shape) if noise.ndim else noise.expand(len(x), g.dim)
    size = size.reshape(*g.shape, g.dim)
    sign = sde.direction
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
