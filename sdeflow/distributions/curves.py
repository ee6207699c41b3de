r"""Draw points along curves in the plane, and measure the distance from points to a curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sdeflow._validation import (
    check_cloud,
    check_finite,
    check_function,
    check_positive,
    shown,
)
from sdeflow.distributions.arguments import check_draw, check_move, check_one_number
from sdeflow.distributions.distribution import Distribution
from sdeflow.random_streams import Stream, normals, uniform

NODES = 2**14
"""Corners of the polygon that stands for an arc in `distance_to`."""


class Arc(NamedTuple):
    """A piece of a curve: the points place(u), (n, 2) for u (n,) in [low, high]."""

    place: Callable[[Tensor], Tensor]
    low: float
    high: float

    def __repr__(self) -> str:
        return f"arc of a curve, parameter from {self.low:.4g} to {self.high:.4g}"

    def moved(self, shift: Tensor, scale: float) -> Arc:
        """The arc of the points (x - shift) / scale."""
        return Arc(_Moved(self.place, shift, scale), self.low, self.high)


@dataclass(frozen=True, eq=False)
class _Moved:
    """The curve (place(u) - shift) / scale; unlike a closure it can be pickled."""

    place: Callable[[Tensor], Tensor]
    shift: Tensor
    scale: float

    def __call__(self, u: Tensor) -> Tensor:
        return (self.place(u) - self.shift) / self.scale


def check_arcs(arcs: object) -> tuple[Arc, ...]:
    """Return the arcs as a tuple."""
    if not isinstance(arcs, list | tuple) or not all(isinstance(arc, Arc) for arc in arcs):
        raise TypeError(f"a curve must be a list of Arc(place, low, high), got {shown(arcs)}")
    for arc in arcs:
        check_function(arc.place, "place of an arc", "of u (n,) that returns (n, 2)")
        check_finite(arc.low, "low of an arc")
        check_finite(arc.high, "high of an arc")
    return tuple(arcs)


@dataclass(frozen=True, eq=False, repr=False)
class Curves(Distribution):
    """The distribution of points along curves with noise: x = c(u) + noise z, z ~ N(0, I).

    The arcs are equally likely, u is uniform on an arc, and the label is the number of the arc.

    Args:
        arcs: the pieces of curve.
        noise: standard deviation per coordinate (length); 0: exactly on the curve.
    """

    arcs: tuple[Arc, ...]
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not check_arcs(self.arcs):
            raise ValueError("arcs is empty; give at least one Arc(place, low, high)")
        check_positive(self.noise, "noise", zero=True)

    def __repr__(self) -> str:
        return "a distribution along curves"

    @property
    def dim(self) -> int:
        return 2

    def _quadrature(self) -> tuple[Tensor, Tensor]:
        """64 Gauss-Legendre nodes on each arc, (arcs, 64, 2), and their weights.

        They give the moments of an analytic curve up to rounding.
        """
        nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(64))
        x = torch.stack(
            [place((low + high + nodes * (high - low)) / 2) for place, low, high in self.arcs]
        )
        return x, weights[None, :, None] / (2 * len(self.arcs))

    def mean(self) -> Tensor:
        x, share = self._quadrature()
        return (share * x).sum((0, 1))

    def std(self) -> float:
        x, share = self._quadrature()
        return math.sqrt(float((share * (x - self.mean()) ** 2).sum()) / 2 + self.noise**2)

    def moved(self, shift: Tensor, scale: float | Tensor) -> Curves:
        shift, scale = check_move(shift, scale, self.dim)
        scale = check_one_number(scale, self)
        return Curves(tuple(arc.moved(shift, scale) for arc in self.arcs), self.noise / scale)

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        n, seed = check_draw(n, seed)
        which = (uniform(seed, 0, n) * len(self.arcs)).long()
        u = uniform(seed, 1, n)
        x = self.noise * normals(seed, Stream.DATA, n, 2, torch.float64)
        for k, (place, low, high) in enumerate(self.arcs):
            x += torch.where((which == k)[:, None], place(low + u * (high - low)), 0.0)
        return x, which


def distance_to(arcs: tuple[Arc, ...], x: Tensor) -> Tensor:
    """The distance to the nearest arc, min_u |x - c(u)|, (n,) for x (n, 2).

    Each arc is replaced by a polygon of 16,384 corners. If these are h apart, the error is h^2 / 8
    times the curvature, and at most h^2 / (8 d) if another branch at distance d is nearly as near;
    for the named data sets it is about 1e-6.
    """
    z = check_cloud(x, "x", 2).detach().to("cpu", torch.float64)
    return torch.stack([_distance(arc, z) for arc in arcs]).amin(0).to(x)


def _distance(arc: Arc, z: Tensor) -> Tensor:
    """The distance (n,) from z (n, 2) to one arc."""
    corners = arc.place(torch.linspace(arc.low, arc.high, NODES, dtype=torch.float64))
    near = torch.from_numpy(cKDTree(corners.numpy(), leafsize=64).query(z.numpy())[1])
    out = torch.full_like(z[:, 0], math.inf)
    for start in ((near - 1).clamp_min(0), near.clamp_max(NODES - 2)):
        off, side = z - corners[start], corners[start + 1] - corners[start]
        along = ((off * side).sum(1) / (side**2).sum(1)).clamp(0, 1)
        out = torch.minimum(out, torch.linalg.norm(off - along[:, None] * side, dim=1))
    return out
