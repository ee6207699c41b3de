r"""Statistics whose law under the hypothesis is known, and their p-values.

A *test* is a number with a law: `Test` says what the number is, what its law, and what it cannot
see. Two kinds are behind every verdict of this package. Counts n_k in bins of known shares P_k,

    X^2 = sum_k (n_k - n P_k)^2 / (n P_k) -> chi-square with (bins - 1) degrees of freedom,

see any defect of the size of a bin (Pearson 1900). Means of waves cos(w x), sin(w x), which are
the characteristic function at a few frequencies,

    T = n (phi_bar - E phi)^T Cov(phi)^{-1} (phi_bar - E phi) -> chi-square,

see smooth defects that are too faint for any one bin (Epps and Singleton 1986; Chwialkowski et
al. 2015). The frequencies are drawn, half of them about one over the law's own width, half about
one over that of its details: a wave much shorter than these averages to zero under either law,
and a much longer one is constant.

Cov(phi) is turned to the unit matrix (`whitened`) before anything is compared, and combinations
that hardly vary are left out: T is a chi-square only in the limit of large n, and it is the
fourth moments of the combinations that say how large.

Of m p-values one is small by chance. `holm` allows for that, whatever the dependence among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sdeflow.random_streams import Stream, random_generator

FEWEST = 100  # particles: below, no chi-square is one
EXPECTED = 20  # in each bin at least: then the chi-square law holds
WIDE, FINE = 1.0, 0.7  # frequencies, over those of the whole law and of its details
HEAVY = 0.02  # of chi-square's variance: what fourth moments may add to it

BLIND = {
    "chi-square": "what is narrower than a bin; smooth shifts too faint to show in any one bin",
    "characteristic": "what its frequencies do not resolve",
    "strays": "all but particles where the law has next to no mass",
    "Dynkin": "a wrong field or start, and what happens within one step only",
}


@dataclass(frozen=True)
class Test:
    """One statistic, its law under the hypothesis, and its p-value.

    Attributes:
        name: of the test.
        statistic: its value.
        df: degrees of freedom of its chi-square law; 0 where it has none.
        p_value: uniform under the hypothesis, or larger where the docstring of its maker says so.
        blind: what it cannot see.
    """

    name: str
    statistic: float
    df: int
    p_value: float
    blind: str = ""


def chi_square(name: str, value: float, df: int) -> Test:
    """A statistic whose law is chi-square with `df` degrees of freedom, with its p-value."""
    return Test(name, value, df, float(stats.chi2.sf(value, df)), BLIND[name])


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for being several: the family errs no more often than its level.

        p'_(k) = max_{j <= k} min(1, (m - j + 1) p_(j)),    p_(1) <= ... <= p_(m), as given.

    It holds whatever the dependence between them.

    Raises:
        ValueError: a number outside [0, 1].

    Source: Holm 1979.
    """
    p = np.asarray(p_values, dtype=float)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p-values must be a row of numbers in [0, 1], got {p_values!r}")
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    out = np.empty_like(p)
    out[order] = np.maximum.accumulate(scaled)
    return tuple(out.tolist())


def waves(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """cos(w . x), sin(w . x): (n, 2 k) at x (n, d) for w (d, k)."""
    angle = x @ w
    return np.concatenate([np.cos(angle), np.sin(angle)], 1)


def frequencies(scales: Sequence[tuple[float, float]], count: int, seed: int) -> np.ndarray:
    """(d, count): one half normal about the law's own size, the other about its details."""
    z = random_generator(seed, Stream.PROBE).standard_normal((len(scales), count))
    half = count // 2
    low, high = np.array(scales).T
    z[:, :half] *= WIDE * low[:, None]
    z[:, half:] *= FINE * high[:, None]
    return z


def whitened(values: np.ndarray, share: np.ndarray, n: float) -> np.ndarray:
    """Combinations of functions (cells, k) with mean 0 and covariance 1 under the shares.

    The variance of sum_j z_j^2 n is 2 r + (E|z|^4 - r^2 - 2 r) / n, not 2 r: combinations are
    taken in the order of their variance as long as that hardly matters at this n.
    """
    off = values - share @ values
    variance, axes = np.linalg.eigh((off * share[:, None]).T @ off)
    variance, axes = variance[::-1], axes[:, ::-1]
    sound = variance > 1e-10 * variance[0]
    z = off @ (axes[:, sound] / np.sqrt(variance[sound]))
    r = np.arange(1, z.shape[1] + 1)
    heavy = (share @ np.cumsum(z**2, 1) ** 2 - r * (r + 2)) / (2 * r * n)
    return z[:, : int(r[heavy <= HEAVY].max(initial=1))]
