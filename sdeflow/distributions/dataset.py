r"""Make a data set: a distribution with a name, and names of its classes.

Four kinds of distribution cover nearly all data sets:

    PointSet           equally likely points   x = x_i + width z
    GaussianMixture    Gaussian components     p(x) = sum_k w_k N(x; mu_k, C_k)
    Curves             curves with noise       x = c(u) + noise z, u uniform
    PiecewiseConstant  weighted squares        x uniform in a square

`mean` and `std` are those of the distribution, in closed form or by quadrature, and never those of
draws. Draws are in the data's own units; `standardised` gives the same data centred and divided by
their spread. A picture is a point whose coordinates are its pixels. Draws are float32 by default,
computed in float64. The named sets are in `datasets`; `files` reads your own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._validation import (
    check_cloud,
    check_dtype,
    check_finite,
    check_int,
    check_kind,
    check_labels,
    check_positive,
    check_seed,
    shown,
)
from sdeflow.distributions.arguments import check_draw
from sdeflow.distributions.columns import check_columns, chosen_rows
from sdeflow.distributions.curves import Arc, check_arcs, distance_to
from sdeflow.distributions.distribution import Distribution
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.distributions.points import PointSet
from sdeflow.distributions.units import Units, of_moments, of_points

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A distribution of data with a name, and names of its classes.

    Args:
        name: for reports and error messages.
        distribution: the distribution, with a standard deviation above zero.
        classes: a name for each label; empty if there are no labels.
        curve: the arcs on which the data lie, if any.
        isotropic: whether `standardised` divides all columns by the same number, which keeps the
            shape of the data. Otherwise it uses a matrix if columns are correlated or differ much
            in spread (see `units`).
        shape: (channels, rows, columns) if the points are pictures, d their product; else None.
        held_out: more data of the same kind, which `sample` does not draw.
        columns: a name for each coordinate; empty if there are no names, see `axes`.
    """

    name: str
    distribution: Distribution
    classes: tuple[str, ...] = ()
    curve: tuple[Arc, ...] = field(default=(), repr=False)
    isotropic: bool = field(default=False, repr=False)
    shape: tuple[int, ...] | None = field(default=None, kw_only=True)
    held_out: Dataset | None = field(default=None, kw_only=True)
    columns: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        check_kind(self.distribution, Distribution, "distribution")
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a text, got {type(self.name).__name__}")
        object.__setattr__(self, "classes", _checked_names(self.classes))
        names = check_columns(self.columns, self.distribution.dim)
        object.__setattr__(self, "columns", names)
        object.__setattr__(self, "curve", check_arcs(self.curve))
        if not isinstance(self.isotropic, bool):
            raise TypeError(f"isotropic must be True or False, got {self.isotropic!r}")
        check_positive(self.std, f"std of {self.name}")
        self._check_size()

    def _check_size(self) -> None:
        """Check that shape, curve and held-out data have as many coordinates as the points."""
        d = self.distribution.dim
        if self.shape is not None:
            shape = check_shape(self.shape)
            if math.prod(shape) != d:
                raise ValueError(
                    f"shape {shape} has {math.prod(shape)} numbers, a point {d}; they must agree"
                )
            object.__setattr__(self, "shape", shape)
        if self.curve and d != 2:
            raise ValueError(f"a curve needs points with 2 coordinates, got {d}; leave out curve")
        other = self.held_out
        if other is None:
            return
        if check_kind(other, Dataset, "held_out").distribution.dim != d:
            raise ValueError(
                f"held_out has {other.distribution.dim} coordinates, the data have {d}; they must "
                "agree"
            )

    def __repr__(self) -> str:
        shape = "" if self.shape is None else f", shape {self.shape}"
        named, more = self.classes[:10], len(self.classes) - 10
        classes = f", classes {', '.join(named)}" if named else ""
        classes += f" and {more} more" if more > 0 else ""
        if self.columns:
            shape += f", columns {', '.join(self.columns[:10])}" + ", ..." * (
                len(self.columns) > 10
            )
        units = f", {self.units}" if isinstance(self.units.scale, Tensor) else ""
        rest = "" if self.held_out is None else f", held out: {self.held_out.distribution}"
        return f"{self.name}: {self.distribution}{shape}, std {self.std:.4g}{units}{classes}{rest}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the coordinates: `columns`, or x, y, z, or x0, x1, ... of four or more."""
        d = self.distribution.dim
        return self.columns or (tuple("xyz"[:d]) if d <= 3 else tuple(f"x{k}" for k in range(d)))

    def label(self, name: str) -> int:
        """The label of a class: the index of its name in `classes`.

        `field.given(data.label("dog"))` is the field of that class. A file whose labels are 1 and
        2 has the classes "1" and "2", whose labels here are 0 and 1.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be the text of a class, such as '2', got {shown(name)}")
        if name not in self.classes:
            known = ", ".join(self.classes[:20]) + ", ..." * (len(self.classes) > 20)
            told = f"the classes are {known}" if known else "it has no classes"
            raise ValueError(f"{self.name} has no class {name!r}; {told}")
        return self.classes.index(name)

    @cached_property
    def mean(self) -> Tensor:
        """E[x], (d,) in float64."""
        return self.distribution.mean().double()

    @cached_property
    def std(self) -> float:
        """sqrt(tr Cov / d), the root-mean-square deviation per coordinate: a field's `data_std`.

        If columns differ much in spread or have outliers, train on `standardised()` instead.
        """
        return self.distribution.std()

    @cached_property
    def units(self) -> Units:
        """The map x = centre + scale z from the data of `standardised`, z, to these data, x.

        The scale is one number; it is a matrix for points, mixtures and piecewise constant
        densities whose principal standard deviations differ by a factor of more than 2.5.
        """
        data = self.distribution
        if not (self.isotropic or self.curve):
            if isinstance(data, GaussianMixture):
                return of_moments(self.mean, data.covariance().double())
            if isinstance(data, PointSet) and data.width == 0.0:
                return of_points(data.points)
            if isinstance(data, PiecewiseConstant):
                return of_moments(self.mean, data.variances().diag())
        return self.one_number

    @property
    def one_number(self) -> Units:
        """The map x = mean + std z, which keeps the shape of the data."""
        return Units(self.mean, self.std)

    def sample(self, n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """n exact draws (n, d); the first k of them are the draws of a call with n = k.

        A `dtype` with too few digits to tell the points apart raises a ValueError.
        """
        return self._draw(n, seed, dtype)[0]

    def sample_labelled(
        self, n: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """The n draws (n, d) of `sample`, and their labels (n,), indices into `classes`."""
        if not self.classes:
            raise ValueError(f"{self.name} has no labels; use sample")
        return self._draw(n, seed, dtype)

    def _draw(self, n: int, seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        check_dtype(dtype)
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
        """The data set of z = scale^-1 (x - centre), by default with its own `units`."""
        units = self.units if units is None else check_kind(units, Units, "units")
        moved = self.distribution.moved(units.centre, units.scale)
        if not self.curve:
            rest = self.held_out and self.held_out.standardised(units)
            return replace(self, distribution=moved, held_out=rest)
        if isinstance(units.scale, Tensor):
            raise ValueError(f"{self.name} lies along a curve, which takes a scale of one number")
        curve = tuple(arc.moved(units.centre, units.scale) for arc in self.curve)
        return replace(self, distribution=moved, curve=curve)

    def split(self, share: float, seed: int = 0) -> Dataset:
        """The set of points with a share of the rows, of each class alike, as `held_out` data.

        Args:
            share: between 0 and 1; of m points of a class, floor(share m) are held out.
            seed: of the choice of rows.
        """
        if not isinstance(self.distribution, PointSet) or self.distribution.width:
            raise ValueError(f"{self.name} is not a set of bare points; split is for those")
        if not 0 < check_finite(share, "share") < 1:
            raise ValueError(f"share must lie between 0 and 1, got {share:g}")
        points, labels = self.distribution.points, self.distribution.labels
        out = chosen_rows(len(points), labels, share, check_seed(seed))
        if not out.any():
            raise ValueError(f"{self.name} has too few points to hold out {share:g} of them")
        kept, rest = (
            PointSet(points[of], None if labels is None else labels[of]) for of in (~out, out)
        )
        held_out = replace(self, distribution=rest, held_out=None)
        return replace(self, distribution=kept, held_out=held_out)

    def restore(self, x: Tensor) -> Tensor:
        """The points centre + scale z of this set, (..., d), for points z of `standardised`."""
        return self.units.restore(x)

    def smooth(self, width: float) -> GaussianMixture:
        """The m points as a mixture of round Gaussians: p(x) = (1 / m) sum_i N(x; x_i, width^2 I).

        The data must be a `PointSet`.
        """
        if not isinstance(self.distribution, PointSet):
            raise ValueError(f"{self.name} is not a set of points; smooth is for point sets")
        return GaussianMixture.isotropic(self.distribution.points, check_positive(width, "width"))

    def distance(self, x: Tensor) -> Tensor:
        """The distance (n,) from x (n, 2) to the curve on which the data lie."""
        if not self.curve:
            raise ValueError(f"{self.name} has no curve; distance is for data along curves")
        return distance_to(self.curve, x)

    def cell(self, x: Tensor) -> Tensor:
        """The number (n,) of the square that holds each x (n, 2), or -1."""
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
    columns: Sequence[str] = (),
) -> Dataset:
    """A data set of m equally likely points: x = x_i + width z, z ~ N(0, I).

    Args:
        points: (m, d), at least two of them distinct, in any units; for pictures use
            `from_pictures`.
        labels: (m,) whole numbers 0, 1, ..., indices into `classes`.
        classes: the names of the classes; by default "0", "1", ...
        width: standard deviation of the round Gaussian around each point; 0: the points alone.
        curve: the arcs on which the points lie, if any.
        name: for reports and error messages.
        columns: a name for each coordinate.
    """
    points = _checked_points(points, name)
    which = None
    if labels is not None:
        which = check_labels(labels, f"labels of {name}", count=len(points)).cpu()
        most = int(which.max())
        classes = _checked_names(classes) or tuple(str(k) for k in range(most + 1))
        if most >= len(classes):
            raise ValueError(f"{name} has label {most} but only {len(classes)} class names")
    elif classes:
        raise ValueError(f"{name} has class names but no labels; pass labels=")
    set_ = PointSet(points, which, width)
    return Dataset(name, set_, tuple(classes), check_arcs(curve), columns=tuple(columns))


def check_shape(shape: object) -> tuple[int, ...]:
    """Return a shape as a tuple of positive whole numbers."""
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
            "precision; if they should not, subtract their mean or rescale them"
        )
    return points
