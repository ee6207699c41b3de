r"""Evaluate a large cloud in blocks of one fixed shape, so that a particle's bits do not depend on n.

Kernels round differently for other shapes: a matrix product of 100 rows and one of 1000 rows give
the first 100 rows in other bits. So products are taken in blocks of `ROWS` rows, the last block
padded. Element-wise and row-wise work (sums along a row, softmax) does not need that.

    blocked(network, t)  a whole network, block after block
    product(x, a)        one matrix product, all blocks in one call
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 256
"""Particles in a block, per thread: few enough to stay in cache, enough for the kernels."""

Evaluate = Callable[[Tensor], Tensor]
"""x (n, d) -> (n, d): an evaluation at times that are already worked out."""


def block() -> int:
    """Particles in one call of a network."""
    return ROWS * torch.get_num_threads()


def blocked(network: Callable[..., Tensor], *rest: object) -> Evaluate:
    """x -> network(x, *rest), a `block` at a time; x (n, d) -> (n, d).

    Raises (when called):
        ValueError: the network returns another shape than it was given.
    """
    most = block()

    def evaluate(x: Tensor) -> Tensor:
        n = len(x)
        if n <= most and n % ROWS == 0:
            return _fit(network(x, *rest), x)
        parts = (_fit(network(part, *rest), part) for part in whole_blocks(x).split(most))
        if torch.is_grad_enabled():
            return torch.cat([*parts])[:n]
        whole = torch.empty_like(x)  # not two clouds where one will do
        for i, part in enumerate(parts):
            whole[i * most : (i + 1) * most] = part[: n - i * most]
        return whole

    return evaluate


def _fit(out: Tensor, x: Tensor) -> Tensor:
    if getattr(out, "shape", None) != x.shape:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"the network returned {got} for a cloud of shape {tuple(x.shape)}")
    return out


def whole_blocks(x: Tensor) -> Tensor:
    """x (n, d) with its last row repeated until the rows fill their blocks."""
    missing = -len(x) % ROWS
    return torch.cat([x, x[-1:].expand(missing, -1)]) if missing else x


def product(x: Tensor, a: Tensor, add: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """x a + scale add, (n, m) for x (n, k) of whole blocks and a (k, m); add (m,) or (n, m)."""
    blocks = x.view(-1, ROWS, x.shape[1])
    many = a.expand(len(blocks), -1, -1)
    if add is None:
        return torch.bmm(blocks, many).view(len(x), -1)
    if add.ndim == 2:
        add = add.view(len(blocks), ROWS, -1)
    return torch.baddbmm(add, blocks, many, beta=scale).view(len(x), -1)
