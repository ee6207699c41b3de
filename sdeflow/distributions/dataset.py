r"""Name a data set: a distribution, names of its classes, and the curve that the data lie on.

Four kinds of distribution cover nearly all data sets:

    PointSet           m points, equally likely      x = x_i + width z
    GaussianMixture    sum_k w_k N(mu_k, C_k)
    Curves             pieces of a curve, and noise  x = c(u) + noise z, u uniform
    PiecewiseConstant  weighted squares              x uniform in a square

Mean and std are those of the distribution, in closed form or by quadrature, never estimated from
draws: a field's `data_std` and the sampling floors of distances are computed from them. Units are
the data's own; `standardised` gives the same set centred and in `units` of its spread.
Distributions are held in float64; draws are float32 by default. `datasets` has the named sets,
`files` reads your own. Pictures are flattened to points of `shape`'s product of coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_labels, check_positive, shown
from sdeflow.distributions.arguments import check_draw
from sdeflow.distributions.curves import Arc, check_arcs, distance_to
from sdeflow.distributions.distribution import Distribution
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.distributions.points import PointSet
from sdeflow.distributions.units import Units, of_moments, of_points

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A distribution with a name, class names, the curve or the shape that its points have.

    Args:
        name: printed in reports and error messages.
        distribution: of the data.
        classes: a name for each label of `distribution.sample_labelled`; empty without labels.
        curve: the arcs on which the data lie, if any.
        isotropic: whether `standardised` divides all columns by one number, whatever they are. So
            it does for the named sets, whose shape is what they are for. Otherwise columns of
            unlike spread, and correlated ones, get a matrix (see `units`).
        shape: (channels, rows, columns) of the pictures that points (n, d) are, d its product;
            None for points of the plane and for other vectors.
        held_out: more data of the same kind, which `sample` does not draw.

    Raises:
        TypeError: distribution is not a `Distribution`, or held_out no `Dataset`.
        ValueError: its standard deviation is zero; shape or held_out has another dimension.
    """

    name: str
    distribution: Distribution
    classes: tuple[str, ...] = ()
    curve: tuple[Arc, ...] = field(default=(), repr=False)
    isotropic: bool = field(default=False, repr=False)
    shape: tuple[int, ...] | None = field(default=None, kw_only=True)
    held_out: Dataset | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Check the distribution."""
        if not isinstance(self.distribution, Distribution):
            raise TypeError(
                f"distribution must be a Distribution, got {type(self.distribution).__name__}"
            )
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a text, got {type(self.name).__name__}")
        object.__setattr__(self, "classes", _checked_names(self.classes))
        object.__setattr__(self, "curve", check_arcs(self.curve))
        if not isinstance(self.isotropic, bool):
            raise TypeError(f"isotropic must be True or False, got {self.isotropic!r}")
        check_positive(self.std, f"std of {self.name}")
        self._check_size()

    def _check_size(self) -> None:
        """Check that the shape, the curve and the data held out have as many coordinates."""
        d = self.distribution.dim
        if self.shape is not None:
            shape = check_shape(self.shape)
            if math.prod(shape) != d:
                raise ValueError(f"shape {shape} has {math.prod(shape)} numbers, a point has {d}")
            object.__setattr__(self, "shape", shape)
        if self.curve and d != 2:
            raise ValueError(f"a curve lies in the plane, the points have {d} coordinates")
        other = self.held_out
        if other is None:
            return
        if not isinstance(other, Dataset):
            raise TypeError(f"held_out must be a Dataset, got {type(other).__name__}")
        if other.distribution.dim != d:
            raise ValueError(
                f"held_out has {other.distribution.dim} coordinates, the data have {d}"
            )

    def __repr__(self) -> str:
        """In words."""
        shape = "" if self.shape is None else f", shape {self.shape}"
        named, more = self.classes[:10], len(self.classes) - 10
        classes = f", classes {', '.join(named)}" if named else ""
        classes += f" and {more} more" if more > 0 else ""
        units = f", {self.units}" if isinstance(self.units.scale, Tensor) else ""
        rest = "" if self.held_out is None else f", held out: {self.held_out.distribution}"
        return f"{self.name}: {self.distribution}{shape}, std {self.std:.4g}{units}{classes}{rest}"

    @cached_property
    def mean(self) -> Tensor:
        """E[x], (d,) in float64."""
        return self.distribution.mean().double()

    @cached_property
    def std(self) -> float:
        """sqrt(tr Cov / d), the root-mean-square spread per coordinate: fields' `data_std`.

        It says little of columns of unlike size or with outliers: train on `standardised()`.
        """
        return self.distribution.std()

    @cached_property
    def units(self) -> Units:
        """The map between `standardised` and these data: see the module `units`.

        One number, or a matrix for bare points, mixtures and piecewise constant densities whose
        principal standard deviations differ by a factor of more than 2.5.
        """
        law = self.distribution
        if not (self.isotropic or self.curve):
            if isinstance(law, GaussianMixture):
                return of_moments(self.mean, law.covariance().double())
            if isinstance(law, PointSet) and law.width == 0.0:
                return of_points(law.points)
            if isinstance(law, PiecewiseConstant):
                return of_moments(self.mean, law.variances().diag())
        return self.one_number

    @property
    def one_number(self) -> Units:
        """The units with centre `mean` and scale `std`, which keep the shape of any data."""
        return Units(self.mean, self.std)

    def sample(self, n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """n exact draws (n, d); the first k of them are the draw of size k.

        Raises:
            TypeError, ValueError: n or seed is not a whole number in its range, dtype is not
                floating-point, or has too few digits to tell the data apart.
        """
        return self._draw(n, seed, dtype)[0]

    def sample_labelled(
        self, n: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """The same n draws (n, d), and the label (n,) of each, an index into `classes`.

        Raises:
            ValueError: the set has no labels.
        """
        if not self.classes:
            raise ValueError(f"{self.name} has no labels; use sample")
        return self._draw(n, seed, dtype)

    def _draw(self, n: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise TypeError(f"dtype must be a floating-point type, got {shown(dtype)}")
        n, seed = check_draw(n, seed)
        if self.units.digits_lost(dtype) > 0.01:
            raise ValueError(
                f"{str(dtype).removeprefix('torch.')} has too few digits for {self.name}: its "
                "points differ by less than 100 roundings; pass dtype=torch.float64, or draw "
                "from standardised()"
            )
        x, label = self.distribution.sample_labelled(n, seed)
        return x.to(dtype), label

    def standardised(self, units: Units | None = None) -> Dataset:
        """The set of scale^-1 (x - centre), in the given units, by default its own `units`."""
        units = self.units if units is None else units
        if not isinstance(units, Units):
            raise TypeError(f"units must be Units, got {type(units).__name__}")
        moved = self.distribution.moved(units.centre, units.scale)
        if not self.curve:
            rest = self.held_out and self.held_out.standardised(units)
            return replace(self, distribution=moved, held_out=rest)
        if isinstance(units.scale, Tensor):
            raise ValueError(f"{self.name} lies along a curve, which takes a scale of one number")
        curve = tuple(arc.moved(units.centre, units.scale) for arc in self.curve)
        return replace(self, distribution=moved, curve=curve)

    def restore(self, x: Tensor) -> Tensor:
        """Centre + scale x: points (..., d) of `standardised` in the units of this set."""
        return self.units.restore(x)

    def smooth(self, width: float) -> GaussianMixture:
        """The points as round Gaussians: p(x) = (1 / m) sum_i N(x; x_i, width^2 I).

        Raises:
            ValueError: the data are not a `PointSet`, or the width is not positive.
        """
        if not isinstance(self.distribution, PointSet):
            raise ValueError(f"{self.name} is no finite set; smooth is for point sets")
        return GaussianMixture.isotropic(self.distribution.points, check_positive(width, "width"))

    def distance(self, x: Tensor) -> Tensor:
        """Distance (n,) of x (n, 2) to the curve that the data lie on (see `distance_to`).

        Raises:
            ValueError: the data set has no curve; x is not a finite cloud in the plane.
        """
        if not self.curve:
            raise ValueError(f"{self.name} lies along no curve; distance is for curves")
        return distance_to(self.curve, x)

    def cell(self, x: Tensor) -> Tensor:
        """The number (n,) of the square that holds each x (n, 2), or -1.

        Raises:
            ValueError: the data are not made of squares; x is not a finite cloud in the plane.
        """
        if not isinstance(self.distribution, PiecewiseConstant):
            raise ValueError(
                f"{self.name} is not made of squares; cell is for checkerboards and pictures"
            )
        return self.distribution.cell(x)


def from_points(
    points: Tensor,
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    width: float = 0.0,
    curve: Sequence[Arc] = (),
    name: str = "points",
) -> Dataset:
    """A data set of m equally likely points: x = x_i + width z, z ~ N(0, I).

    Args:
        points: (m, d), in any units; pictures have `from_pictures`.
        labels: (m,) whole numbers 0, 1, ..., an index into `classes`.
        classes: their names; by default "0", "1", ...
        width: standard deviation of the round Gaussian around each point (0: the points alone);
            it is round in any units, so that `units` then is one number.
        curve: the arcs that they lie on, if any.
        name: printed in reports and error messages.

    Raises:
        TypeError: points are not floating-point, or labels not whole numbers.
        ValueError: points are not (m, d) and finite, fewer than two are distinct, or labels or
            classes do not fit.
    """
    points = _checked_points(points, name)
    which = None if labels is None else _checked_labels(labels, len(points), name)
    if which is None and classes:
        raise ValueError(f"{name} has class names but no labels; pass labels=")
    if which is not None:
        most = int(which.max())
        classes = _checked_names(classes) or tuple(str(k) for k in range(most + 1))
        if most >= len(classes):
            raise ValueError(f"{name} has label {most} but only {len(classes)} class names")
    return Dataset(name, PointSet(points, which, width), tuple(classes), check_arcs(curve))


def check_shape(shape: object) -> tuple[int, ...]:
    """Return a shape as a tuple of positive whole numbers.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(shape, tuple | list) or not shape:
        raise TypeError(f"shape must be whole numbers such as (1, 8, 8), got {shown(shape)}")
    return tuple(check_int(size, "each of shape") for size in shape)


def _checked_names(classes: object) -> tuple[str, ...]:
    if not isinstance(classes, list | tuple) or not all(isinstance(c, str) for c in classes):
        raise TypeError(f"classes must be a list of names, got {type(classes).__name__}")
    return tuple(classes)


def _checked_points(points: Tensor, name: str) -> Tensor:
    points = check_cloud(points, name).detach().to("cpu", torch.float64)
    single = points.float()
    if not torch.isfinite(single).all():
        bad = int((~torch.isfinite(single)).any(1).nonzero()[0])
        raise ValueError(f"{name} is beyond single precision, first in row {bad}; rescale it")
    if (single == single[0]).all():
        raise ValueError(
            f"{name} needs at least two distinct points; these {len(points)} coincide in single "
            "precision (if they should not, subtract their mean or rescale them)"
        )
    return points


def _checked_labels(labels: object, m: int, name: str) -> Tensor:
    labels = check_labels(labels, f"labels of {name}")
    if labels.shape != (m,):
        raise ValueError(
            f"labels of {name} must be ({m},), one per point, got {tuple(labels.shape)}"
        )
    return labels.detach().to("cpu", torch.int64)
