r"""Choose a data set by name: two-dimensional sets of lectures and papers, and pictures of digits.

    PointSet           points              spiral
    GaussianMixture    Gaussians           ring, eight_gaussians, gaussian_grid
    Curves             curves with noise   two_moons, circles, s_curve, swiss_roll
    PiecewiseConstant  squares             checkerboard
    Pinwheel           curved arms         pinwheel
    PointSet           pictures            digits

`named("ring")` makes one of these, or reads a file. `from_points`, `from_pictures` and `from_file`
take your own data. Constants are published ones, and each docstring names the source: papers use
different constants under one name, and distances measured with them cannot be compared. No set is
standardised. A set of several parts has a class for each.
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

from sdeflow._validation import check_int, check_numbers, check_positive, shown
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
    """A data set of a mixture, whose classes are the components."""
    names = tuple(f"mode {k}" for k in range(len(mixture.weights)))
    return Dataset(name, mixture, names, isotropic=True)


def _along(name: str, arcs: Sequence[Arc], noise: float, classes: Sequence[str]) -> Dataset:
    """A data set of points along arcs, whose classes are the arcs."""
    return Dataset(name, Curves(tuple(arcs), noise), tuple(classes), tuple(arcs))


# -------------------------------------------------------------------------------- sets of lectures


def _roll(u: Tensor, scale: float) -> Tensor:
    """Archimedes' spiral, scale u (cos u, sin u)."""
    return scale * torch.stack([u * torch.cos(u), u * torch.sin(u)], 1)


def _circle(u: Tensor, radius: float) -> Tensor:
    return radius * torch.stack([torch.cos(u), torch.sin(u)], 1)


def spiral(points: int = 100, turns: float = 2.5, width: float = 0.0) -> Dataset:
    r"""Points on a spiral, equally spaced in angle, in three classes, as in a lecture.

        x_i = theta_i (cos theta_i, sin theta_i) / (2 pi turns)

    theta runs from pi/2 to pi/2 + 2 pi turns, so that the radius runs from 1 / (4 turns) to
    1 + 1 / (4 turns); neighbouring arms are 1 / turns apart. The class is
    min(floor(3 (theta - pi/2) / (2 pi turns - pi/2)), 2): person (inside), dog, cat (outside). The
    divisor is less than the range of theta, as in the lecture, so that 100 points split into 30,
    30 and 40.

    Args:
        points: m, at least 2.
        turns: more than 1/4, so that the divisor of the classes is positive.
        width: standard deviation of a round Gaussian around each point; 0: the points alone.

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
    """The checkerboard of a lecture on flow matching: uniform on 8 squares of side 2 in [-4, 4]^2.

    They are those of 4 x 4 cells (i, j) with odd i + j. The label is the number of the square, 0
    to 7, counted along rows from the lower left. Mean 0, variance 16/3 per coordinate, covariance
    -1.

    Source: dome272, Flow-Matching (notebook); Lipman et al. 2023, figure 4.
    """
    i = torch.arange(4)
    weights = ((i[:, None] + i) % 2).double()
    squares = PiecewiseConstant(torch.tensor([-4.0, -4.0], dtype=torch.float64), 2.0, weights)
    names = tuple(f"square {k}" for k in range(8))
    return Dataset("checkerboard", squares, names, isotropic=True)


# ---------------------------------------------------------------------------------- sets of papers


def ring(
    modes: int = 5,
    radius: float = 2.0,
    std: float = 0.25,
    weights: Sequence[float] | None = None,
    name: str = "ring",
) -> Dataset:
    """Round Gaussians on a circle: mu_k = radius (cos, sin)(2 pi k / modes), C = std^2 I.

    Args:
        modes: the number of Gaussians.
        radius: the radius of the circle (length).
        std: the standard deviation of each Gaussian per coordinate (length).
        weights: one positive number for each Gaussian; equal by default.
        name: for reports and error messages.

    Source: none; the default is the test problem of this package's Fokker-Planck solver.
    """
    k = torch.arange(check_int(modes, "modes"), dtype=torch.float64)
    means = _circle(2 * math.pi * k / modes, check_positive(radius, "radius"))
    shares = None if weights is None else check_numbers(weights, "weights", (modes,))
    return _modes(name, GaussianMixture.isotropic(means, check_positive(std, "std"), shares))


def eight_gaussians(radius: float = math.sqrt(8), std: float = math.sqrt(1 / 8)) -> Dataset:
    """Eight round Gaussians on a circle, the first at angle 0.

    The default is that of FFJORD: radius 4 and std 0.5, both divided by sqrt(2) (by 1.414 in its
    code). The tables of flow matching (torchdyn's generator; Tong et al. 2024) take radius 5 and
    std 1.

    Source: Grathwohl et al. 2019, code, lib/toy_data.py.
    """
    return ring(8, radius, std, name="eight_gaussians")


def gaussian_grid(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> Dataset:
    """side x side narrow round Gaussians on a square lattice around 0, to test for lost modes.

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

    Mean (1/2, 1/4). The tables of flow matching are for 2 x - 1.

    Args:
        noise: standard deviation per coordinate (length); 0: exactly on the curve.

    Source: scikit-learn, make_moons; noise 0.05 as in Tong et al. 2024, code.
    """
    arcs = [Arc(_upper_moon, 0.0, math.pi), Arc(_lower_moon, 0.0, math.pi)]
    return _along("two_moons", arcs, noise, ("upper", "lower"))


def circles(radii: Sequence[float] = (1.0, 0.5), noise: float = 0.05) -> Dataset:
    """Concentric circles r (cos u, sin u), plus noise, each equally likely and a class.

    Args:
        radii: one or more positive numbers (length).
        noise: standard deviation per coordinate (length); 0: exactly on the curve.

    Source: scikit-learn, make_circles with factor 0.5 (Grathwohl et al. 2019, code: noise 0.08,
    all times 3).
    """
    if not np.iterable(radii):
        raise TypeError(f"radii must be a list of numbers, got {shown(radii)}")
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

    Mean 0. The tables of flow matching are for 1.5 x.

    Args:
        noise: standard deviation per coordinate (length); 0: exactly on the curve.

    Source: scikit-learn, make_s_curve, columns 0 and 2; noise 0.05 as in Shi et al. 2023, code.
    """
    return _along("s_curve", [Arc(_s, -1.5 * math.pi, 1.5 * math.pi)], noise, ())


def swiss_roll(noise: float = 0.2) -> Dataset:
    """A spiral (u / 5) (cos u, sin u), u uniform in [3 pi / 2, 9 pi / 2], plus noise.

    Args:
        noise: standard deviation per coordinate (length); 0: exactly on the curve.

    Source: scikit-learn, make_swiss_roll with noise 1, columns 0 and 2, over 5 (Grathwohl et al.
    2019, code).
    """
    arc = Arc(partial(_roll, scale=1 / 5), 1.5 * math.pi, 4.5 * math.pi)
    return _along("swiss_roll", [arc], noise, ())


def pinwheel(
    arms: int = 5, radial: float = 0.3, tangential: float = 0.1, rate: float = 0.25
) -> Dataset:
    r"""Arms around 0, equally likely, each bent in one sense; the label is the number of the arm.

        x = 2 R(-a) (f, g),    f ~ N(1, radial^2),    g ~ N(0, tangential^2)

    R(-a) is the clockwise rotation by a = 2 pi k / arms + rate e^f for arm k. Mean 0,
    E|x|^2 = 4 (1 + radial^2 + tangential^2).

    Args:
        arms: at least 2.
        radial, tangential: standard deviations along and across an arm, before the factor 2.
        rate: how much the arms are bent (rad).

    Source: Johnson et al. 2016, code (make_pinwheel_data), with FFJORD's constants and factor 2.
    """
    arms_of = Pinwheel(arms, radial, tangential, rate)
    return Dataset("pinwheel", arms_of, tuple(f"arm {k}" for k in range(arms)))


@dataclass(frozen=True)
class Pinwheel(Distribution):
    """The distribution of (x - centre) / scale, for the points x of `pinwheel`."""

    arms: int
    radial: float
    tangential: float
    rate: float
    centre: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_int(self.arms, "arms", 2)
        for name in ("radial", "tangential", "rate"):
            check_positive(getattr(self, name), name, zero=True)
        check_numbers(self.centre, "centre", (2,))
        check_positive(self.scale, "scale")

    def __repr__(self) -> str:
        return f"a pinwheel of {self.arms} arms"

    @property
    def dim(self) -> int:
        return 2

    def mean(self) -> Tensor:
        return -torch.tensor(self.centre, dtype=torch.float64) / self.scale

    def std(self) -> float:
        return math.sqrt(2 * (1 + self.radial**2 + self.tangential**2)) / self.scale

    def moved(self, shift: Tensor, scale: float | Tensor) -> Pinwheel:
        shift, scale = check_move(shift, scale, self.dim)
        scale = check_one_number(scale, self)
        x, y = (torch.tensor(self.centre, dtype=torch.float64) + self.scale * shift).tolist()
        return replace(self, centre=(x, y), scale=self.scale * scale)

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
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
"""The two-dimensional sets."""

SHAPED: dict[str, Callable[[], Dataset]] = {"digits": digits}
"""The sets of pictures."""


def named(name: str) -> Dataset:
    """The data set of this name, with its default constants, or the data in the file of this name.

    The names are those of `NAMES` and `SHAPED`; `from_file` reads files.
    """
    known = NAMES | SHAPED
    if isinstance(name, str) and name in known:
        return known[name]()
    if isinstance(name, str) and not Path(name).suffix:
        raise ValueError(
            f"there is no data set {name!r}; there are {', '.join(known)}, and files that end in "
            f"{', '.join((*TEXTS, *ARRAYS, *PICTURES))}"
        )
    return from_file(name)
