r"""Measure how far one cloud of particles is from another.

    wasserstein          W2, min over couplings of (E |x - y|^2)^(1/2), exact; O(n^3)
    sliced_wasserstein   root mean square W2 of projections on random lines; O(n log n)
    energy_distance      (2 E|x - y| - E|x - x'| - E|y - y'|)^(1/2); O(n^2)

Two samples of one distribution are not at distance zero. `sampling_floor` is the distance that
they have on average: a distance below it is no evidence that two clouds differ. If the columns of
a cloud have different units, `scale=column_scale(y)` divides each column by its width.

See docs/theory.md, (7.1) for W2 and (7.2) for the sampling floor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from sdeflow._validation import check_cloud, check_finite, check_function, check_int, check_seed
from sdeflow.diagnostics.scale import Scale, checked_scale, warn_if_unlike
from sdeflow.random_streams import Stream, random_generator

Distance = Callable[[Tensor, Tensor], float]

HELD = 2**22  # numbers held in memory at once


def _pair(x: Tensor, y: Tensor, scale: Scale) -> tuple[np.ndarray, np.ndarray, float]:
    """The scaled clouds, divided by a power of two near their largest coordinate, and that power.

    Then squares neither overflow nor vanish, in any unit of length.
    """
    check_cloud(x, "x")
    check_cloud(y, "y", dim=x.shape[1])
    a, b = (c.detach().cpu().double().numpy() for c in (x, y))
    if scale is None:
        warn_if_unlike(a, b)
    else:
        a, b = (c / checked_scale(scale, c.shape[1]) for c in (a, b))
    exponent = math.frexp(max(abs(a).max(), abs(b).max()))[1]
    return np.ldexp(a, -exponent), np.ldexp(b, -exponent), math.ldexp(0.5, exponent) * 2


def wasserstein(x: Tensor, y: Tensor, *, scale: Scale = None) -> float:
    """The exact 2-Wasserstein distance of two clouds (n, d) of equal size (units of x).

        W2^2 = min over permutations p of (1 / n) sum_i |x_i - y_p(i)|^2

    Args:
        x, y: the clouds.
        scale: of the columns, by which they are divided: one number, or (d,) as `column_scale`
            gives it, so that the distance has no unit.

    Raises:
        ValueError: the sizes differ, or are beyond 5,000 (use `sliced_wasserstein`).

    Warns:
        RuntimeWarning: without a scale, one column is 100 times wider than another.
    """
    a, b, unit = _pair(x, y, scale)
    if len(a) != len(b):
        least = min(len(a), len(b))
        raise ValueError(
            f"W2 needs clouds of one size, got {len(a)} and {len(b)}; take the first {least} of "
            "the larger"
        )
    if len(a) > 5000:
        raise ValueError(f"exact W2 of {len(a)} particles takes too long; use sliced_wasserstein")
    cost = cdist(a, b, "sqeuclidean")
    return unit * math.sqrt(cost[linear_sum_assignment(cost)].mean())


def sliced_wasserstein(
    x: Tensor, y: Tensor, directions: int = 128, seed: int = 0, *, scale: Scale = None
) -> float:
    """The sliced 2-Wasserstein distance of two clouds (n, d) and (m, d) (units of x).

        SW2^2 = E_theta W2(theta . x, theta . y)^2,    |theta| = 1,
        W2(u, v)^2 = int_0^1 (u_q - v_q)^2 dq          with the quantile functions u_q, v_q

    Args:
        x, y: the clouds.
        directions: random unit vectors theta.
        seed: of the directions.
        scale: as in `wasserstein`.

    Source: Bonneel et al. 2015.
    """
    a, b, unit = _pair(x, y, scale)
    count = check_int(directions, "directions")
    z = random_generator(check_seed(seed), Stream.PROBE).standard_normal((a.shape[1], count))
    z /= np.linalg.norm(z, axis=0)
    n, m = len(a), len(b)
    # Quantile functions step at i / n and at j / m; in units of 1 / (n m) both are whole numbers.
    steps = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    weight = np.diff(steps) / (n * m)  # length in q
    square = 0.0
    for part in np.array_split(z, min(count, math.ceil(count * len(steps) / HELD)), axis=1):
        u, v = (np.sort(c @ part, axis=0)[steps[:-1] // (n * m // len(c))] for c in (a, b))
        square += float((weight @ (u - v) ** 2).sum())
    return unit * math.sqrt(square / count)


def energy_distance(x: Tensor, y: Tensor, *, scale: Scale = None) -> float:
    """The energy distance of two clouds (n, d) and (m, d) (square root of the units of x).

        (2 E|x - y| - E|x - x'| - E|y - y'|)^(1/2)

    The means are over distinct pairs, so that the square is unbiased; a negative square counts as
    zero. The time is O(n^2), and O(n log n) in one dimension.

    Args:
        x, y: the clouds.
        scale: as in `wasserstein`.

    Raises:
        ValueError: a cloud has fewer than two particles.

    Source: Szekely and Rizzo 2013.
    """
    a, b, unit = _pair(x, y, scale)
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise ValueError(f"the energy distance needs two particles in each cloud, got {n} and {m}")
    in_a, in_b = _within(a), _within(b)
    if a.shape[1] == 1:
        across = _within(np.concatenate([a, b])) - in_a - in_b
    else:
        across = sum(float(cdist(part, b).sum()) for part in _blocks(a, m))
    within = 2 * in_a / (n * (n - 1)) + 2 * in_b / (m * (m - 1))
    return math.sqrt(unit) * math.sqrt(max(0.0, 2 * across / (n * m) - within))


def _within(a: np.ndarray) -> float:
    """The sum of the distances of all pairs of a (n, d)."""
    n = len(a)
    if a.shape[1] == 1:
        ordered = np.sort(a[:, 0])
        return float((2 * np.arange(n) - n + 1) @ (ordered - ordered[n // 2]))
    total, start = 0.0, 0
    for part in _blocks(a, n):
        rest = a[start + len(part) :]
        total += float(cdist(part, part).sum()) / 2
        total += float(cdist(part, rest).sum()) if len(rest) else 0.0
        start += len(part)
    return total


def _blocks(a: np.ndarray, columns: int) -> list[np.ndarray]:
    """The rows of a in blocks, of which `columns` distances each can be held."""
    return np.array_split(a, min(len(a), math.ceil(len(a) * columns / HELD)))


def sampling_floor(
    sample: Callable[[int, int], Tensor],
    n: int,
    distance: Distance = wasserstein,
    *,
    repeats: int = 8,
    seed: int = 0,
) -> tuple[float, float]:
    """The distance of two samples of one distribution, mean and standard deviation over pairs.

        E D(x, y),    x and y independent samples of n particles

    Args:
        sample: (n, seed) -> (n, d), draws of the distribution, such as its `.sample` method.
        n: particles in each sample.
        distance: (x, y) -> number; exact W2 by default. One with a scale is
            `functools.partial(wasserstein, scale=scale)`.
        repeats: pairs of samples, at least two; each pair has two seeds of its own.
        seed: of the first pair.
    """
    if not callable(sample):
        raise TypeError(
            f"sample must be a function (n, seed) -> (n, d), got {type(sample).__name__}; give "
            "its method .sample"
        )
    check_function(distance, "distance", "of two clouds, such as wasserstein")
    check_int(n, "n")
    check_int(repeats, "repeats", 2)
    check_seed(seed)
    draws = [_one(sample, n, distance, seed + 2 * i) for i in range(repeats)]
    return float(np.mean(draws)), float(np.std(draws, ddof=1))


def _one(sample: Callable[[int, int], Tensor], n: int, distance: Distance, seed: int) -> float:
    """The distance of two draws."""
    try:
        x, y = sample(n, seed), sample(n, seed + 1)
    except TypeError as error:
        raise TypeError(f"sample must take (n, seed): {error}") from error
    check_cloud(x, "sample(n, seed)")
    try:
        value = distance(x, y)
    except TypeError as error:
        raise TypeError(f"distance must take two clouds: {error}") from error
    return check_finite(value, "the distance")
