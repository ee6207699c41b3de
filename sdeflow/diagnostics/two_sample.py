r"""Test whether two clouds are samples of one distribution, without knowing that distribution.

Examples are the clouds of two samplers with one trained field, or particles and data. The two
clouds are pooled and cut into bins, with counts n_k and m_k; waves phi = cos(w . x), sin(w . x)
are scaled by the width of each column of the pooled cloud. For samples of one distribution

    X^2 = sum_k (sqrt(m / n) n_k - sqrt(n / m) m_k)^2 / (n_k + m_k) -> chi-square,
    T = (phi_x - phi_y)^T (S_x / n + S_y / m)^{-1} (phi_x - phi_y) -> chi-square.

Both clouds fluctuate, so that about twice the particles of `check_density` are needed. With b bins
only the first log2(b) axes are split. The test on waves covers all axes, but misses structure much
narrower than the pooled standard deviation.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_seed
from sdeflow.diagnostics.hypothesis import (
    EXPECTED,
    FEWEST,
    Test,
    chi_square,
    frequencies,
    waves,
    whitened,
)
from sdeflow.diagnostics.scale import widths
from sdeflow.random_streams import Stream, random_generator


def two_sample_test(x: Tensor, y: Tensor, *, bins: int = 256, seed: int = 0) -> tuple[Test, ...]:
    r"""Test whether two clouds x (n, d), y (m, d) are samples of one unknown distribution.

        X^2 = sum_k (sqrt(m / n) n_k - sqrt(n / m) m_k)^2 / (n_k + m_k)       on pooled bins,
        T = (phi_x - phi_y)^T (S_x / n + S_y / m)^{-1} (phi_x - phi_y)        of 10 waves.

    Both p-values are uniform in the chi-square limit. If the density is known, `check_density` is
    more powerful.

    Args:
        x, y: of at least 100 particles each.
        bins: the largest number of bins, made by halving the pooled cloud along one axis after the
            other.
        seed: of the waves, and of the order of equal coordinates.

    Raises:
        ValueError: a cloud has fewer than 100 particles, or all particles are at one point.

    Source: Epps and Singleton 1986.
    """
    a, b = (check_cloud(c, n).detach().cpu().double().numpy() for c, n in ((x, "x"), (y, "y")))
    check_cloud(y, "y", dim=x.shape[1])
    if min(len(a), len(b)) < FEWEST:
        raise ValueError(
            f"the tests need at least {FEWEST} particles in each cloud, got {len(a)} and "
            f"{len(b)}; draw more"
        )
    rng = random_generator(check_seed(seed), Stream.CHOICE)
    pooled = np.concatenate([a, b])
    width = widths(pooled)
    if not width.any():
        raise ValueError(
            "all particles of both clouds are at one point, so that no test is possible; give "
            "clouds of some width"
        )
    label = _halved(
        pooled,
        rng.permutation(len(pooled)),
        min(check_int(bins, "bins", 2), min(len(a), len(b)) // EXPECTED),
    )
    found = np.stack(
        [
            np.bincount(part, minlength=label.max() + 1)
            for part in (label[: len(a)], label[len(a) :])
        ]
    )
    ratio = math.sqrt(len(b) / len(a))
    value = float(((ratio * found[0] - found[1] / ratio) ** 2 / found.sum(0)).sum())
    # A constant column has no waves.
    scales = [(1 / w, 2 / w) if w > 0 else (0.0, 0.0) for w in width]
    phi = waves(pooled, frequencies(scales, 10, seed))
    share = np.full(len(pooled), 1 / len(pooled))
    z = whitened(phi, share, 1 / (1 / len(a) + 1 / len(b)))
    return (
        chi_square("chi-square", value, found.shape[1] - 1),
        _two_sample("characteristic", z[: len(a)], z[len(a) :]),
    )


def _halved(x: np.ndarray, members: np.ndarray, parts: int) -> np.ndarray:
    """The bin of each row of x, by repeated halving along one axis after the other."""
    groups = [members]
    for level in range(int(math.log2(parts))):
        axis = level % x.shape[1]
        groups = [
            half
            for group in groups
            for half in np.array_split(group[np.argsort(x[group, axis], kind="stable")], 2)
        ]
    label = np.empty(len(x), dtype=np.int64)
    for k, group in enumerate(groups):
        label[group] = k
    return label


def _two_sample(name: str, a: np.ndarray, b: np.ndarray) -> Test:
    """The test that the rows of a (n, k) and b (m, k) have one mean."""
    off = a.mean(0) - b.mean(0)
    spread = np.cov(a.T, bias=True) / len(a) + np.cov(b.T, bias=True) / len(b)
    variance, axes = np.linalg.eigh(np.atleast_2d(spread))
    # Where neither cloud varies, any difference is significant.
    least = np.finfo(float).eps * max(variance[-1], float(off @ off), np.finfo(float).tiny)
    value = float(((off @ axes) ** 2 / np.maximum(variance, least)).sum())
    return chi_square(name, value, a.shape[1])
