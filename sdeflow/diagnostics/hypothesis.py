r"""Compute test statistics whose distribution is known, p-values, and Holm's correction.

Counts n_k in bins of known probabilities P_k give Pearson's statistic (Pearson 1900),

    X^2 = sum_k (n_k - n P_k)^2 / (n P_k) -> chi-square with (bins - 1) degrees of freedom.

Means of the waves phi = cos(w . x), sin(w . x) at a few frequencies w give a test of the
characteristic function (Epps and Singleton 1986; Chwialkowski et al. 2015),

    T = n (phi_bar - E phi)^T Cov(phi)^{-1} (phi_bar - E phi) -> chi-square.

The first detects defects as large as a bin, the second smooth defects that are too faint to show
in any one bin. `holm` corrects the p-values of several tests, which may depend on one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sdeflow._validation import shown
from sdeflow.random_streams import Stream, random_generator

FEWEST = 100  # particles: with fewer, the chi-square limit does not hold
EXPECTED = 20  # particles in each bin at least, for the chi-square limit
# Widths of the random frequencies, in 1 / (width of the density) and 1 / (width of its details).
WIDE, FINE = 1.0, 0.7
HEAVY = 0.02  # share of the chi-square's variance that fourth moments may add

BLIND = {
    "chi-square": "what is narrower than a bin; smooth shifts too faint to show in any one bin",
    "characteristic": "what its frequencies do not resolve",
    "rare cells": "all but particles where the density has almost no mass",
    "Dynkin": "a wrong field or start, and errors within one step only",
}


@dataclass(frozen=True)
class Test:
    """The result of a statistical test: a statistic and its p-value.

    Attributes:
        name: of the test.
        statistic: its value.
        df: degrees of freedom of its chi-square distribution; 0 where it has another one.
        p_value: uniform in [0, 1] if the hypothesis is true, or larger for a conservative test.
        blind: what the test cannot detect.
    """

    name: str
    statistic: float
    df: int
    p_value: float
    blind: str = ""

    def __repr__(self) -> str:
        freedom = f" with {self.df} degrees of freedom" if self.df else ""
        return f"{self.name} test: statistic {self.statistic:.4g}{freedom}, p = {self.p_value:.2g}"


def chi_square(name: str, value: float, df: int) -> Test:
    """The test whose statistic has this value and is chi-square with `df` degrees of freedom."""
    return Test(name, value, df, float(stats.chi2.sf(value, df)), BLIND[name])


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust m p-values so that false rejections stay rare over all of them together.

        p'_(k) = max_{j <= k} min(1, (m - j + 1) p_(j)),    p_(1) <= ... <= p_(m)

    If all hypotheses are true, the chance that any p' is below a level is at most that level. The
    p-values may depend on one another; the result has their order.

    Source: Holm 1979.
    """
    try:
        p = np.asarray(p_values, dtype=float)
    except (TypeError, ValueError, RuntimeError):
        p = np.empty((0, 0))
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must be a row of numbers in [0, 1], got {shown(p_values)}")
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.maximum.accumulate(scaled)
    return tuple(out.tolist())


def waves(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """cos(w . x) and sin(w . x), (n, 2 k), at x (n, d) for the wave vectors w (d, k)."""
    angle = x @ w
    return np.concatenate([np.cos(angle), np.sin(angle)], 1)


def frequencies(scales: Sequence[tuple[float, float]], count: int, seed: int) -> np.ndarray:
    """Random wave vectors (d, count), from two scales (1 / width) per axis.

    One half is normal with the inverse width of the density, the other with that of its details.
    Much shorter waves would average to zero, and much longer ones would be constant.
    """
    z = random_generator(seed, Stream.PROBE).standard_normal((len(scales), count))
    half = count // 2
    low, high = np.array(scales).T
    z[:, :half] *= WIDE * low[:, None]
    z[:, half:] *= FINE * high[:, None]
    return z


def whitened(values: np.ndarray, share: np.ndarray, n: float) -> np.ndarray:
    """Combinations of the functions (cells, k) with mean 0 and covariance I under the shares.

    The variance of T with r combinations z is 2 r + (E|z|^4 - r^2 - 2 r) / n and not 2 r.
    Combinations are taken in the order of variance, as long as the second term is negligible.
    """
    off = values - share @ values
    variance, axes = np.linalg.eigh((off * share[:, None]).T @ off)
    variance, axes = variance[::-1], axes[:, ::-1]
    sound = variance > 1e-10 * variance[0]
    z = off @ (axes[:, sound] / np.sqrt(variance[sound]))
    r = np.arange(1, z.shape[1] + 1)
    heavy = (share @ np.cumsum(z**2, 1) ** 2 - r * (r + 2)) / (2 * r * n)
    return z[:, : int(r[heavy <= HEAVY].max(initial=1))]
