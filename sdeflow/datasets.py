r"""Laws in the plane to be learned: the lectures' sets, the field's usual ones, and your own file.

A `Dataset` is a probability law with exact draws. Four kinds cover all but one of them:

    points      m points, equally likely            spiral, a table of your own
    mixture     sum_k w_k N(mu_k, C_k)              ring, eight_gaussians, gaussian_grid
    arcs        c(u) + noise z, u uniform           two_moons, circles, s_curve, swiss_roll
    tiles       uniform on weighted squares         checkerboard, a picture of your own

A finite set has no density; `smooth` gives each point a round Gaussian, and then it has one. A
curve without noise has none either. Draws are keyed: the first k of n are the draw of size k, bit
for bit. Laws are stated in float64, draws are float32 unless asked.

Units are the data's own, always. A field told of the scale (`LearnedField(data_std=data.std)`)
needs no rescaling; the centre is told to nobody, so where `mean` is large beside `std`, learn
`from_points(data.points - data.mean)`.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from scipy.spatial import cKDTree
from torch import Tensor

from sdeflow import door
from sdeflow.mixture import Mixture
from sdeflow.noise import Purpose, generator, normals

NODES = 2**14
"""Corners of the polygon that stands for an arc when distances to it are asked."""
MAX_PIXELS = 4096**2
TEXTS = (".csv", ".tsv", ".txt")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

Draw = Callable[[int, int], tuple[Tensor, Tensor]]


class Arc(NamedTuple):
    """A piece of a curve: place(u) (n,) -> (n, 2) for u in [low, high]."""

    place: Callable[[Tensor], Tensor]
    low: float
    high: float


class Tiles(NamedTuple):
    """A board of squares: weights (rows, columns), row 0 lowest; `low` (2,) its lower left.

    Uniform inside each square, each as likely as its weight. The filled squares (weight above
    zero) are numbered along rows, lowest row first.
    """

    low: Tensor
    side: float
    weights: Tensor

    def filled(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and share of each filled square, (m,); the shares add up to one."""
        row, column = torch.nonzero(self.weights > 0, as_tuple=True)
        weights = self.weights[row, column]
        return row, column, weights / weights.sum()

    def drawing(self) -> Draw:
        """Exact draws: (n, seed) -> float64 cloud (n, 2), and the square (n,) that each is in."""
        row, column, _ = self.filled()
        corner = self.low + self.side * torch.stack([column, row], 1).double()
        edges = torch.cumsum(self.weights[row, column], 0)

        def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
            which = torch.searchsorted(edges, _uniform(seed, 0, n) * edges[-1], right=True)
            which = which.clamp_max(len(edges) - 1)
            u = torch.stack([_uniform(seed, 1, n), _uniform(seed, 2, n)], 1)
            return corner[which] + self.side * u, which

        return draw


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


def _uniform(seed: int, stream: int, n: int) -> Tensor:
    return torch.from_numpy(generator(seed, Purpose.CHOICE, stream).random(n))


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
        i = (_uniform(seed, 0, n) * len(points)).long()
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


def _from_mixture(name: str, mixture: Mixture) -> Dataset:
    return Dataset(
        name=name,
        mean=mixture.mean(),
        std=math.sqrt(float(mixture.covariance().trace()) / 2),
        draw=mixture.sample_labelled,
        classes=tuple(f"mode {k}" for k in range(len(mixture.weights))),
        mixture=mixture,
    )


def _from_arcs(name: str, arcs: Sequence[Arc], noise: float, classes: Sequence[str]) -> Dataset:
    """c(u) + noise z: an arc with equal chance, u uniform on it, z normal."""
    noise = door.positive(noise, "noise", zero=True)

    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        which = (_uniform(seed, 0, n) * len(arcs)).long()
        u = _uniform(seed, 1, n)
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


def _from_tiles(name: str, tiles: Tiles, classes: Sequence[str] = ()) -> Dataset:
    """Uniform inside squares, each as likely as its weight."""
    row, column, share = tiles.filled()
    share, corner = share[:, None], tiles.low + tiles.side * torch.stack([column, row], 1).double()
    centre = corner + tiles.side / 2
    mean = (share * centre).sum(0)
    variance = float((share * (centre - mean) ** 2).sum()) / 2 + tiles.side**2 / 12
    return Dataset(name, mean, math.sqrt(variance), tiles.drawing(), tuple(classes), tiles=tiles)


# ------------------------------------------------------------------------------ the lectures' sets


def _roll(u: Tensor, scale: float) -> Tensor:
    """Archimedes' spiral, scale u (cos u, sin u)."""
    return scale * torch.stack([u * torch.cos(u), u * torch.sin(u)], 1)


def _circle(u: Tensor, radius: float) -> Tensor:
    return radius * torch.stack([torch.cos(u), torch.sin(u)], 1)


def spiral(points: int = 100, turns: float = 2.5, width: float = 0.0) -> Dataset:
    r"""The spiral of the diffusion lecture: points equally spaced in angle, three classes.

    x_i = theta_i (cos theta_i, sin theta_i) / (2 pi turns), theta from pi/2 to pi/2 + 2 pi turns.
    The radius runs from 1 / (4 turns) to 1 + 1 / (4 turns), neighbouring arms are 1 / turns apart.
    Points are spaced in angle, so that their areal density falls as 1 / r.

    The class is min(floor(3 (theta - pi/2) / (2 pi turns - pi/2)), 2): person (inside), dog, cat
    (outside). The divisor is less than the range, as in the lecture: 100 points split 30, 30, 40.

    Args:
        points: m, at least 2.
        turns: more than 1/4, where the classes' divisor ends.
        width: of a round Gaussian around each point (0: the points alone).

    Raises:
        TypeError, ValueError: points, turns or width are out of range.

    Source: S. Welch, "But how do AI images and videos actually work?" (repository manim_videos,
    _2025/sora): Swiss roll with (t_min, t_max, N) = (pi / 2, 5 pi, 100), t_max being the range.
    """
    m = door.whole(points, "points", 2)
    span = 2 * math.pi * door.positive(turns, "turns")
    if turns <= 0.25:
        raise ValueError(f"turns must exceed 1/4, got {turns!r}")
    start = math.pi / 2
    run = span * torch.linspace(0, 1, m, dtype=torch.float64)
    place = partial(_roll, scale=1 / span)
    return from_points(
        place(start + run),
        (3 * run / (span - start)).long().clamp_max(2),
        ("person", "dog", "cat"),
        width=width,
        arcs=[Arc(place, start, start + span)],
        name="spiral",
    )


def checkerboard() -> Dataset:
    """The checkerboard of the flow-matching lecture: uniform on 8 squares of side 2 in [-4, 4]^2.

    Of 4 x 4 cells (i, j) those with odd i + j, counted along rows from the lower left, 0 to 7:
    that is also the label. Mean 0, variance 16/3 per coordinate, covariance -1.

    Source: dome272, Flow-Matching (notebook); Lipman et al. 2023, figure 4.
    """
    i = torch.arange(4)
    weights = ((i[:, None] + i) % 2).double()
    tiles = Tiles(torch.tensor([-4.0, -4.0], dtype=torch.float64), 2.0, weights)
    return _from_tiles("checkerboard", tiles, [f"square {k}" for k in range(8)])


# -------------------------------------------------------------------------- the field's usual sets


def ring(
    modes: int = 5,
    radius: float = 2.0,
    std: float = 0.25,
    weights: Sequence[float] | None = None,
    name: str = "ring",
) -> Dataset:
    """Round Gaussians on a circle: mu_k = radius (cos, sin)(2 pi k / modes), C = std^2 I.

    Args:
        modes: at least 1; `weights`: one positive number per mode, by default equal.
        radius, std: of the circle, and of each Gaussian per coordinate.
        name: what to call it.

    Raises:
        TypeError, ValueError: a number out of range, or as many weights as there are not modes.

    Source: the test problem of this package's Fokker-Planck solver (5 modes, radius 2, std 0.25).
    """
    k = torch.arange(door.whole(modes, "modes"), dtype=torch.float64)
    means = _circle(2 * math.pi * k / modes, door.positive(radius, "radius"))
    shares = None if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    return _from_mixture(name, Mixture.isotropic(means, door.positive(std, "std"), shares))


def eight_gaussians(radius: float = math.sqrt(8), std: float = math.sqrt(1 / 8)) -> Dataset:
    """Eight round Gaussians on a circle, the first at angle 0.

    By default FFJORD's: radius 4 and std 0.5, both over sqrt(2) (its code divides by 1.414). The
    flow-matching tables (torchdyn's generator; Tong et al. 2024) have radius 5 and std 1.

    Raises:
        TypeError, ValueError: radius or std not positive.

    Source: Grathwohl et al. 2019, code, lib/toy_data.py.
    """
    return ring(8, radius, std, name="eight_gaussians")


def gaussian_grid(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Dataset:
    """side x side round Gaussians on a square grid about 0: 25 far modes, a test for dropped ones.

    Raises:
        TypeError, ValueError: a number out of range.

    Source: Gulrajani et al. 2017, code (spacing 2, std 0.05, before its division by 2.828).
    """
    line = torch.arange(door.whole(side, "side"), dtype=torch.float64) - (side - 1) / 2
    means = door.positive(spacing, "spacing") * torch.cartesian_prod(line, line)
    return _from_mixture("gaussian_grid", Mixture.isotropic(means, door.positive(std, "std")))


def _upper_moon(u: Tensor) -> Tensor:
    return _circle(u, 1.0)


def _lower_moon(u: Tensor) -> Tensor:
    return torch.tensor([1.0, 0.5], dtype=u.dtype) - _circle(u, 1.0)


def two_moons(noise: float = 0.05) -> Dataset:
    """Two half circles, (cos u, sin u) and (1 - cos u, 1/2 - sin u), 0 <= u <= pi, plus noise.

    Mean (1/2, 1/4). The flow-matching tables then take 2 x - 1.

    Args:
        noise: standard deviation per coordinate (0: the curve).

    Raises:
        TypeError, ValueError: noise negative or no number.

    Source: scikit-learn, make_moons; noise 0.05 as in Tong et al. 2024, code.
    """
    arcs = [Arc(_upper_moon, 0.0, math.pi), Arc(_lower_moon, 0.0, math.pi)]
    return _from_arcs("two_moons", arcs, noise, ("upper", "lower"))


def circles(radii: Sequence[float] = (1.0, 0.5), noise: float = 0.05) -> Dataset:
    """Concentric circles r (cos u, sin u), equally likely whatever r, plus noise; labels count r.

    Args:
        radii: one or more positive numbers.
        noise: standard deviation per coordinate (0: the curve).

    Raises:
        TypeError, ValueError: no radii, one that is not positive, a negative noise.

    Source: scikit-learn, make_circles with factor 0.5 (Grathwohl et al. 2019, code: noise 0.08,
    all times 3).
    """
    if len(radii) == 0:
        raise ValueError("radii is empty; give at least one radius")
    arcs = [
        Arc(partial(_circle, radius=door.positive(r, "radius")), 0.0, 2 * math.pi) for r in radii
    ]
    return _from_arcs("circles", arcs, noise, [f"radius {r:g}" for r in radii])


def _s(u: Tensor) -> Tensor:
    return torch.stack([torch.sin(u), torch.sign(u) * (torch.cos(u) - 1)], 1)


def s_curve(noise: float = 0.05) -> Dataset:
    """Two three-quarter circles, (sin u, sign(u) (cos u - 1)), |u| <= 3 pi / 2, plus noise.

    Mean 0. The flow-matching tables then take 1.5 x.

    Args:
        noise: standard deviation per coordinate (0: the curve).

    Raises:
        TypeError, ValueError: noise negative or no number.

    Source: scikit-learn, make_s_curve, columns 0 and 2; noise 0.05 as in Shi et al. 2023, code.
    """
    return _from_arcs("s_curve", [Arc(_s, -1.5 * math.pi, 1.5 * math.pi)], noise, ())


def swiss_roll(noise: float = 0.2) -> Dataset:
    """A roll of 1.5 turns, (u / 5) (cos u, sin u), u uniform in [3 pi / 2, 9 pi / 2], plus noise.

    Args:
        noise: standard deviation per coordinate (0: the curve).

    Raises:
        TypeError, ValueError: noise negative or no number.

    Source: scikit-learn, make_swiss_roll with noise 1, columns 0 and 2, over 5 (Grathwohl et al.
    2019, code).
    """
    arc = Arc(partial(_roll, scale=1 / 5), 1.5 * math.pi, 4.5 * math.pi)
    return _from_arcs("swiss_roll", [arc], noise, ())


def pinwheel(
    arms: int = 5, radial: float = 0.3, tangential: float = 0.1, rate: float = 0.25
) -> Dataset:
    r"""Curved arms: x = 2 R(-a) (f, g), f ~ N(1, radial^2), g ~ N(0, tangential^2).

    The arm k, equally likely, and the distance f turn it clockwise, a = 2 pi k / arms + rate e^f.
    Mean 0, E |x|^2 = 4 (1 + radial^2 + tangential^2).

    Args:
        arms: at least 2; the label counts them.
        radial, tangential: standard deviations along and across an arm, before the factor 2.
        rate: of the twist (rad).

    Raises:
        TypeError, ValueError: a number out of range.

    Source: Johnson et al. 2016, code (make_pinwheel_data), with FFJORD's constants and factor 2.
    """
    door.whole(arms, "arms", 2)
    door.positive(radial, "radial", zero=True)
    door.positive(tangential, "tangential", zero=True)
    door.positive(rate, "rate", zero=True)

    def draw(n: int, seed: int) -> tuple[Tensor, Tensor]:
        which = (_uniform(seed, 0, n) * arms).long()
        z = normals(seed, Purpose.DATA, n, 2, torch.float64)
        f, g = 1 + radial * z[:, 0], tangential * z[:, 1]
        a = 2 * math.pi / arms * which.double() + rate * torch.exp(f)
        sine, cosine = torch.sin(a), torch.cos(a)
        return 2 * torch.stack([f * cosine + g * sine, g * cosine - f * sine], 1), which

    return Dataset(
        name="pinwheel",
        mean=torch.zeros(2, dtype=torch.float64),
        std=math.sqrt(2 * (1 + radial**2 + tangential**2)),
        draw=draw,
        classes=tuple(f"arm {k}" for k in range(arms)),
    )


# ----------------------------------------------------------------------------------- your own file


def from_file(path: str | os.PathLike[str]) -> Dataset:
    """Your own set: a table of points, or a picture whose dark parts are the density.

    `.csv`, `.tsv`, `.txt`: one point per line, split at semicolons, commas, tabs or blanks;
    numbers take a decimal point; a first line without any number is a header; # starts a comment.
    `.npy`, `.npz`: an array (m, 2); in an archive it is called `x` or `points`, or is the only one
    beside `labels` (m,), which may be missing. Pickled arrays are refused.
    Two columns are x and y. A third holds whole-number labels; `classes` are their distinct
    values, as text and in order, and `labels` count these from 0.

    `.png`, `.jpg`, `.bmp`, `.gif`, `.webp`: uniform inside pixels, each as likely as it is dark
    (black 1, white or transparent 0). The picture is centred on 0, y points upwards, the longer
    side spans [-1, 1]. Of an animation the first frame counts. 4096 x 4096 pixels at most.

    Raises:
        TypeError: path is no path.
        ValueError: no such file, an unknown suffix, or contents that are none of the above; the
            message names the file, the line or row, and the cure.
    """
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path must name a file, got {type(path).__name__}") from None
    suffix = file.suffix.lower()
    try:
        if file.is_dir():
            raise ValueError(f"{file} is a folder; name a file in it")
        if not file.is_file():
            raise ValueError(f"{file} does not exist; check the path")
        if suffix in PICTURES:
            return _picture(file)
        if suffix in TEXTS:
            return _table(file, *_text(file))
        if suffix in ARRAYS:
            return _table(file, *_arrays(file))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
    known = ", ".join((*TEXTS, *ARRAYS, *PICTURES))
    raise ValueError(f"{file} has no suffix that is known here; use one of {known}")


def _table(file: Path, table: np.ndarray, labels: np.ndarray | None) -> Dataset:
    """Two columns, or three with labels, as a point set."""
    for what, array in (("array", table), ("labels", labels)):
        if array is not None and array.dtype.kind not in "fiu":
            raise ValueError(f"{file}: {what} must hold real numbers, got {array.dtype}")
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        raise ValueError(
            f"{file} must have 2 columns (x, y), or 3 with a label, got shape {table.shape}"
        )
    with np.errstate(over="ignore"):  # a long double may not fit; then it is infinite, and refused
        points = torch.from_numpy(np.array(table, dtype=np.float64))
    door.cloud(points, str(file))
    if table.shape[1] == 3:
        if labels is not None:
            raise ValueError(f"{file} has labels twice, as a column and as an array; keep one")
        points, labels = points[:, :2].contiguous(), table[:, 2]
    if labels is None:
        return from_points(points, name=str(file))
    if labels.shape != (len(points),):
        raise ValueError(f"{file}: labels must be ({len(points)},), got shape {labels.shape}")
    broken = ~np.isfinite(labels) | (labels != np.round(labels))
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(
            f"{file}: labels must be whole numbers, got {labels[row]} in row {row}; "
            "points of three dimensions are not for this package's sets"
        )
    values, which = np.unique(labels, return_inverse=True)
    names = [f"{v:.0f}" if values.dtype.kind == "f" else str(v) for v in values]
    return from_points(points, torch.from_numpy(which.reshape(-1)), names, name=str(file))


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _text(file: Path) -> tuple[np.ndarray, None]:
    """The numbers of a text file (m, columns)."""
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text in UTF-8; save it as plain text") from None
    rows: list[list[float]] = []
    headed = False
    for at, line in enumerate(lines, 1):
        line = line.split("#")[0].strip(" \r")
        if not line.strip():
            continue
        mark = next((m for m in ";,\t" if m in line), None)
        cells = [cell.strip() for cell in line.split(mark)]
        numbers = [number for cell in cells if (number := _number(cell)) is not None]
        if not (headed or rows or any(_number(c.replace(",", ".")) is not None for c in cells)):
            headed = True
            continue
        if len(numbers) < len(cells):
            bad = next(cell for cell in cells if _number(cell) is None)
            raise ValueError(
                f"{file}, line {at}: {bad[:40]!r} is no number (decimals take a point)"
            )
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"{file}, line {at} has NaN or infinite entries; drop that line")
        if rows and len(numbers) != len(rows[0]):
            raise ValueError(
                f"{file}, line {at} has {len(numbers)} columns, those before it {len(rows[0])}; "
                "give every point the same"
            )
        rows.append(numbers)
    if not rows:
        raise ValueError(f"{file} is empty; give one point per line")
    return np.array(rows), None


def _arrays(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The array of points of a numpy file, and its labels if there are any."""
    try:
        loaded = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except (
        Exception
    ) as error:  # on bad bytes numpy, zipfile and zlib raise a dozen different types
        raise ValueError(
            f"{file} is no plain numpy array ({error}); write it with numpy.save or numpy.savez, "
            "without objects"
        ) from None
    labels = arrays.pop("labels", None)
    for key in ("x", "points"):
        if key in arrays:
            return arrays[key], labels
    if len(arrays) != 1:
        raise ValueError(
            f"{file} holds arrays {sorted(arrays)}; call the one with the points `x` or `points`"
        )
    return next(iter(arrays.values())), labels


def _picture(file: Path) -> Dataset:
    """A picture as squares, each as likely as it is dark."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oversize: the guard below speaks; of odd metadata
            image = Image.open(io.BytesIO(file.read_bytes()), formats=FORMATS)
            size = image.size
            dark = _darkness(image) if math.prod(size) <= MAX_PIXELS else None
    except Image.DecompressionBombError:
        size, dark = None, None
    except Exception as error:  # on bad bytes Pillow's decoders raise a dozen different types
        raise ValueError(f"{file} is no picture that can be read ({error})") from None
    if dark is None:
        shape = "it" if size is None else f"{size[0]} x {size[1]} pixels"
        raise ValueError(f"{file} is too large ({shape}); shrink it to 4096 x 4096 at most")
    if not dark.any():
        raise ValueError(f"{file} has no dark pixels; draw dark on white or on transparent")
    weights = torch.from_numpy(dark[::-1].copy())
    rows, columns = weights.shape
    side = 2 / max(rows, columns)
    low = torch.tensor([-columns * side / 2, -rows * side / 2], dtype=torch.float64)
    return _from_tiles(str(file), Tiles(low, side, weights))


def _darkness(image: Image.Image) -> np.ndarray:
    """1 for black, 0 for white or transparent, (rows, columns), float64, first row on top."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey
        return 1 - np.asarray(image, dtype=np.float64) / 65535
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    grey = np.asarray(Image.alpha_composite(white, image).convert("L"), dtype=np.float64)
    return 1 - grey / 255


# ----------------------------------------------------------------------------------------- by name

NAMES: dict[str, Callable[[], Dataset]] = {
    "spiral": spiral,
    "checkerboard": checkerboard,
    "eight_gaussians": eight_gaussians,
    "ring": ring,
    "gaussian_grid": gaussian_grid,
    "two_moons": two_moons,
    "circles": circles,
    "s_curve": s_curve,
    "swiss_roll": swiss_roll,
    "pinwheel": pinwheel,
}


def named(name: str) -> Dataset:
    """One of `NAMES` as it comes, or else the file of that name: what a command line asks for.

    Raises:
        ValueError: neither a known set nor a file that can be read.
    """
    if name in NAMES:
        return NAMES[name]()
    if not Path(name).suffix:
        raise ValueError(
            f"there is no data set {name!r}; there are {', '.join(NAMES)}, and your own file: "
            f"{', '.join((*TEXTS, *ARRAYS, *PICTURES))}"
        )
    return from_file(name)
