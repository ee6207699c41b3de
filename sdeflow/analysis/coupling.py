"""Test whether the value of a function at one particle depends on the other particles.

It does for forces between particles, and for networks that look across their batch. Only where it
does not, a cloud may be cut into parts, or some of its particles left out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Distances between particles at which forces are looked for, over the width of the cloud.
SHRUNK = 2.0 ** -torch.arange(-1, 21, dtype=torch.float64)


def depends_on_other_rows(function: Callable[[Tensor], Tensor], x: Tensor, rows: Tensor) -> bool:
    """Whether the values of a function at these rows of x (n, d) change without the other rows.

    Forces may have a short range, so a second cloud is tried whose rows lie at all distances from
    one another. A difference below sqrt(eps) of the largest value counts as rounding.

    Args:
        function: of the cloud, with one value (...) for each row.
        x: the cloud.
        rows: (n,) bool, at least one of them true.
    """
    width = x.amax(0) - x.amin(0)
    width = torch.where(width > 0, width, x.abs().amax(0))
    near = x[rows][:1] + torch.where(width > 0, width, 1.0) * SHRUNK.to(x)[:, None]
    try:
        with torch.no_grad():
            if _differ(function(x)[rows], function(x[rows])):
                return True
            whole = function(near)
            return any(_differ(whole[[k]], function(near[[k]])) for k in (0, 1, len(near) - 1))
    except Exception:
        return True  # a function that fails on some of the rows needs all of them


def _differ(a: Tensor, b: Tensor) -> bool:
    size = torch.finfo(a.dtype).eps ** 0.5 * float(abs(a).max())
    return not float(abs(a - b).max()) <= size
