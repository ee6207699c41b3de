r"""Two clouds: are they samples of one law, though nobody can say which?

Where a density is known, `check` is the better judge. Here it is not, as for two samplers of one
trained field, or for particles beside data. What is common to both clouds stands in for it: bins
are cut through the *pooled* cloud, the waves are scaled by the pooled widths, and under the
hypothesis the label "first" or "second" of a particle is then independent of where it lies:

    X^2 = sum_k (sqrt(m / n) n_k - sqrt(n / m) m_k)^2 / (n_k + m_k) -> chi-square,
    T = (phi_x - phi_y)^T (S_x / n + S_y / m)^{-1} (phi_x - phi_y) -> chi-square.

The fluctuations of both clouds count, so the same defect needs about twice the particles. In many
dimensions the bins, halves of halves along one axis after the other, see few axes only; the waves
then see more, but none of them what is narrow among wide things.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sdeflow._validation import check_cloud, check_int
from sdeflow.diagnostics.hypothesis import (
    EXPECTED,
    FEWEST,
    Test,
    chi_square,
    frequencies,
    waves,
    whitened,
)
from sdeflow.random_streams import Stream, random_generator


def two_sample_test(x: Tensor, y: Tensor, *, bins: int = 256, seed: int = 0) -> tuple[Test, ...]:
    r"""Judge whether two clouds x (n, d), y (m, d) are samples of one law, which is not known.

        X^2 = sum_k (sqrt(m / n) n_k - sqrt(n / m) m_k)^2 / (n_k + m_k)       on pooled bins,
        T = (phi_x - phi_y)^T (S_x / n + S_y / m)^{-1} (phi_x - phi_y)        of 10 waves.

    Bins are halves of halves of the pooled cloud; frequencies are set by its standard deviations.
    Where the law is known `check_density` is the better judge: here its fluctuations count twice,
    narrow features among wide ones fall between the frequencies, and in many dimensions the bins
    see a few axes only. Both p-values are uniform in the chi-square limit.

    Raises:
        TypeError, ValueError: no finite clouds of one dimension, fewer than 100 particles in one.

    Source: Epps and Singleton 1986.
    """
    a, b = (check_cloud(c, n).detach().cpu().double().numpy() for c, n in ((x, "x"), (y, "y")))
    check_cloud(y, "y", dim=x.shape[1])
    if min(len(a), len(b)) < FEWEST:
        raise ValueError(
            f"two clouds are compared with at least {FEWEST} particles in each, got {len(a)} and "
            f"{len(b)}"
        )
    rng = random_generator(check_int(seed, "seed", 0), Stream.CHOICE)
    pooled = np.concatenate([a, b])
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
    size = np.maximum(pooled.std(0), np.finfo(float).tiny)
    phi = waves(pooled, frequencies([(1 / s, 2 / s) for s in size], 10, seed))
    share = np.full(len(pooled), 1 / len(pooled))
    z = whitened(phi, share, 1 / (1 / len(a) + 1 / len(b)))
    return (
        chi_square("chi-square", value, found.shape[1] - 1),
        _two_sample("characteristic", z[: len(a)], z[len(a) :]),
    )


def _halved(x: np.ndarray, members: np.ndarray, parts: int) -> np.ndarray:
    """A number for each row of x: halves of halves by rank, along one axis after the other."""
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
    """Whether the rows of a (n, k) and b (m, k) have one mean."""
    off = a.mean(0) - b.mean(0)
    spread = np.cov(a.T, bias=True) / len(a) + np.cov(b.T, bias=True) / len(b)
    return chi_square(name, float(off @ np.linalg.solve(np.atleast_2d(spread), off)), a.shape[1])
