r"""Evaluation of a large cloud in blocks of one fixed shape, so that a particle's bits do not depend on the cloud."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 256
"""Particles per kernel call and thread, which is also what fits in cache. Small blocks take other
kernels, which round differently: so calls are made in whole blocks, the last one padded, and
particle i gets the same bits in a cloud of any size."""


def block() -> int:
    """Particles in one call of a kernel."""
    return ROWS * torch.get_num_threads()


def in_blocks(evaluate: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """evaluate(x), a `block` at a time; x (n, d) -> (n, d)."""
    n, rows = len(x), block()
    if n <= rows and n % ROWS == 0:
        return evaluate(x)
    out = torch.empty_like(x)
    whole = n - n % ROWS
    for i in range(0, whole, rows):
        out[i : min(i + rows, whole)] = evaluate(x[i : min(i + rows, whole)])
    if whole < n:
        last = x[whole:]
        padded = torch.cat([last, last[-1:].expand(ROWS - len(last), -1)])
        out[whole:] = evaluate(padded)[: n - whole]
    return out
