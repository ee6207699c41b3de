"""Find whether a function of a cloud answers each particle for itself.

Forces between particles, and networks that look across their batch, do not. A cloud may be cut
into parts, and some of its particles left out, only where the answers do not depend on that.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SHRUNK = 2.0 ** -torch.arange(-1, 21, dtype=torch.float64)  # distances at which forces are sought


def depends_on_other_rows(function: Callable[[Tensor], Tensor], x: Tensor, rows: Tensor) -> bool:
    """Whether the answers (n, ...) for these rows of x (n, d) change without the other rows.

    Forces may have a short range: they are also looked for in a cloud whose rows lie at all
    distances from one another. A difference below sqrt(eps) of the largest answer is rounding.

    Args:
        function: of the cloud, one answer for each row.
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
        return True  # a function that cannot be asked about some rows needs all of them


def _differ(a: Tensor, b: Tensor) -> bool:
    size = torch.finfo(a.dtype).eps ** 0.5 * float(abs(a).max())
    return not float(abs(a - b).max()) <= size
