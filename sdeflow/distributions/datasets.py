r"""Choose a data set by name: the lectures' sets of the plane, those of the literature, digits.

    PointSet           a finite set        spiral
    GaussianMixture    Gaussians           ring, eight_gaussians, gaussian_grid
    Curves             curves with noise   two_moons, circles, s_curve, swiss_roll
    PiecewiseConstant  squares             checkerboard
    Pinwheel           curved arms         pinwheel
    PointSet           pictures            digits (`from_pictures` takes your own)

Constants are published ones, and each docstring names the source: the "eight Gaussians" of two
papers differ in radius and width, so distances measured on them cannot be compared. No set is
standardised. Every set that has parts has classes.

`named` takes a name of this page, or a file, which `from_file` reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_int, check_numbers, check_positive
from sdeflow.distributions.arguments import check_draw, check_move, check_one_number
from sdeflow.distributions.curves import Arc as Arc
from sdeflow.distributions.curves import Curves
from sdeflow.distributions.dataset import Dataset as Dataset
from sdeflow.distributions.dataset import from_points as from_points
from sdeflow.distributions.digits import digits as digits
from sdeflow.distributions.digits import from_pictures as from_pictures
from sdeflow.distributions.distribution import Distribution
from sdeflow.distributions.files import ARRAYS, PICTURES, TEXTS
from sdeflow.distributions.files import from_file as from_file
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.piecewise import PiecewiseConstant as PiecewiseConstant
from sdeflow.random_streams import Stream, normals, uniform

__all__ = [
    "spiral", "checkerboard", "ring", "eight_gaussians", "gaussian_grid", "two_moons", "circles",
    "s_curve", "swiss_roll", "pinwheel", "digits", "named", "NAMES", "SHAPED", "from_points",
    "from_pictures", "from_file", "Dataset", "Pinwheel", "Arc", "PiecewiseConstant",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


def _modes(name: str, mixture: GaussianMixture) -> Dataset:
    """A set whose classes are the components."""
    names = tuple(f"mode {k}" for k in range(len(mixture.weights)))
    return Dataset(name, mixture, names, isotropic=True)


def _along(name: str, arcs: Sequence[Arc], noise: float, classes: Sequence[str]) -> Dataset:
    """A set whose classes are the arcs."""
    return Dataset(name, Curves(tuple(arcs), noise), tuple(classes), tuple(arcs))


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
    m = check_int(points, "points", 2)
    span = 2 * math.pi * check_positive(turns, "turns")
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
        curve=[Arc(place, start, start + span)],
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
    board = PiecewiseConstant(torch.tensor([-4.0, -4.0], dtype=torch.float64), 2.0, weights)
    names = tuple(f"square {k}" for k in range(8))
    return Dataset("checkerboard", board, names, isotropic=True)


# ---------------------------------------------------------------------- sets of the literature


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
    k = torch.arange(check_int(modes, "modes"), dtype=torch.float64)
    means = _circle(2 * math.pi * k / modes, check_positive(radius, "radius"))
    shares = None if weights is None else check_numbers(weights, "weights", (modes,))
    return _modes(name, GaussianMixture.isotropic(means, check_positive(std, "std"), shares))


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
    line = torch.arange(check_int(side, "side"), dtype=torch.float64) - (side - 1) / 2
    means = check_positive(spacing, "spacing") * torch.cartesian_prod(line, line)
    return _modes("gaussian_grid", GaussianMixture.isotropic(means, check_positive(std, "std")))


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
    return _along("two_moons", arcs, noise, ("upper", "lower"))


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
    if not np.iterable(radii):
        raise TypeError(f"radii must be a list of numbers, got {radii!r}")
    if len(radii) == 0:
        raise ValueError("radii is empty; give at least one radius")
    arcs = [
        Arc(partial(_circle, radius=check_positive(r, "radius")), 0.0, 2 * math.pi) for r in radii
    ]
    return _along("circles", arcs, noise, [f"radius {r:g}" for r in radii])


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
    return _along("s_curve", [Arc(_s, -1.5 * math.pi, 1.5 * math.pi)], noise, ())


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
    return _along("swiss_roll", [arc], noise, ())


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
    check_int(arms, "arms", 2)
    check_positive(radial, "radial", zero=True)
    check_positive(tangential, "tangential", zero=True)
    check_positive(rate, "rate", zero=True)

    return Dataset(
        "pinwheel",
        Pinwheel(arms, radial, tangential, rate),
        tuple(f"arm {k}" for k in range(arms)),
    )


@dataclass(frozen=True)
class Pinwheel(Distribution):
    """The distribution of `pinwheel`, moved to `centre` and divided by `scale`."""

    arms: int
    radial: float
    tangential: float
    rate: float
    centre: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def __repr__(self) -> str:
        """In words."""
        return f"a pinwheel of {self.arms} arms"

    @property
    def dim(self) -> int:
        """See `Distribution`."""
        return 2

    def mean(self) -> Tensor:
        """See `Distribution`."""
        return -torch.tensor(self.centre, dtype=torch.float64) / self.scale

    def std(self) -> float:
        """See `Distribution`."""
        return math.sqrt(2 * (1 + self.radial**2 + self.tangential**2)) / self.scale

    def moved(self, shift: Tensor, scale: float | Tensor) -> Pinwheel:
        """See `Distribution`; scale is one number."""
        shift, scale = check_move(shift, scale, self.dim)
        scale = check_one_number(scale, self)
        x, y = (torch.tensor(self.centre, dtype=torch.float64) + self.scale * shift).tolist()
        return replace(self, centre=(x, y), scale=self.scale * scale)

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """See `Distribution`."""
        n, seed = check_draw(n, seed)
        which = (uniform(seed, 0, n) * self.arms).long()
        z = normals(seed, Stream.DATA, n, 2, torch.float64)
        f, g = 1 + self.radial * z[:, 0], self.tangential * z[:, 1]
        a = 2 * math.pi / self.arms * which.double() + self.rate * torch.exp(f)
        sine, cosine = torch.sin(a), torch.cos(a)
        x = 2 * torch.stack([f * cosine + g * sine, g * cosine - f * sine], 1)
        return (x - torch.tensor(self.centre, dtype=torch.float64)) / self.scale, which


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
"""The sets of the plane."""

SHAPED: dict[str, Callable[[], Dataset]] = {"digits": digits}
"""The sets of pictures."""


def named(name: str) -> Dataset:
    """One of `NAMES` or `SHAPED` with its default constants, or the data in the file of that name.

    Raises:
        ValueError: neither a known set nor a file that can be read; TypeError: not a name.
    """
    known = NAMES | SHAPED
    if isinstance(name, str) and name in known:
        return known[name]()
    if isinstance(name, str) and not Path(name).suffix:
        raise ValueError(
            f"there is no data set {name!r}; there are {', '.join(known)}, and your own file: "
            f"{', '.join((*TEXTS, *ARRAYS, *PICTURES))}"
        )
    return from_file(name)
