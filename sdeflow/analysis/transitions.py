r"""Find the critical noise levels of the reverse process: speciation, classes and collapse.

They follow from the exact posterior of the data given a noisy point. On the right stands each
level for `datasets.spiral()`, of size 1 with 100 points and arms 0.4 apart:

    speciation                    rho^2 = largest eigenvalue of the covariance          0.49
    class_purity                  sum_c P(c | x)^2, half-way up                         0.20
    effective_dimension           its peak: neighbouring arms separate                  0.15
    inverse_participation_ratio   sum_i w_i^2 = 1/2: x_t belongs to one point           0.05

With few points in few dimensions these changes are gradual: crossovers, not phase transitions.

Source: Biroli et al. 2024; Raya and Ambrogioni 2023.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_kind, check_seed
from sdeflow.analysis.noise_level import Curve, NoiseLevel, check_levels, times_of
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.random_streams import Stream, normals_like

CHUNK = 4096  # particles whose weights over all points are held at once


def speciation(covariance: Tensor) -> NoiseLevel:
    """The noise level that equals the largest width of data with this covariance (d, d).

        rho^2 = largest eigenvalue of the covariance

    There the density of two equal narrow clusters splits in two. The level does not depend on
    the shape of the data: where their middle is dense, the field points at the mean also below it.

    Raises:
        ValueError: the largest eigenvalue is not positive.

    Source: Biroli et al. 2024.
    """
    if check_cloud(covariance, "covariance").shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance must be (d, d), got {tuple(covariance.shape)}")
    largest = float(torch.linalg.eigvalsh(covariance.double())[-1])
    if not largest > 0:
        raise ValueError(f"covariance must have a positive eigenvalue, got at most {largest:.3g}")
    return NoiseLevel(math.sqrt(largest))


def effective_dimension(field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0) -> Curve:
    """The number of directions in which x_0 is unknown, between 0 and d.

        E tr Cov(x_0 | x_t) / rho^2

    The number is k for data on a flat piece of dimension k, and 0 for a point. By the I-MMSE
    relation it equals -dI(x_0; x_t) / d ln rho, so that its integral over ln rho is the
    information in the data: ln m for m points.

    Args:
        field: exact.
        rho: (L,) noise levels of the process, falling or rising.
        n: draws of the data in the expectation, the same at every level.
        seed: of the draws.

    Source: Guo, Shamai and Verdu 2005 (I-MMSE).
    """
    check_kind(field, ExactField, "field", "only an exact field has a known posterior")
    x0 = field.sample(check_int(n, "n"), check_seed(seed)).double()
    eps, rho = normals_like(x0, seed, Stream.PROBE), check_levels(rho)
    value = torch.zeros_like(rho)
    for k, (r, t) in enumerate(zip(rho, times_of(field.process, rho), strict=True)):
        c = field.process(t)
        x = c.alpha * (x0 + r * eps)
        value[k] = field.posterior(x, c.along(x)).data_variance.mean() / r**2
    return Curve(rho, value)


def class_purity(field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0) -> Curve:
    """How certain the class of a noisy point is: sum_c P(c)^2 in pure noise, 1 at small noise.

        E sum_c P(c | x_t)^2

    Classes that lie far apart become certain at larger noise than classes of neighbouring points.

    Args:
        field: exact, of points with labels.
        rho, n, seed: as in `effective_dimension`.

    Source: Biroli et al. 2024, the cloning probability.
    """
    points = _points_of(field)
    if points.labels is None:
        raise ValueError("class_purity needs points with labels; pass labels= to PointSet")
    member = torch.nn.functional.one_hot(points.labels.long()).double()
    return _agreement(field, rho, n, seed, member)


def inverse_participation_ratio(
    field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0
) -> Curve:
    """How certain it is which data point has become x_t: 1 / m in pure noise, 1 at small noise.

        E sum_i w_i^2,    w_i = P(x_0 = point i | x_t)

    Above 1/2 the reverse process has collapsed onto single data points. The level of this collapse
    is set by the distances of the points: it falls with more points of the same distribution.

    Args:
        field: exact, of points.
        rho, n, seed: as in `effective_dimension`.
    """
    eye = torch.eye(len(_points_of(field).points), dtype=torch.float64)
    return _agreement(field, rho, n, seed, eye)


def _points_of(field: ExactField) -> PointSet:
    if not isinstance(field, ExactField) or not isinstance(field.distribution, PointSet):
        raise TypeError(
            "field must be that of a point set; give ExactField(process, PointSet(points))"
        )
    return field.distribution


def _agreement(field: ExactField, rho: Tensor, n: int, seed: int, member: Tensor) -> Curve:
    """E sum_c (sum_{i in c} w_i)^2 with member (m, c) and the posterior w over the points."""
    known = _points_of(field)
    # About their mean: far from the origin the squares of `cdist` lose the distances to rounding.
    centre = known.points.double().mean(0)
    points = known.points.double() - centre
    x0 = field.sample(check_int(n, "n"), check_seed(seed)).double() - centre
    eps, rho = normals_like(x0, seed, Stream.PROBE), check_levels(rho)
    value = torch.zeros_like(rho)
    for k, r in enumerate(rho):
        y, s2 = x0 + r * eps, r**2 + known.width**2
        for part in y.split(CHUNK):
            w = torch.softmax(-(torch.cdist(part, points) ** 2) / (2 * s2), 1)
            value[k] += ((w @ member.to(w)) ** 2).sum().cpu() / n
    return Curve(rho, value)
