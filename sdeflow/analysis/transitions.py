r"""Find the critical noise levels of the reverse process: speciation, classes and collapse.

They are read from the posterior of the data given a noisy point, for the exact field. The values
are for `datasets.spiral()`, of size 1 with 100 points and arms 0.4 apart:

    speciation                    rho^2 = largest eigenvalue of the covariance          0.49
    class_purity                  sum_c P(c | x)^2, half-way up                         0.20
    effective_dimension           its peak: neighbouring arms are told apart            0.15
    inverse_participation_ratio   sum_i w_i^2 = 1/2: x_t belongs to one point           0.05

With few points in few dimensions these are crossovers: each is as wide as what is averaged over.

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
from sdeflow.random_streams import Stream, random_generator

CHUNK = 4096  # particles whose weights over all points are held at once


def speciation(covariance: Tensor) -> NoiseLevel:
    """The level at which the noise is as wide as the data, from their covariance (d, d).

        rho^2 = largest eigenvalue of the covariance

    There a broad Gaussian would split in two along its first axis. It does not depend on the shape
    of the data: where their middle stays dense, a field points at the mean well below it.

    Raises:
        ValueError: the largest eigenvalue is not positive.

    Source: Biroli et al. 2024.
    """
    if check_cloud(covariance, "covariance").shape[0] != covariance.shape[1]:
        raise ValueError(f"covariance must be (d, d), got {tuple(covariance.shape)}")
    largest = float(torch.linalg.eigvalsh(covariance.double())[-1])
    if not largest > 0:
        raise ValueError(f"the largest eigenvalue must be positive, got {largest:.3g}")
    return NoiseLevel(math.sqrt(largest))


def effective_dimension(field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0) -> Curve:
    """The number of directions in which x_0 is unknown, between 0 and d.

        E tr Cov(x_0 | x_t) / rho^2

    It is k for a flat piece of dimension k and 0 for a point. By the I-MMSE relation it equals
    -dI(x_0; x_t) / d ln rho, so that its integral over ln rho is the information in the data:
    ln m for m points.

    Args:
        field: exact.
        rho: (L,) noise levels of the process, falling or rising.
        n: draws of the data in the expectation, the same at every level.
        seed: of the draws.

    Source: Guo, Shamai and Verdu 2005 (I-MMSE).
    """
    check_kind(field, ExactField, "field", "only of an exact one is the posterior known")
    x0 = field.sample(check_int(n, "n"), check_seed(seed)).double()
    eps, rho = _noise(x0, seed), check_levels(rho)
    value = torch.zeros_like(rho)
    for k, (r, t) in enumerate(zip(rho, times_of(field.process, rho), strict=True)):
        c = field.process(t)
        x = c.alpha * (x0 + r * eps)
        value[k] = field.posterior(x, c.along(x)).data_variance.mean() / r**2
    return Curve(rho, value)


def class_purity(field: ExactField, rho: Tensor, n: int = 4000, seed: int = 0) -> Curve:
    """How certain the class is: E sum_c P(c | x_t)^2, from sum_c P(c)^2 in pure noise to 1.

    It depends on the labels, not on the field: two classes on one arm separate where the points
    do, and two far clusters long before.

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
    """Whether x_t belongs to one point: E sum_i w_i^2, from 1 / m in pure noise to 1.

    Where it exceeds 1/2 the reverse process has collapsed onto single data points. It is set by
    the spacing of the points: more points of the same distribution move it to lower noise.

    Args:
        field: exact, of points.
        rho, n, seed: as in `effective_dimension`.
    """
    eye = torch.eye(len(_points_of(field).points), dtype=torch.float64)
    return _agreement(field, rho, n, seed, eye)


def _points_of(field: ExactField) -> PointSet:
    if not isinstance(field, ExactField) or not isinstance(field.distribution, PointSet):
        raise TypeError(
            "this needs the exact field of a point set: ExactField(process, PointSet(...))"
        )
    return field.distribution


def _agreement(field: ExactField, rho: Tensor, n: int, seed: int, member: Tensor) -> Curve:
    """E sum_c (sum_{i in c} w_i)^2 with member (m, c) and the posterior w over the points."""
    known = _points_of(field)
    # About their mean: `cdist` goes through squares, which far from the origin lose the distances.
    centre = known.points.double().mean(0)
    points = known.points.double() - centre
    x0 = field.sample(check_int(n, "n"), check_seed(seed)).double() - centre
    eps, rho = _noise(x0, seed), check_levels(rho)
    value = torch.zeros_like(rho)
    for k, r in enumerate(rho):
        y, s2 = x0 + r * eps, r**2 + known.width**2
        for part in y.split(CHUNK):
            w = torch.softmax(-(torch.cdist(part, points) ** 2) / (2 * s2), 1)
            value[k] += ((w @ member) ** 2).sum() / n
    return Curve(rho, value)


def _noise(x0: Tensor, seed: int) -> Tensor:
    return torch.from_numpy(random_generator(seed, Stream.PROBE).standard_normal(tuple(x0.shape)))
