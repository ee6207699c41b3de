r"""Check the drift and the diffusion of an SDE at the points of a grid.

A wrong shape or a NaN is reported with the place where it came from. The diffusion is one number,
one per axis, or one per point and axis.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.sdes.sde import SDE

ROUNDED = 0.01
"""Part of the largest drift by which that of one point may change beside others: by rounding."""


def check_each_alone(sde: SDE, x: Tensor, t: float) -> None:
    """Check that the drift at a point of a grid x (n, d) does not depend on the other points.

    Particles that interact have no density of their own on a grid of one particle's coordinates.

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
            "the drift at a point of the grid depends on the other points, as if they were "
            "particles that interact; a density needs the drift of one particle by itself: "
            "give a potential (n, d) -> (n,), a drift that does not couple rows, or use particles"
        )


def checked_drift(f: object, x: Tensor, t: Tensor | float) -> Tensor:
    """The drift f at x (n, d) in float64, checked to be finite and of x's shape.

    Raises:
        ValueError: another shape.
        SdeflowError: NaN or infinite.
    """
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
            "move the grid or correct the drift"
        )
    return f.double()


def checked_diffusion(g: object, x: Tensor, t: Tensor | float) -> Tensor:
    """The diffusion g at x (n, d) as () or (n, d), checked to be finite.

    Raises:
        TypeError: neither a tensor nor a number.
        ValueError: another shape than (), (d,) or (n, d).
        SdeflowError: NaN or infinite.
    """
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
            f"the diffusion returned {tuple(g.shape)} for a cloud of shape {tuple(x.shape)}; on a "
            "grid noise is (), (d,) or diagonal (n, d)"
        )
    if not torch.isfinite(g).all():
        raise SdeflowError(f"the diffusion is NaN or infinite at t = {float(t):.6g}")
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
