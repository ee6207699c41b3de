"""The four tasks of the published table: where the flow starts and where it should end.

The "moons" and "8gaussians" of other programs have other radii and widths; these are the ones of
the table. One permutation splits every set into points to train on, to choose the checkpoint by
and to test on. So the two moons, say, are not equally full in the parts, and W2 contains that. The
data of scikit-learn's sets are the same for every seed, those of the other two are not.

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
except ImportError:  # `command.main` says what is missing
    datasets = None

Draw = Callable[[int, int], np.ndarray]
"""(n, seed) -> (n, 2)."""

SPLIT = 42
"""The seed of the permutation, and of the data of scikit-learn's sets."""


def eight_gaussians(n: int, seed: int) -> np.ndarray:
    """Radius 5, standard deviation 1; n / 8 points of each, one mode after the other."""
    g = np.random.default_rng([seed, 1])
    angle = math.pi / 4 * (8 * np.arange(n) // n)
    centres = 5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centres + g.standard_normal((n, 2)) + 1e-4 * g.standard_normal((n, 2))


def wide_eight_gaussians(n: int, seed: int) -> np.ndarray:
    """Radius 12, standard deviation 1.5; the mode of each point is drawn."""
    g = np.random.default_rng([seed, 2])
    angle = math.pi / 4 * g.integers(8, size=n)
    centres = 12 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return centres + 1.5 * g.standard_normal((n, 2))


def moons(n: int, seed: int) -> np.ndarray:
    """Noise 0.05, twice as large, moved by -1 along the first axis."""
    points = datasets.make_moons(n, noise=0.05, random_state=seed)[0]
    return 2 * points - [1.0, 0.0]


def wide_moons(n: int, seed: int) -> np.ndarray:
    """Noise 0.1; mean 0 and standard deviation 7 of all coordinates together."""
    points = datasets.make_moons(n, noise=0.1, random_state=seed)[0]
    return 7 * (points - points.mean()) / points.std(ddof=1)


def s_curve(n: int, seed: int) -> np.ndarray:
    """Noise 0.05; the first and the third axis, 1.5 times as large."""
    points = datasets.make_s_curve(n, noise=0.05, random_state=seed)[0]
    return 1.5 * points[:, [0, 2]]


def normal(n: int, seed: int) -> np.ndarray:
    """N(0, I)."""
    return np.random.default_rng([seed, 3]).standard_normal((n, 2))


class Task(NamedTuple):
    """Source and target of a flow.

    Attributes:
        name: as in the table.
        source: None for N(0, I), drawn anew in every step; else a data set, split as the target.
        fixed: the data do not depend on the seed.
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
    """Points (n, 2) to train on, to choose the checkpoint by, and to test on."""

    train: Tensor
    check: Tensor
    test: Tensor


def split(draw: Draw, n: int, seed: int) -> Data:
    """Three times n points of one draw, split by the permutation of the program."""
    points = torch.from_numpy(draw(3 * n, seed).astype(np.float32))
    order = torch.randperm(3 * n, generator=torch.Generator().manual_seed(SPLIT))
    return Data(*points[order].chunk(3))


class Pairs(NamedTuple):
    """Source and target of a task, drawn: `source` is None for N(0, I)."""

    source: Data | None
    target: Data
    start: Tensor
    """(n, 2), where the flow starts in the test."""


def drawn(task: Task, n: int, seed: int) -> Pairs:
    """The data of a run."""
    seed_of_data = SPLIT if task.fixed else seed
    target = split(task.target, n, seed_of_data)
    if task.source is None:
        start = torch.from_numpy(normal(n, seed).astype(np.float32))
        return Pairs(None, target, start)
    source = split(task.source, n, seed_of_data)
    return Pairs(source, target, source.test)
