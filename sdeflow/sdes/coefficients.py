r"""The drift and the diffusion of an SDE at points, checked.

Everything that reads the coefficients of an SDE at points of a grid reads them here, so that a wrong
shape or a NaN is reported with the place where it came from. Noise is one number, one per axis, or
one per particle and axis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow._validation import SdeflowError


def checked_drift(f: object, x: Tensor, t: Tensor | float) -> Tensor:
    """f at x (n, d) as the law gave it, in float64: one finite row per point.

    Raises:
        ValueError: another shape; SdeflowError: NaN or infinite, and where.
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
            "move the grid or mend the drift"
        )
    return f.double()


def checked_noise(g: object, x: Tensor, t: Tensor | float) -> Tensor:
    """g at x as the law gave it, () or (n, d): finite, and of a shape that a grid can take.

    Raises:
        ValueError: another shape; SdeflowError: NaN or infinite.
    """
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
