r"""Choose the units in which data are learned: x = centre + scale z, with Cov[z] near I.

Noise has one standard deviation sigma for all coordinates, so the coordinates should be of one
size. If the principal standard deviations differ by a factor of more than 2.5, as for temperatures
in kelvin beside pressures in pascal or for correlated columns, the scale is a matrix that whitens,

    scale = diag(s) R^(1/2),    s: standard deviations of the columns, R: their correlation matrix,

and that keeps each coordinate of z close to its own column. Otherwise the scale is one number,
sqrt(tr Cov / d), which keeps the shape of the data.

Outliers are left out of the centre and the scale. These are points more than 10 robust deviations
(q_0.95 - q_0.05) / 3.29 from the median of a column, if they are at most 5 % of all points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import as_numbers
from sdeflow._wording import in_words
from sdeflow.distributions.arguments import check_move

UNLIKE = 2.5  # ratio of the principal standard deviations above which data are whitened
FAR = 10.0  # robust deviations from the median beyond which a point is an outlier
FEW = 0.05  # share of all points above which they are not outliers
NORMAL = 3.2897  # distance between the 5 % and 95 % quantiles of N(0, 1)
LEAST = 1e-6  # smaller eigenvalues of a correlation matrix are raised to this
ROUNDING = 1e-12  # standard deviation / |mean| below which a column is constant


@dataclass(frozen=True, eq=False)
class Units:
    """The map x = centre + scale z between standardised points z and the data's own units.

    Attributes:
        centre: (d,) in float64.
        scale: one positive number, or an invertible matrix (d, d) in float64.
        note: words about outliers and constant columns, for `repr`.
    """

    centre: Tensor
    scale: float | Tensor
    note: str = ""

    def __post_init__(self) -> None:
        d = as_numbers(self.centre, "centre").numel()
        centre, scale = check_move(self.centre, self.scale, d, "centre")
        object.__setattr__(self, "centre", centre)
        object.__setattr__(self, "scale", scale)

    def __repr__(self) -> str:
        if isinstance(self.scale, float):
            return f"all columns scaled by {self.scale:.3g}{self.note}"
        covariance = self.scale @ self.scale.T
        s = covariance.diagonal().sqrt()
        off = covariance / (s[:, None] * s)
        pairs = off[torch.ones_like(off).triu(1) > 0]
        few = len(s) <= 4
        values = f"{', '.join(f'{v:.3g}' for v in s[:-1])} and {s[-1]:.3g}" if few else in_words(s)
        most = float(pairs[pairs.abs().argmax()]) if len(pairs) else 0.0
        white = (
            f", whitened, {'largest ' * (len(pairs) > 1)}correlation {most:.2g}" if most else ""
        )
        return f"columns scaled by {values}{white}{self.note}"

    def standardise(self, x: Tensor) -> Tensor:
        """The standardised points scale^-1 (x - centre), (..., d), of x in the data's units."""
        off = self._checked(x) - self.centre.to(x)
        if isinstance(self.scale, float):
            return off / self.scale
        return off @ torch.linalg.inv(self.scale).T.to(x)

    def restore(self, z: Tensor) -> Tensor:
        """The points centre + scale z, (..., d), in the data's own units.

        They have the type of z, or float64 if that type has too few digits to tell them apart.
        """
        if self.digits_lost(self._checked(z).dtype) > 1e-4:
            z = z.double()
        if isinstance(self.scale, float):
            return z * self.scale + self.centre.to(z)
        return z @ self.scale.T.to(z) + self.centre.to(z)

    def _checked(self, x: Tensor) -> Tensor:
        d = len(self.centre)
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise TypeError(f"points must be a floating-point tensor, got {type(x).__name__}")
        if not x.ndim or x.shape[-1] != d:
            raise ValueError(f"points must be (..., {d}), got {tuple(x.shape)}")
        return x

    def digits_lost(self, dtype: torch.dtype) -> float:
        """The rounding error of the centre in this type, in standard deviations of a column."""
        if isinstance(self.scale, float):
            spread = torch.full_like(self.centre, self.scale)
        else:
            spread = self.scale.norm(dim=1)
        return torch.finfo(dtype).eps * float((self.centre.abs() / spread).max())

    def plain(self) -> dict[str, object]:
        """The units as numbers and text for JSON; `from_plain` reads them."""
        scale = self.scale if isinstance(self.scale, float) else self.scale.tolist()
        return {"centre": self.centre.tolist(), "scale": scale, "note": self.note}

    @staticmethod
    def from_plain(found: Mapping) -> Units:
        """The units that `plain` wrote."""
        return Units(found["centre"], found["scale"], str(found["note"]))


def of_moments(mean: Tensor, covariance: Tensor, note: str = "") -> Units:
    """The units of data with this mean (d,) and covariance (d, d), both in float64."""
    variances = covariance.diagonal()
    varies = variances.sqrt() > ROUNDING * mean.abs()
    s = torch.where(varies, variances.sqrt(), 0.0)
    if not varies.all():
        names = ", ".join(str(k + 1) for k in (~varies).nonzero().flatten().tolist())
        note += f"; column {names} is constant"
    inside = covariance[varies][:, varies]
    if len(inside) < 2 or _ratio(inside) <= UNLIKE:
        return Units(mean, math.sqrt(float(variances.mean())), note)
    values, axes = torch.linalg.eigh(inside / (s[varies][:, None] * s[varies]))
    if float(values[0]) < LEAST:
        note += "; columns are proportional"
    root = (axes * values.clamp_min(LEAST).sqrt()) @ axes.T
    root = root / root.norm(dim=1, keepdim=True)  # variances of 1, also where LEAST was used
    scale = torch.diag(torch.where(varies, s, s[varies].mean()))
    scale[torch.outer(varies, varies)] = (s[varies][:, None] * root).flatten()
    return Units(mean, scale, note)


def _ratio(covariance: Tensor) -> float:
    """The largest principal standard deviation over the smallest."""
    values = torch.linalg.eigvalsh(covariance)
    return math.sqrt(float(values[-1] / values[0].clamp_min(values[-1] * 1e-15)))


def of_points(points: Tensor) -> Units:
    """The units of points (m, d), from which outliers are left out."""
    x = points.double()
    ordered = np.sort(x.numpy(), axis=0)
    ranks = (math.ceil(0.05 * (len(x) - 1)), len(x) // 2, math.floor(0.95 * (len(x) - 1)))
    low, median, high = (torch.from_numpy(ordered[k]) for k in ranks)
    width = (high - low) / NORMAL
    # A column of which 90 % are the same number has width 0, and no outliers.
    far = (((x - median).abs() > FAR * width) & (width > 0)).any(1)
    outside = int(far.sum())
    note = ""
    if 0 < outside <= FEW * len(x):
        x = x[~far]
        note = f"; outliers left out of the scale: {outside} of {len(points)} points"
    mean = x.mean(0)
    off = x - mean
    return of_moments(mean, off.T @ off / len(x), note)
