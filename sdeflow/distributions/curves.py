r"""Draw points along curves in the plane, and measure the distance of a point to a curve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sdeflow._validation import check_cloud, check_positive
from sdeflow.distributions.arguments import check_draw, check_move, check_one_number
from sdeflow.distributions.distribution import Distribution
from sdeflow.random_streams import Stream, normals, uniform

NODES = 2**14
"""Corners of the polygon that approximates an arc when distances to it are computed."""


class Arc(NamedTuple):
    """A piece of a curve: place(u) (n,) -> (n, 2) for u in [low, high]."""

    place: Callable[[Tensor], Tensor]
    low: float
    high: float

    def __repr__(self) -> str:
        """In words."""
        return f"arc of a curve, parameter from {self.low:.4g} to {self.high:.4g}"

    def moved(self, shift: Tensor, scale: float) -> Arc:
        """The arc of (x - shift) / scale."""
        return Arc(_Moved(self.place, shift, scale), self.low, self.high)


@dataclass(frozen=True, eq=False)
class _Moved:
    """The curve (place(u) - shift) / scale; a class and no function, so that it can be pickled."""

    place: Callable[[Tensor], Tensor]
    shift: Tensor
    scale: float

    def __call__(self, u: Tensor) -> Tensor:
        return (self.place(u) - self.shift) / self.scale


def check_arcs(arcs: object) -> tuple[Arc, ...]:
    """Return the arcs as a tuple."""
    if not isinstance(arcs, list | tuple) or not all(isinstance(arc, Arc) for arc in arcs):
        raise TypeError(f"a curve must be a list of Arc(place, low, high), got {arcs!r}"[:120])
    return tuple(arcs)


@dataclass(frozen=True, eq=False, repr=False)
class Curves(Distribution):
    """Points along curves: x = c(u) + noise z, z ~ N(0, I).

    Each arc is equally likely, u is uniform on it, and the number of the arc is the label.

    Args:
        arcs: the pieces of curve.
        noise: standard deviation per coordinate (0: exactly on the curve).

    Raises:
        TypeError, ValueError: noise is negative or not a number.
    """

    arcs: tuple[Arc, ...]
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the arcs and the noise."""
        if not check_arcs(self.arcs):
            raise ValueError("arcs is empty; give at least one Arc(place, low, high)")
        check_positive(self.noise, "noise", zero=True)

    def __repr__(self) -> str:
        """In words."""
        return "a distribution along curves"

    @property
    def dim(self) -> int:
        """See `Distribution`."""
        return 2

    def _quadrature(self) -> tuple[Tensor, Tensor]:
        """Points (arcs, 64, 2) and their weights: the arcs are analytic, so 64 Gauss-Legendre
        nodes give their moments to rounding.
        """
        nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(64))
        x = torch.stack(
            [place((low + high + nodes * (high - low)) / 2) for place, low, high in self.arcs]
        )
        return x, weights[None, :, None] / (2 * len(self.arcs))

    def mean(self) -> Tensor:
        """See `Distribution`."""
        x, share = self._quadrature()
        return (share * x).sum((0, 1))

    def std(self) -> float:
        """See `Distribution`."""
        x, share = self._quadrature()
        return math.sqrt(float((share * (x - self.mean()) ** 2).sum()) / 2 + self.noise**2)

    def moved(self, shift: Tensor, scale: float | Tensor) -> Curves:
        """See `Distribution`; scale is one number."""
        shift, scale = check_move(shift, scale, self.dim)
        scale = check_one_number(scale, self)
        return Curves(tuple(arc.moved(shift, scale) for arc in self.arcs), self.noise / scale)

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """See `Distribution`."""
        n, seed = check_draw(n, seed)
        which = (uniform(seed, 0, n) * len(self.arcs)).long()
        u = uniform(seed, 1, n)
        x = self.noise * normals(seed, Stream.DATA, n, 2, torch.float64)
        for k, (place, low, high) in enumerate(self.arcs):
            x += torch.where((which == k)[:, None], place(low + u * (high - low)), 0.0)
        return x, which


def distance_to(arcs: tuple[Arc, ...], x: Tensor) -> Tensor:
    """The distance to the nearest arc, min_u |x - c(u)|, (n,) for x (n, 2); exact to about 1e-6.

    Each arc is replaced by a polygon of `NODES` corners, h apart: the error is h^2 / 8 times the
    curvature, and at most h^2 / (8 d) where another branch, at distance d, is nearly as near.

    Raises:
        TypeError, ValueError: x is not a finite cloud in the plane.
    """
    z = check_cloud(x, "x", 2).detach().to("cpu", torch.float64)
    return torch.stack([_distance(arc, z) for arc in arcs]).amin(0).to(x)


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
