r"""Measure how far one cloud of particles is from another.

    wasserstein          W2, min over couplings of (E |x - y|^2)^(1/2), exact; O(n^3)
    sliced_wasserstein   W2 of projections on a line, averaged over directions; O(n log n)
    energy_distance      (2 E|x - y| - E|x - x'| - E|y - y'|)^(1/2); O(n^2)

Two samples of one distribution are not at distance zero. `sampling_floor` gives the distance that
they have on average: a distance below it is no evidence that two clouds differ.

See docs/theory.md, (7.1) for W2 and (7.2) for the floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from sdeflow._validation import check_cloud, check_int
from sdeflow.random_streams import Stream, random_generator

Distance = Callable[[Tensor, Tensor], float]

LARGEST = 1e150  # largest coordinate: the square of a difference is still finite


def _pair(x: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    check_cloud(x, "x")
    check_cloud(y, "y", dim=x.shape[1])
    a, b = (c.detach().cpu().double().numpy() for c in (x, y))
    if max(abs(a).max(), abs(b).max()) > LARGEST:
        raise ValueError(f"coordinates beyond {LARGEST:g} have no square; rescale both clouds")
    return a, b


def wasserstein(x: Tensor, y: Tensor) -> float:
    """The exact 2-Wasserstein distance of two clouds (n, d) of one size (units of x).

        W2^2 = min over permutations p of (1 / n) sum_i |x_i - y_p(i)|^2

    Raises:
        ValueError: the sizes differ, or are beyond 5,000 (use `sliced_wasserstein`).
    """
    a, b = _pair(x, y)
    if len(a) != len(b):
        raise ValueError(f"W2 needs clouds of one size, got {len(a)} and {len(b)}; take the first")
    if len(a) > 5000:
        raise ValueError(f"exact W2 of {len(a)} particles takes too long; use sliced_wasserstein")
    cost = cdist(a, b, "sqeuclidean")
    return math.sqrt(cost[linear_sum_assignment(cost)].mean())


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = 128, seed: int = 0) -> float:
    """The sliced 2-Wasserstein distance of two clouds (n, d) and (m, d) (units of x).

        SW2^2 = E_theta W2(theta . x, theta . y)^2,    |theta| = 1,
        W2(u, v)^2 = int_0^1 (u_q - v_q)^2 dq          with the quantile functions u_q, v_q

    Args:
        x, y: the clouds.
        directions: random unit vectors theta.
        seed: of the directions.

    Source: Bonneel et al. 2015.
    """
    a, b = _pair(x, y)
    z = random_generator(check_int(seed, "seed", 0), Stream.PROBE).standard_normal(
        (a.shape[1], check_int(directions, "directions"))
    )
    z /= np.linalg.norm(z, axis=0)
    n, m = len(a), len(b)
    # Quantile functions step at i / n and at j / m; in units of 1 / (n m) both are whole numbers.
    steps = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    weight = np.diff(steps) * (len(steps) - 1) / (n * m)  # length in q, over the mean length
    u, v = (np.sort(c @ z, axis=0)[steps[:-1] // (n * m // len(c))] for c in (a, b))
    return math.sqrt((weight[:, None] * (u - v) ** 2).mean())


def energy_distance(x: Tensor, y: Tensor) -> float:
    """The energy distance of two clouds (n, d) and (m, d) (square root of the units of x).

        (2 E|x - y| - E|x - x'| - E|y - y'|)^(1/2)

    Means over distinct pairs make the square unbiased; a negative square counts as zero.

    Raises:
        ValueError: a cloud has fewer than two particles.

    Source: Szekely and Rizzo 2013.
    """
    a, b = _pair(x, y)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError(f"the energy distance needs two particles in each cloud, got {n} and {m}")
    within = cdist(a, a).sum() / (n * (n - 1)) + cdist(b, b).sum() / (m * (m - 1))
    return math.sqrt(max(0.0, 2 * cdist(a, b).mean() - within))


def sampling_floor(
    sample: Callable[[int, int], Tensor],
    n: int,
    distance: Distance = wasserstein,
    *,
    repeats: int = 8,
    seed: int = 0,
) -> tuple[float, float]:
    """The mean and standard deviation of the distance of two samples of one distribution.

    Args:
        sample: (n, seed) -> (n, d), draws of the distribution; its `.sample` method.
        n: particles in each sample.
        distance: (x, y) -> number; exact W2 by default.
        repeats: pairs of samples, at least two; each pair has two seeds of its own.
        seed: of the first pair.
    """
    if not callable(sample):
        raise TypeError(
            f"sample must be a function (n, seed) -> (n, d), got {type(sample).__name__}; pass "
            "its .sample"
        )
    check_int(repeats, "repeats", 2)
    draws = [
        distance(sample(n, seed + 2 * i), sample(n, seed + 2 * i + 1)) for i in range(repeats)
    ]
    return float(np.mean(draws)), float(np.std(draws, ddof=1))
