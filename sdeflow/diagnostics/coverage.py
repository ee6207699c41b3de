"""Measure how much of the data a cloud covers: its width, its nearest data points, its classes."""

from __future__ import annotations

import math

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sdeflow._validation import check_cloud, check_int


def spread(x: Tensor, covariance: Tensor) -> float:
    """The width of the cloud x (n, d) over that of data with this covariance (d, d).

    sqrt(tr Cov(x) / tr covariance)
    """
    d = check_cloud(x).shape[1]
    check_int(len(x), "the number of particles", 2)
    if check_cloud(covariance, "covariance").shape != (d, d):
        raise ValueError(f"covariance must be ({d}, {d}), got {tuple(covariance.shape)}")
    return math.sqrt(float(x.double().var(0).sum() / covariance.double().trace()))


def nearest(x: Tensor, points: Tensor) -> Tensor:
    """The index of the point (m, d) nearest to each particle of x (n, d); (n,)."""
    y, z = check_cloud(x), check_cloud(points, "points", x.shape[1])
    tree = cKDTree(z.detach().cpu().double().numpy())
    return torch.from_numpy(tree.query(y.detach().cpu().double().numpy())[1])


def coverage(x: Tensor, points: Tensor) -> float:
    """The share of the points (m, d) that are the nearest point of some particle of x (n, d).

    n exact draws from m points miss a share (1 - 1 / m)^n of them on average.
    """
    return len(nearest(x, points).unique()) / len(points)


def class_shares(x: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """The share of the particles x (n, d) whose nearest point is of each class; (classes,).

    Args:
        x: the particles.
        points, labels: the data (m, d) and the class of each point (m,), from 0.
    """
    if labels.shape != points.shape[:1]:
        raise ValueError(
            f"labels must be ({len(points)},), one per point, got {tuple(labels.shape)}"
        )
    count = torch.bincount(labels[nearest(x, points)], minlength=int(labels.max()) + 1)
    return count.double() / len(x)
