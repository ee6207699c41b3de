r"""Choose the units in which data are learned: x = centre + scale z, so that Cov[z] is near I.

Noise is round: one sigma for all coordinates. So it needs coordinates of one size. Data whose
principal standard deviations differ by a factor of more than 2.5 (temperatures in kelvin beside
pressures in pascal; correlated columns) get a matrix,

    scale = diag(s) R^(1/2),    s: the columns' standard deviations, R: their correlation,

which whitens them and keeps each coordinate next to its own column. All other data are divided by
one number, sqrt(tr Cov / d), which keeps their shape.

Points that are far out count neither for the centre nor for the scale: those beyond `FAR` robust
deviations from the median of a column, (q_0.95 - q_0.05) / 3.29, if they are at most `FEW` of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_numbers, check_positive, in_words

UNLIKE = 2.5  # ratio of the principal standard deviations above which data are whitened
FAR = 10.0  # robust deviations from the median beyond which a point is an outlier
FEW = 0.05  # the largest share of outliers; more of them are a part of the data
NORMAL = 3.2897  # the distance between the 5 % and 95 % quantiles of N(0, 1)
LEAST = 1e-6  # the least eigenvalue of a correlation: columns that are proportional have 0
ROUNDING = 1e-12  # a column whose deviation is less than this part of its size is constant


@dataclass(frozen=True, eq=False)
class Units:
    """The map x = centre + scale z, from points z in units of the data to the data's own units.

    Attributes:
        centre: (d,) in float64.
        scale: one positive number, or an invertible matrix (d, d) in float64.
        note: what the units leave out, in words.
    """

    centre: Tensor
    scale: float | Tensor
    note: str = ""

    def __post_init__(self) -> None:
        """Check the map.

        Raises:
            TypeError, ValueError: the centre is no row of numbers, or the scale is neither one
                positive number nor a matrix of its size.
        """
        centre, scale = check_numbers(self.centre, "centre"), check_numbers(self.scale, "scale")
        if centre.ndim != 1 or scale.shape not in ((), (len(centre),) * 2):
            raise ValueError(
                "units need a centre (d,) and a scale () or (d, d), got shapes "
                f"{tuple(centre.shape)} and {tuple(scale.shape)}"
            )
        object.__setattr__(self, "centre", centre)
        single = scale.ndim == 0
        object.__setattr__(
            self, "scale", check_positive(float(scale), "scale") if single else scale
        )

    def __repr__(self) -> str:
        """In words: "columns scaled by 1.13 and 800, whitened, correlation -0.83"."""
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
        """scale^-1 (x - centre), points (..., d) in units of the data."""
        off = self._checked(x) - self.centre.to(x)
        if isinstance(self.scale, float):
            return off / self.scale
        return off @ torch.linalg.inv(self.scale).T.to(x)

    def restore(self, z: Tensor) -> Tensor:
        """Centre + scale z, points (..., d) in the data's own units.

        In the type of z, or in float64 if that type has too few digits to tell the points apart.
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
        """The rounding error of the centre in this type, in units of each column's spread."""
        if isinstance(self.scale, float):
            spread = torch.full_like(self.centre, self.scale)
        else:
            spread = self.scale.norm(dim=1)
        return torch.finfo(dtype).eps * float((self.centre.abs() / spread).max())

    def plain(self) -> dict[str, object]:
        """Numbers and text that JSON can hold; `from_plain` reads them."""
        scale = self.scale if isinstance(self.scale, float) else self.scale.tolist()
        return {"centre": self.centre.tolist(), "scale": scale, "note": self.note}

    @staticmethod
    def from_plain(found: Mapping) -> Units:
        """The units that `plain` wrote.

        Raises:
            KeyError, TypeError, ValueError: they are not that.
        """
        centre = torch.tensor(found["centre"], dtype=torch.float64)
        scale = found["scale"]
        if not isinstance(scale, float):
            scale = torch.tensor(scale, dtype=torch.float64)
            if scale.shape != (len(centre), len(centre)):
                raise ValueError(f"scale must be a number or a matrix, got {tuple(scale.shape)}")
        return Units(centre, scale, str(found["note"]))


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
    root = root / root.norm(dim=1, keepdim=True)  # where LEAST took part, variances of 1 again
    scale = torch.diag(torch.where(varies, s, s[varies].mean()))
    scale[torch.outer(varies, varies)] = (s[varies][:, None] * root).flatten()
    return Units(mean, scale, note)


def _ratio(covariance: Tensor) -> float:
    """The largest principal standard deviation over the smallest."""
    values = torch.linalg.eigvalsh(covariance)
    return math.sqrt(float(values[-1] / values[0].clamp_min(values[-1] * 1e-15)))


def of_points(points: Tensor) -> Units:
    """The units of points (m, d), outliers left out."""
    x = points.double()
    ordered = np.sort(x.numpy(), axis=0)
    ranks = (math.ceil(0.05 * (len(x) - 1)), len(x) // 2, math.floor(0.95 * (len(x) - 1)))
    low, median, high = (torch.from_numpy(ordered[k]) for k in ranks)
    width = (high - low) / NORMAL
    # A column of which 90 % are one number has no such width, and no outliers.
    far = (((x - median).abs() > FAR * width) & (width > 0)).any(1)
    outside = int(far.sum())
    note = ""
    if 0 < outside <= FEW * len(x):
        x = x[~far]
        note = f"; outliers left out of the scale: {outside} of {len(points)} points"
    mean = x.mean(0)
    off = x - mean
    return of_moments(mean, off.T @ off / len(x), note)
