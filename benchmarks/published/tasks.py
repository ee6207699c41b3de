"""Draw source and target of the four tasks of the published table.

The "moons" and "8gaussians" have the radii and widths of the table, which differ from those of
other programs. One permutation splits every set into training, validation and test points, so that
the two moons have different shares of the points in each part, which W2 contains. The data of
scikit-learn's sets are the same for every seed; those of the other two are not.

Source: Tong et al. 2024, appendix F, and the program that belongs to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

try:
    from sklearn import datasets
except ImportError:  # `command.main` prints what is missing
    datasets = None

Draw = Callable[[int, int], np.ndarray]
"""(n, seed) -> (n, 2)."""

SPLIT = 42
"""The seed of the permutation, and of the data of scikit-learn's sets."""


def eight_gaussians(n: int, seed: int) -> np.ndarray:
    """Eight Gaussians of standard deviation 1 at radius 5, n / 8 points of each in turn."""
    g = np.random.default_rng([seed, 1])
    angle = math.pi / 4 * (8 * np.arange(n) // n)
    centres = 5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centres + g.standard_normal((n, 2)) + 1e-4 * g.standard_normal((n, 2))


def wide_eight_gaussians(n: int, seed: int) -> np.ndarray:
    """Eight Gaussians of standard deviation 1.5 at radius 12, with random modes."""
    g = np.random.default_rng([seed, 2])
    angle = math.pi / 4 * g.integers(8, size=n)
    centres = 12 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centres + 1.5 * g.standard_normal((n, 2))


def moons(n: int, seed: int) -> np.ndarray:
    """Two moons with noise 0.05, doubled in size and moved by -1 along the first axis."""
    points = datasets.make_moons(n, noise=0.05, random_state=seed)[0]
    return 2 * points - [1.0, 0.0]


def wide_moons(n: int, seed: int) -> np.ndarray:
    """Two moons with noise 0.1; all coordinates together have mean 0 and standard deviation 7."""
    points = datasets.make_moons(n, noise=0.1, random_state=seed)[0]
    return 7 * (points - points.mean()) / points.std(ddof=1)


def s_curve(n: int, seed: int) -> np.ndarray:
    """The first and third axis of the S curve with noise 0.05, times 1.5."""
    points = datasets.make_s_curve(n, noise=0.05, random_state=seed)[0]
    return 1.5 * points[:, [0, 2]]


def normal(n: int, seed: int) -> np.ndarray:
    """Draws of N(0, I)."""
    return np.random.default_rng([seed, 3]).standard_normal((n, 2))


class Task(NamedTuple):
    """Source and target of a flow.

    Attributes:
        name: the name in the table.
        source: None for N(0, I), drawn anew in every step; else a data set, split as the target.
        fixed: whether the data do not depend on the seed.
    """

    name: str
    source: Draw | None
    target: Draw
    fixed: bool


TASKS = (
    Task("N->8gaussians", None, eight_gaussians, False),
    Task("moons->8gaussians", wide_moons, wide_eight_gaussians, False),
    Task("N->moons", None, moons, True),
    Task("N->scurve", None, s_curve, True),
)


class Data(NamedTuple):
    """Training, validation and test points (n, 2)."""

    train: Tensor
    check: Tensor
    test: Tensor


def split(draw: Draw, n: int, seed: int) -> Data:
    """Draw 3 n points, and split them by the permutation of the program."""
    points = torch.from_numpy(draw(3 * n, seed).astype(np.float32))
    order = torch.randperm(3 * n, generator=torch.Generator().manual_seed(SPLIT))
    return Data(*points[order].chunk(3))


class Pairs(NamedTuple):
    """The points of source and target; `source` is None for N(0, I)."""

    source: Data | None
    target: Data
    start: Tensor
    """The starts (n, 2) of the flow in the test."""


def drawn(task: Task, n: int, seed: int) -> Pairs:
    """Draw the data of a run."""
    seed_of_data = SPLIT if task.fixed else seed
    target = split(task.target, n, seed_of_data)
    if task.source is None:
        start = torch.from_numpy(normal(n, seed).astype(np.float32))
        return Pairs(None, target, start)
    source = split(task.source, n, seed_of_data)
    return Pairs(source, target, source.test)
