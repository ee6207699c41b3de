r"""How much of the data a cloud covers: its spread, the nearest data points, shares of classes."""

from __future__ import annotations

import math

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sdeflow._validation import check_cloud, check_int


def spread(x: Tensor, covariance: Tensor) -> float:
    """How wide the cloud x (n, d) is beside the data: sqrt(tr Cov x / tr covariance); 1 is right.

    Raises:
        TypeError, ValueError: x is no cloud of two particles or more, shapes do not fit.
    """
    d = check_cloud(x).shape[1]
    check_int(len(x), "the number of particles", 2)
    if check_cloud(covariance, "covariance").shape != (d, d):
        raise ValueError(f"covariance must be ({d}, {d}), got {tuple(covariance.shape)}")
    return math.sqrt(float(x.double().var(0).sum() / covariance.double().trace()))


def nearest(x: Tensor, points: Tensor) -> Tensor:
    """The number of the point (m, d) nearest to each of x (n, d), (n,).

    Raises:
        TypeError, ValueError: x or points are no finite clouds of one dimension.
    """
    y, z = check_cloud(x), check_cloud(points, "points", x.shape[1])
    found = cKDTree(z.detach().cpu().double().numpy()).query(y.detach().cpu().double().numpy())[1]
    return torch.from_numpy(found)


def coverage(x: Tensor, points: Tensor) -> float:
    """The share of the points (m, d) that are nearest to some particle of x (n, d), up to 1.

    Even a perfect cloud leaves some out: of m points, n draws miss a share (1 - 1 / m)^n.

    Raises:
        TypeError, ValueError: as `nearest`.
    """
    return len(nearest(x, points).unique()) / len(points)


def class_shares(x: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """The share of x (n, d) nearest to a point of each class, (classes,), in float64.

    Raises:
        TypeError, ValueError: as `nearest`; labels (m,) do not fit the points (m, d).
    """
    if labels.shape != points.shape[:1]:
        raise ValueError(
            f"labels must be ({len(points)},), one per point, got {tuple(labels.shape)}"
        )
    count = torch.bincount(labels[nearest(x, points)], minlength=int(labels.max()) + 1)
    return count.double() / len(x)
