"""Measure how much of the data a cloud covers: its width, its nearest points, its classes."""

from __future__ import annotations

import math

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_labels
from sdeflow.diagnostics.scale import Scale, checked_scale, warn_if_unlike


def spread(x: Tensor, covariance: Tensor, *, scale: Scale = None) -> float:
    """The width of a cloud x (n, d) over the width of data with this covariance (d, d).

        sqrt(tr Cov(x) / tr covariance)

    Args:
        x: the cloud, of two particles at least.
        covariance: of the data.
        scale: of the columns, by which they are divided, as `column_scale` gives it.

    Warns:
        RuntimeWarning: without a scale, one column is 100 times wider than another.
    """
    d = check_cloud(x).shape[1]
    check_int(len(x), "the number of particles", 2)
    if check_cloud(covariance, "covariance").shape != (d, d):
        raise ValueError(f"covariance must be ({d}, {d}), got {tuple(covariance.shape)}")
    own, wanted = _traces(x, covariance, scale)
    if not wanted > 0:
        raise ValueError(f"covariance must have a positive trace, got {wanted:.3g}")
    return math.sqrt(own / wanted)


def _traces(x: Tensor, covariance: Tensor, scale: Scale) -> tuple[float, float]:
    """The traces of Cov(x) and of the covariance, of scaled columns."""
    y = x.detach().cpu().double().numpy()
    diagonal = covariance.detach().cpu().double().diagonal().numpy()
    if scale is None:
        warn_if_unlike(y, y, "x")
    size = checked_scale(1.0 if scale is None else scale, len(diagonal))
    return float((y / size).var(0, ddof=1).sum()), float((diagonal / size**2).sum())


def nearest(x: Tensor, points: Tensor, *, scale: Scale = None) -> Tensor:
    """The index of the point (m, d) nearest to each particle of x (n, d), (n,).

    Args:
        x, points: the particles and the points.
        scale: of the columns, by which they are divided, as `column_scale` gives it.

    Warns:
        RuntimeWarning: without a scale, one column of the points is 100 times wider than another.
    """
    return _nearest(x, points, scale)


def _nearest(x: Tensor, points: Tensor, scale: Scale) -> Tensor:
    check_cloud(x)
    check_cloud(points, "points", x.shape[1])
    y, z = (c.detach().cpu().double().numpy() for c in (x, points))
    if scale is None:
        warn_if_unlike(z, z, "points")
    else:
        y, z = (c / checked_scale(scale, x.shape[1]) for c in (y, z))
    return torch.from_numpy(cKDTree(z).query(y)[1])


def coverage(x: Tensor, points: Tensor, *, scale: Scale = None) -> float:
    """The share of the points (m, d) that are the nearest point of a particle of x (n, d).

        coverage = 1 - (1 - 1 / m)^n on average, for n exact draws from the m points

    Args:
        x, points, scale: as in `nearest`.
    """
    return len(_nearest(x, points, scale).unique()) / len(points)


def class_shares(x: Tensor, points: Tensor, labels: Tensor, *, scale: Scale = None) -> Tensor:
    """The share of the particles x (n, d) whose nearest point is in each class, (classes,).

    Args:
        x: the particles.
        points, labels: the data (m, d) and the class of each point (m,), from 0.
        scale: as in `nearest`.
    """
    which = _nearest(x, points, scale)
    labels = check_labels(labels, "labels")
    if labels.shape != points.shape[:1]:
        raise ValueError(
            f"labels must be ({len(points)},), one per point, got {tuple(labels.shape)}"
        )
    count = torch.bincount(labels.cpu()[which], minlength=int(labels.max()) + 1)
    return count.double() / len(x)
