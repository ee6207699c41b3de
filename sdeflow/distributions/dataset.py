r"""A data set: a probability law in the plane with exact draws. Four kinds cover nearly all.

    points      m points, equally likely            x = x_i + width z
    mixture     sum_k w_k N(mu_k, C_k)
    arcs        pieces of a curve, and noise        x = c(u) + noise z, u uniform
    tiles       weighted squares                    x uniform in a square

Mean and spread are of the law, in closed form or by quadrature, never estimated from draws: the
fields that are told `std` and the floors of distances rest on them.

A finite set has no density; `smooth` gives each point a round Gaussian, and then it has one. A
curve without noise has none either. Draws are keyed: the first k of n are the draw of size k, bit
for bit. Laws are stated in float64, draws are float32 unless asked.

Units are the data's own, always. A field told of the scale (`LearnedField(data_std=data.std)`)
needs no rescaling; the centre is told to nobody, so where `mean` is large beside `std`, learn
`from_points(data.points - data.mean)`.

Sets with a name are in `datasets`, those of your own files in `datafile`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sdeflow import _validation as door
from sdeflow.distributions.curves import Arc, _distance
from sdeflow.distributions.mixture import Mixture
from sdeflow.distributions.piecewise import Draw, Tiles
from sdeflow.random_streams import Purpose, normals, uniform

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A probability law in the plane, with exact draws.

    Args:
        name: what to call it.
        mean: (2,), float64, of the law.
        std: root-mean-square spread per coordinate, sqrt(tr Cov / 2); what fields call `data_std`.
        draw: (n, seed) -> float64 cloud (n, 2) and int64 labels (n,); the first k are those of k.
        classes: a name for each label; empty where the law has no labels.
        points, labels: (m, 2) and (m,), where the law stands on a finite set; point i is of class
            `classes[labels[i]]`.
        width: standard deviation of the round Gaussian around each point.
        mixture: where the law is a Gaussian mixture.
        arcs: the curve beneath, where there is one.
        tiles: the squares, where there are some.

    Raises:
        ValueError: std not positive.
    """

    name: str
    mean: Tensor
    std: float
    draw: Draw = field(repr=False)
    classes: tuple[str, ...] = ()
    points: Tensor | None = field(default=None, repr=False)
    labels: Tensor | None = field(default=None, repr=False)
    width: float = 0.0
    mixture: Mixture | None = field(default=None, repr=False)
    arcs: tuple[Arc, ...] = field(default=(), repr=False)
    tiles: Tiles | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a law without spread."""
        door.positive(self.std, f"std of {self.name}")

    def sample(self, n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """n exact draws (n, 2); the first k of them are the draw of size k.

        Raises:
            TypeError, ValueError: n or seed no whole number or too small; dtype not floating.
        """
        if not dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating-point type, got {dtype}")
        return self.draw(door.whole(n, "n"), door.whole(seed, "seed", 0))[0].to(dtype)

    def sample_labelled(
        self, n: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """The same n draws (n, 2), and the label (n,) of each, an index into `classes`.

        Raises:
            ValueError: the law has no labels.
        """
        if not self.classes:
            raise ValueError(f"{self.name} has no labels; use sample")
        return self.sample(n, seed, dtype), self.draw(n, seed)[1]

    def smooth(self, width: float) -> Mixture:
        """p(x) = (1 / m) sum_i N(x; x_i, width^2 I): the points, each a round Gaussian.

        Raises:
            ValueError: no finite set, or a width that is not positive.
        """
        if self.points is None:
            raise ValueError(f"{self.name} is no finite set; smooth is for point sets")
        return Mixture.isotropic(self.points, door.positive(width, "width"))

    def distance(self, x: Tensor) -> Tensor:
        """min_u |x - c(u)| over the curve beneath, (n,) for x (n, 2); exact to about 1e-6.

        Each arc is a polygon of `NODES` corners, h apart: off by h^2 / 8 times the curvature, and
        by h^2 / (8 d) at most where another branch, at distance d, is nearly as near.

        Raises:
            ValueError: no curve; x is no finite cloud in the plane.
        """
        if not self.arcs:
            raise ValueError(f"{self.name} lies along no curve; distance is for curves")
        z = door.cloud(x, "x", 2).detach().to("cpu", torch.float64)
        return torch.stack([_distance(arc, z) for arc in self.arcs]).amin(0).to(x)

    def cell(self, x: Tensor) -> Tensor:
        """The square (n,) that each x (n, 2) lies in, or -1; counted along rows, lowest row first.

        Edges belong to the squares, and so does what rounding in x's type puts beyond them.

        Raises:
            ValueError: the law has no squares; x is no finite cloud in the plane.
        """
        if self.tiles is None:
            raise ValueError(
                f"{self.name} is not made of squares; cell is for boards and pictures"
            )
        low, side, weights = self.tiles
        z = door.cloud(x, "x", 2).detach().to("cpu", torch.float64)
        slack = 2 * torch.finfo(x.dtype).eps * (z.abs() + side)
        rows, columns = weights.shape
        filled = weights > 0
        # A frame of -1 around the board: whatever lies outside is clamped onto it.
        index = torch.full((rows + 2, columns + 2), -1)
        inside = index[1:-1, 1:-1]
        inside[filled] = torch.arange(int(filled.sum()))
        edge = torch.tensor([columns, rows], dtype=torch.float64)
        before, after = (
            torch.minimum(((z + shift - low) / side).floor().clamp_min(-1), edge).long() + 1
            for shift in (-slack, slack)
        )
        found = [index[j[:, 1], i[:, 0]] for i in (before, after) for j in (before, after)]
        return torch.stack(found).amax(0).to(x.device)


# --------------------------------------------------------------------------- the four kinds of law


def from_points(
    points: Tensor,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    width: float = 0.0,
    arcs: Sequence[Arc] = (),
    name: str = "points",
) -> Dataset:
    """m points, equally likely: x = x_i + width z, i uniform, z normal.

    Args:
        points: (m, 2), in units of your own.
        labels: (m,) whole numbers 0, 1, ..., an index into `classes`.
        classes: their names; by default "0", "1", ...
        width: standard deviation of the round Gaussian around each point (0: the points alone).
        arcs: the curve that they lie on, if there is one.
        name: what to call the set, also in complaints.

    Raises:
        TypeError: points that are not floating, labels that are not whole numbers.
        ValueError: not a finite (m, 2); labels that do not fit; fewer than two distinct points.
    """
    points = door.cloud(points, name).detach().to("cpu", torch.float64)
    if points.shape[1] != 2:
        raise ValueError(f"{name} must have 2 columns, x and y, got {points.shape[1]}")
    single = points.float()
    if not torch.isfinite(single).all():
        bad = int((~torch.isfinite(single)).any(1).nonzero()[0])
        raise ValueError(f"{name} is beyond single precision, first in row {bad}; rescale it")
    if (single == single[0]).all():
        raise ValueError(
            f"{name} needs at least two distinct points; these {len(points)} coincide in single "
            "precision (if they should not, subtract their mean or rescale them)"
        )
    which = torch.zeros(len(points), dtype=torch.int64)
    if labels is not None:
        which = _labels(labels, len(points), name)
        classes = tuple(classes) or tuple(str(k) for k in range(int(which.max()) + 1))
        if int(which.max()) >= len(classes):
            raise ValueError(
                f"{name} has label {int(which.max())} but only {len(classes)} class names"
            )
    elif classes:
        raise ValueError(f"{name} has class names but no labels; pass labels=")
    width = door.positive(width, "width", zero=True)

    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        i = (uniform(seed, 0, n) * len(points)).long()
        x = points[i]
        if width:
            x = x + width * normals(seed, Purpose.DATA, n, 2, torch.float64)
        return x, which[i]

    mean = points.mean(0)
    return Dataset(
        name=name,
        mean=mean,
        std=math.sqrt(float(((points - mean) ** 2).mean()) + width**2),
        draw=draw,
        classes=tuple(classes),
        points=points,
        labels=None if labels is None else which,
        width=width,
        mixture=Mixture.isotropic(points, width) if width else None,
        arcs=tuple(arcs),
    )


def _labels(labels: object, m: int, name: str) -> Tensor:
    if not isinstance(labels, Tensor) or labels.dtype not in WHOLE:
        raise TypeError(f"labels of {name} must be a tensor of whole numbers; use labels.long()")
    if labels.shape != (m,):
        raise ValueError(
            f"labels of {name} must be ({m},), one per point, got {tuple(labels.shape)}"
        )
    if int(labels.min()) < 0:
        raise ValueError(f"labels of {name} must count from 0, got {int(labels.min())}")
    return labels.detach().to("cpu", torch.int64)


def from_mixture(name: str, mixture: Mixture) -> Dataset:
    """sum_k w_k N(mu_k, C_k), the label being k."""
    return Dataset(
        name=name,
        mean=mixture.mean(),
        std=math.sqrt(float(mixture.covariance().trace()) / 2),
        draw=mixture.sample_labelled,
        classes=tuple(f"mode {k}" for k in range(len(mixture.weights))),
        mixture=mixture,
    )


def from_arcs(name: str, arcs: Sequence[Arc], noise: float, classes: Sequence[str]) -> Dataset:
    """c(u) + noise z: an arc with equal chance, u uniform on it, z normal."""
    noise = door.positive(noise, "noise", zero=True)

    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        which = (uniform(seed, 0, n) * len(arcs)).long()
        u = uniform(seed, 1, n)
        x = noise * normals(seed, Purpose.DATA, n, 2, torch.float64)
        for k, (place, low, high) in enumerate(arcs):
            x += torch.where((which == k)[:, None], place(low + u * (high - low)), 0.0)
        return x, which

    # Gauss-Legendre: the arcs are analytic, and 64 nodes give their moments to rounding.
    nodes, weights = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(64))
    x = torch.stack([place((low + high + nodes * (high - low)) / 2) for place, low, high in arcs])
    share = weights[None, :, None] / (2 * len(arcs))
    mean = (share * x).sum((0, 1))
    variance = float((share * (x - mean) ** 2).sum()) / 2 + noise**2
    return Dataset(name, mean, math.sqrt(variance), draw, tuple(classes), arcs=tuple(arcs))


def from_tiles(name: str, tiles: Tiles, classes: Sequence[str] = ()) -> Dataset:
    """Uniform inside squares, each as likely as its weight."""
    row, column, share = tiles.filled()
    share, corner = share[:, None], tiles.low + tiles.side * torch.stack([column, row], 1).double()
    centre = corner + tiles.side / 2
    mean = (share * centre).sum(0)
    variance = float((share * (centre - mean) ** 2).sum()) / 2 + tiles.side**2 / 12
    return Dataset(name, mean, math.sqrt(variance), tiles.drawing(), tuple(classes), tiles=tiles)
