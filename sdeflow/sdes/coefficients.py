r"""Check the drift and the diffusion of an SDE at the points of a grid.

A wrong shape or a NaN is reported with the point and the time where it occurs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.sdes.sde import SDE

ROUNDED = 0.01
"""How much the drift at a point may depend on the other points, by rounding, relative to the
largest drift."""


def check_each_alone(sde: SDE, x: Tensor, t: float) -> None:
    """Check that the drift at a point of a grid x (n, d) does not depend on the other points.

    A density on a grid is that of one particle, so the particles must not interact.

    Raises:
        ValueError: it does, or the drift has another shape than x.
        SdeflowError: the drift is NaN or infinite.
    """
    when, one = torch.tensor(t, dtype=torch.float64), x[[len(x) // 3]]
    with torch.no_grad():
        beside = checked_drift(sde.drift(x.clone(), when), x, when)
        alone = checked_drift(sde.drift(one.clone(), when), one, when)
    off = (alone[0] - beside[len(x) // 3]).abs().max()
    if off > ROUNDED * beside.abs().max():
        raise ValueError(
            "the drift at a point of the grid depends on the other points, but a density needs "
            "particles that do not interact; give a potential (n, d) -> (n,) or a drift whose "
            "rows are independent, or move particles with SDESolver"
        )


def checked_drift(f: object, x: Tensor, t: Tensor | float) -> Tensor:
    """Return a drift f at x (n, d) in float64, if it is finite and has the shape of x."""
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
            "move the grid, or correct the drift"
        )
    return f.double()


def checked_diffusion(g: object, x: Tensor, t: Tensor | float) -> Tensor:
    """Return a diffusion g at x (n, d), (), (d,) or (n, d), as () or (n, d), if it is finite."""
    if isinstance(g, (int, float)):
        g = torch.tensor(g, dtype=torch.float64)
    if not isinstance(g, Tensor):
        raise TypeError(
            f"the diffusion returned {type(g).__name__}; return a tensor, or give diffusion=None "
            "for an SDE without noise"
        )
    g = g.expand(x.shape) if g.shape == x.shape[1:] else g
    if g.ndim and g.shape != x.shape:
        raise ValueError(
            f"the diffusion returned {tuple(g.shape)} for a cloud of shape {tuple(x.shape)}, but "
            "noise is (), (d,) or diagonal (n, d); rotate the axes so that a matrix of noise "
            "becomes diagonal"
        )
    if not torch.isfinite(g).all():
        raise SdeflowError(
            f"the diffusion is NaN or infinite at t = {float(t):.6g}; move the grid, or correct "
            "the diffusion"
        )
    return g


def constant_tensor(g: object, x: Tensor, t: Tensor | float) -> np.ndarray:
    """g g^T (d, d) of a diffusion matrix g at x (n, d), (d, m) or the same for all points.

    Raises:
        ValueError: another shape, or it depends on the state.
        SdeflowError: NaN or infinite.
    """
    if not isinstance(g, Tensor) or g.ndim not in (2, 3) or g.shape[-2] != x.shape[1]:
        got = tuple(g.shape) if isinstance(g, Tensor) else type(g).__name__
        raise ValueError(
            f"the diffusion returned {got}; with noises it is a matrix, (d, m) or (n, d, m)"
        )
    if not torch.isfinite(g).all():
        raise SdeflowError(f"the diffusion is NaN or infinite at t = {float(t):.6g}")
    g = g.detach().double()
    tensor = g @ g.mT
    if tensor.ndim == 3:
        if not torch.allclose(tensor, tensor[:1].expand_as(tensor), rtol=1e-9):
            raise ValueError(
                "a density under a diffusion matrix that depends on the state would not stay "
                "positive on a grid; use particles, or noise of its own for each axis"
            )
        tensor = tensor[0]
    out: np.ndarray = tensor.numpy()
    return out
