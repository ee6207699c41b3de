r"""Evaluate a large cloud in blocks of one fixed shape, so that a particle's bits do not depend on n.

Kernels round differently for other shapes: a matrix product of 100 rows and one of 1000 rows give
the first 100 rows in other bits. So products are taken in blocks of `ROWS` rows, the last block
padded. Element-wise and row-wise work (sums along a row, softmax) does not need that.

    blocked(network)  a whole network, block after block
    product(x, a)     one matrix product, all blocks in one call
    paged(make)       k -> an entry, for what a run reads in every step
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

ROWS = 256
"""Particles in a block, per thread: few enough to stay in cache, enough for the kernels."""

PAGE = 64
"""Steps whose coefficients are taken apart at once."""

Entry = TypeVar("Entry")

Evaluate = Callable[[Tensor], Tensor]
"""x (n, d) -> (n, d): an evaluation at times that are already worked out."""


def block() -> int:
    """Particles in one call of a network."""
    return ROWS * torch.get_num_threads()


def blocked(network: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """(rest, x) -> network(x, *rest), a `block` at a time; x (n, d) -> (n, d).

    Raises (when called):
        ValueError: the network returns another shape than it was given.
    """
    most = block()

    def evaluate(rest: tuple[Tensor, ...], x: Tensor) -> Tensor:
        n = x.shape[0]  # len(x) takes four times as long
        if n <= most and n % ROWS == 0:
            out = network(x, *rest)
            return out if getattr(out, "shape", None) == x.shape else _misfit(out, x)
        parts = []
        for part in whole_blocks(x).split(most):
            out = network(part, *rest)
            parts.append(out if getattr(out, "shape", None) == part.shape else _misfit(out, part))
        return torch.cat(parts)[:n]

    return evaluate


def _misfit(out: object, x: Tensor) -> Tensor:
    got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    raise ValueError(f"the network returned {got} for a cloud of shape {tuple(x.shape)}")


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


def paged(make: Callable[[int, int], list[Entry]]) -> Callable[[int], Entry]:
    """k -> the k-th entry, where make(start, stop) gives those of a page of steps.

    To index a tensor costs as much as the arithmetic of a small cloud, and to keep the entries of a
    million steps at once costs memory.
    """
    first, entries = -1, list[Entry]()

    def entry(k: int) -> Entry:
        nonlocal first, entries
        page = k - k % PAGE
        if page != first:
            first, entries = page, make(page, page + PAGE)
        return entries[k - page]

    return entry
