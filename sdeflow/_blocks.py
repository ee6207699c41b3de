r"""Evaluate clouds in blocks of one fixed shape, so that a particle's result does not depend on n.

A matrix product rounds differently for another number of rows: the first 100 rows of a product of
1000 rows differ in their last bits from a product of 100 rows. So matrix products are made in
blocks of `ROWS` rows, and the last block is padded. Element-wise and row-wise operations (sums
along a row, softmax) do not need blocks.

    blocked(network)  a whole network, block after block
    product(x, a)     one matrix product, all blocks in one call
    paged(make)       k -> the k-th entry of a long list, of which `PAGE` are computed at a time
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

ROWS = 256
"""Particles in a block: few enough for the cache, enough for the kernels to be efficient."""

GPU_ROWS = 2**14
"""Particles in a block on a GPU, which a small block leaves idle. Every block there has this one
shape, because a GPU takes other kernels for other shapes."""

PAGE = 64
"""Steps whose coefficients are computed together."""

Entry = TypeVar("Entry")

Evaluate = Callable[[Tensor], Tensor]
"""x (n, d) -> (n, d), a function at one time; whatever depends on time alone is in it already."""


def block(device: torch.device) -> int:
    """The most particles in one call of a network; on a CPU, `ROWS` for each thread."""
    return ROWS * torch.get_num_threads() if device.type == "cpu" else GPU_ROWS


def blocked(
    network: Callable[..., Tensor], device: torch.device, rows: int | None = None
) -> Callable[..., Tensor]:
    """The function (rest, x) -> network(x, *rest), which calls the network on one block at a time.

    x (n, d) -> (n, d) on the device. A block has `rows` rows; by default those of `block`.
    """
    most = rows or block(device)
    rows = rows or (ROWS if device.type == "cpu" else GPU_ROWS)

    def evaluate(rest: tuple[Tensor, ...], x: Tensor) -> Tensor:
        n = x.shape[0]  # len(x) takes four times as long
        if n <= most and n % rows == 0:
            out = network(x, *rest)
            return out if getattr(out, "shape", None) == x.shape else misfit(out, x)
        parts = []
        # Without gradients the blocks are written into one tensor, which saves a second copy.
        whole = None if torch.is_grad_enabled() else torch.empty_like(x)
        for i, part in enumerate(whole_blocks(x, rows).split(most)):
            out = network(part, *rest)
            if getattr(out, "shape", None) != part.shape:
                misfit(out, part)
            if whole is None:
                parts.append(out)
            else:
                whole[i * most : (i + 1) * most] = out[: n - i * most]
        return torch.cat(parts)[:n] if whole is None else whole

    return evaluate


def misfit(out: object, x: Tensor) -> Tensor:
    """Raise the ValueError for a network that returned `out` for a cloud x."""
    got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    raise ValueError(
        f"the network returned {got} for a cloud of shape {tuple(x.shape)}; it must return the "
        "shape of its input"
    )


def whole_blocks(x: Tensor, rows: int = ROWS) -> Tensor:
    """x (n, ...), padded with copies of its last row to a multiple of `rows` rows."""
    missing = -len(x) % rows
    return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x


def product(x: Tensor, a: Tensor, add: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """The matrix product x a + scale add, (n, m): x (n, k) of whole blocks, add (m,) or (n, m)."""
    if a.shape[1] == 1:  # one column would take another kernel for one block than for many
        wide = torch.cat([a, torch.zeros_like(a)], 1)
        add = None if add is None else add.expand(*add.shape[:-1], 2)
        return product(x, wide, add, scale)[:, :1]
    blocks = x.view(-1, ROWS, x.shape[1])
    many = a.expand(len(blocks), -1, -1)
    if add is None:
        return torch.bmm(blocks, many).view(len(x), -1)
    if add.ndim == 2:
        add = add.reshape(len(blocks), ROWS, -1)
    return torch.baddbmm(add, blocks, many, beta=scale).view(len(x), -1)


def paged(make: Callable[[int, int], list[Entry]]) -> Callable[[int], Entry]:
    """The function k -> k-th entry of a list of which make(start, stop) gives a slice.

    `PAGE` entries are computed together, because indexing a tensor costs as much as the arithmetic
    of a small cloud; only these are kept, because a million steps would not fit into memory.
    """
    first, entries = -1, list[Entry]()

    def entry(k: int) -> Entry:
        nonlocal first, entries
        page = k - k % PAGE
        if page != first:
            first, entries = page, make(page, page + PAGE)
        return entries[k - page]

    return entry
