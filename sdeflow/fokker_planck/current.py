r"""Compute the probability current of a density under an SDE.

The Fokker-Planck equation is a continuity equation, dp/dt + div J = 0, with

    J_i = f_i p - (1/2) d_i (g_i^2 p)             (Ito)
    J_i = f_i p - (1/2) g_i d_i (g_i p)           (Stratonovich)

for an SDE that runs up in t. For one that runs down in t the second term has the opposite sign.
The current of a stationary density has no divergence, but need not be zero; where it is not,
detailed balance is broken and entropy is produced.

See docs/theory.md, (8.1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import check_kind
from sdeflow.density import Density
from sdeflow.fokker_planck.arguments import check_time, on_axes_of
from sdeflow.sdes.coefficients import check_each_alone, checked_diffusion, checked_drift
from sdeflow.sdes.requirements import check_no_matrix
from sdeflow.sdes.sde import SDE
from sdeflow.sdes.walls import Box


def probability_current(sde: SDE, density: Density, t: float) -> Tensor:
    r"""The probability current of a density under an SDE, at the cells' centres, (*shape, d).

        J = f p -+ (1/2) grad(g^2 p),    dp/dt + div J = 0

    with minus for an SDE that runs up in t, plus for one that runs down; (1/2) g grad(g p) with
    Stratonovich noise. J is per unit of area across it and of time. The derivatives are of fourth
    order in the cell width.

    Args:
        sde: any SDE.
        density: at time t.
        t: within the span of the SDE.

    Raises:
        SdeflowError: drift or diffusion is NaN or infinite.
    """
    check_kind(sde, SDE, "sde", "the arguments are (sde, density, t)")
    check_kind(density, Density, "density", "the arguments are (sde, density, t)")
    check_no_matrix(sde, "the probability current")
    g = density.grid
    x, t_ = g.centres(), torch.tensor(check_time(sde, t), dtype=torch.float64)
    p = density.mass / g.volume
    with torch.no_grad(), on_axes_of(g):
        check_each_alone(sde, x, float(t_))
        f = checked_drift(sde.drift(x.clone(), t_), x, t)
        current = f.reshape(*g.shape, g.dim) * p[..., None]
        if sde.diffusion is None:
            return current
        noise = checked_diffusion(sde.diffusion(x.clone(), t_), x, t).double()
    size = noise.expand(x.shape) if noise.ndim else noise.expand(len(x), g.dim)
    size = size.reshape(*g.shape, g.dim)
    sign = sde.direction
    for i in range(g.dim):
        a = size[..., i]
        if sde.calculus == "stratonovich":
            spread = a * _slope(a * p, i, g.width[i], sde.walls) / 2
        else:
            spread = _slope(a**2 * p, i, g.width[i], sde.walls) / 2
        current[..., i] -= sign * spread
    return current


def _slope(q: Tensor, axis: int, h: float, walls: Box | None) -> Tensor:
    """dq/dx at the centres.

    Beyond the ends of the grid q is continued by a cubic, or mirrored if the cells are fewer than
    four; it is periodic where the walls of the SDE are.
    """
    kind = None if walls is None else walls.axes(q.ndim)[axis].at_low
    q = q.movedim(axis, 0)
    if kind == "periodic":
        q = torch.cat([q[-2:], q, q[:2]])
    elif kind is None and len(q) < 4:
        q = torch.cat([q[[1, 0]], q, q[[-1, -2]]])
    else:
        weights = q.new_tensor([[10.0, -20.0, 15.0, -4.0], [4.0, -6.0, 4.0, -1.0]])
        low = torch.tensordot(weights, q[:4], 1)
        high = torch.tensordot(weights, q[-4:].flip(0), 1).flip(0)
        q = torch.cat([low, q, high])
    out = (8 * (q[3:-1] - q[1:-3]) - (q[4:] - q[:-4])) / (12 * h)
    return out.movedim(0, axis)
