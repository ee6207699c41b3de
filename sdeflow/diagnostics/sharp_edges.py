"""Count particles at the edges of a density that ends sharply within its grid."""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow.density import ROUND_OFF
from sdeflow.grid import Grid


def unrounded(x: Tensor, grid: Grid, share: Tensor) -> Tensor:
    """x (n, d), with particles that rounding has put into an empty cell in the full one beside it.

    At a sharp edge half of those that are rounded onto it lie in the cell beyond.

    Args:
        share: (cells + 1,) the mass of each cell, and of the outside.
    """
    given, step = x, torch.finfo(x.dtype).eps
    x = x.detach().to("cpu", torch.float64, copy=True)
    empty = share[grid.cell(x)] <= ROUND_OFF
    if not empty.any():
        return given
    sides = torch.cartesian_prod(*[torch.tensor([0.0, -1.0, 1.0])] * grid.dim)
    largest = torch.tensor([grid.low, grid.high]).double().abs().amax(0)
    places = x[empty] + sides.reshape(-1, 1, grid.dim).double() * step * largest
    held = torch.stack([share[grid.cell(each)] for each in places])
    x[empty] = places[held.argmax(0), torch.arange(places.shape[1])]
    return x
