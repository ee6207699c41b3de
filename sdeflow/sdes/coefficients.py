r"""Check the drift and the diffusion of an SDE at the points of a grid.

A wrong shape or a NaN is reported with the place where it came from. The diffusion is one number,
one per axis, or one per point and axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError


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
