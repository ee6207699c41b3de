r"""Curves in the plane, and the distance of a point to one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.spatial import cKDTree
from torch import Tensor

NODES = 2**14
"""Corners of the polygon that stands for an arc when distances to it are asked."""


class Arc(NamedTuple):
    """A piece of a curve: place(u) (n,) -> (n, 2) for u in [low, high]."""

    place: Callable[[Tensor], Tensor]
    low: float
    high: float


def _distance(arc: Arc, z: Tensor) -> Tensor:
    """Distance (n,) of z (n, 2) to one arc, as a polygon of `NODES` corners."""
    corners = arc.place(torch.linspace(arc.low, arc.high, NODES, dtype=torch.float64))
    near = torch.from_numpy(cKDTree(corners.numpy(), leafsize=64).query(z.numpy())[1])
    out = torch.full_like(z[:, 0], math.inf)
    for start in ((near - 1).clamp_min(0), near.clamp_max(NODES - 2)):
        off, side = z - corners[start], corners[start + 1] - corners[start]
        along = ((off * side).sum(1) / (side**2).sum(1)).clamp(0, 1)
        out = torch.minimum(out, torch.linalg.norm(off - along[:, None] * side, dim=1))
    return out
