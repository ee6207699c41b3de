r"""The verdict on a cloud: is it a sample of this density?

Particles are counted on the density's own cells, and every statistic is a function of the counts
n_i alone, whose law under the density is known exactly: multinomial, with the cell masses m_i.
So nothing is interpolated (that alone makes p-values of 1e-35), and the cells may be as wide as
they like. Whatever functions phi of the cells one takes,

    T = n (phi_bar - E phi)^T Cov(phi)^{-1} (phi_bar - E phi) -> chi-square,
    E and Cov from the masses, not estimated.

Cells grouped into equal shares give Pearson's test, waves cos(w x), sin(w x) the test of the
characteristic function (Epps and Singleton 1986; Chwialkowski et al. 2015). The first sees any
defect of the size of a bin, the second smooth ones that are too faint for it; `strays` asks about
the particles where the law has next to nothing. Several tests, at several times, are put together
by `holm`.

A large p-value is no proof of equality. So a verdict also carries a *distance* with its *floor*
(what a perfect cloud of this size shows), and an unbiased *effect*, the chi-square divergence of
the cloud's law from the density on the bins, with its standard error: `equivalent` asks that.

`dynkin` needs no density. Along a path of dx = f dt + g dW, for every smooth phi,

    E[phi(x_T) - phi(x_0) - int L phi dt] = 0,    L = f . grad + (1/2) sum_i g_i^2 d_i d_i:

it judges the integrator against the law of motion that it was given, right or wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sdeflow import door
from sdeflow.density import ROUND_OFF, Density, Grid
from sdeflow.fokker_planck import History
from sdeflow.noise import Purpose, generator
from sdeflow.sde import SDE
from sdeflow.solve import Path

FEWEST = 100  # particles: below, no chi-square is one
EXPECTED = 20  # in each bin at least: then the chi-square law holds
DRAWS = 2000  # perfect clouds, for the floor of the distance
FREQUENCIES = 20
RARE = (1.0, 1e-2, 1e-4, 1e-6, 1e-8)  # particles expected in the nested sets of rare cells
WIDE, FINE = 1.0, 0.7  # frequencies, over those of the whole law and of its details
STILL = 1e-3  # of the largest variance: less is no fluctuation
LONG = 0.5  # waves of the Dynkin test, over the cloud's own
HEAVY = 0.02  # of chi-square's variance: what fourth moments may add to it


# --------------------------------------------------------------------------------- what comes back


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


@dataclass(frozen=True, eq=False)
class Verdict:
    r"""What a cloud's counts say about a density.

    Attributes:
        tests: chi-square first.
        distance: total variation on the bins, (1/2) sum_k |n_k / n - P_k|.
        floor: mean and standard deviation of that distance for a perfect cloud of this size.
        effect, effect_error: (X^2 - df) / n, an unbiased estimate of the chi-square divergence
            sum_k (Q_k - P_k)^2 / P_k of the cloud's law Q on the bins, and its standard error.
        n, bins: particles; bins, the outside among them where it has one of its own.
        residual: grid.shape, (n_k - n P_k) / sqrt(n P_k (1 - P_k)) of each cell's bin.
        grid: of the density.
    """

    tests: tuple[Test, ...]
    distance: float
    floor: tuple[float, float]
    effect: float
    effect_error: float
    n: int
    bins: int
    residual: Tensor
    grid: Grid

    @property
    def p_value(self) -> float:
        """The smallest of the tests, after Holm."""
        return min(holm([test.p_value for test in self.tests]))

    @property
    def statistic(self) -> float:
        """Of the chi-square test."""
        return self.tests[0].statistic

    @property
    def excess(self) -> float:
        """The distance above its floor, in standard deviations of a perfect cloud's."""
        return (self.distance - self.floor[0]) / self.floor[1]

    @property
    def bound(self) -> float:
        """The effect is below this with 95 % confidence; a lucky cloud proves no more than one
        whose effect is zero.
        """
        return max(self.effect, 0.0) + float(stats.norm.isf(0.05)) * self.effect_error

    def passed(self, level: float = 1e-3) -> bool:
        """Whether no test rejects: a perfect cloud fails in a share `level` of cases at most."""
        return self.p_value > level

    def equivalent(self, within: float = 1e-2) -> bool:
        """Whether the effect is shown to be below `within`; a large p-value does not show it."""
        return self.bound < within

    def __str__(self) -> str:
        """A short table."""
        rows = [f"{t.name:<24}{t.statistic:>11.4g}{t.df:>6}{t.p_value:>11.2g}" for t in self.tests]
        mean, sd = self.floor
        return "\n".join(
            [
                f"{self.n} particles in {self.bins} bins: p = {self.p_value:.2g} after Holm",
                f"{'test':<24}{'statistic':>11}{'df':>6}{'p':>11}",
                *rows,
                f"total variation {self.distance:.4f}, floor {mean:.4f} +- {sd:.4f} "
                f"({self.excess:+.1f} sd)",
                f"effect {self.effect:+.2e} +- {self.effect_error:.1e}, below {self.bound:.2e} "
                "with 95 %",
            ]
        )


@dataclass(frozen=True, eq=False)
class PathVerdict:
    """What a path's clouds say about a density's history, one verdict for each saved time.

    Attributes:
        t: (T,) the path's times.
        verdicts: one per time.
        motion: the Dynkin test of the path itself, where its law was given.
    """

    t: Tensor
    verdicts: tuple[Verdict, ...]
    motion: Test | None = None

    @property
    def tests(self) -> tuple[Test, ...]:
        """All of them."""
        flat = tuple(test for verdict in self.verdicts for test in verdict.tests)
        return flat if self.motion is None else (*flat, self.motion)

    @property
    def p_value(self) -> float:
        """The smallest over tests and times, after Holm."""
        return min(holm([test.p_value for test in self.tests]))

    def passed(self, level: float = 1e-3) -> bool:
        """Whether no test rejects at any time: so a perfect path does but in a share `level`."""
        return self.p_value > level

    def equivalent(self, within: float = 1e-2) -> bool:
        """Whether the effect is shown to be below `within` at every time."""
        return all(verdict.equivalent(within) for verdict in self.verdicts)

    def __str__(self) -> str:
        """One line per time."""
        names = [test.name for test in self.verdicts[0].tests]
        rows = [
            f"{float(t):>10.4g}"
            + "".join(f"{test.p_value:>15.2g}" for test in v.tests)
            + f"{v.distance:>10.4f}{v.excess:>+8.1f}{v.effect:>+11.1e}"
            for t, v in zip(self.t, self.verdicts, strict=True)
        ]
        head = f"{'t':>10}" + "".join(f"{name:>15}" for name in names)
        count = len(self.tests)
        last = [f"p = {self.p_value:.2g} after Holm over {count} p-values"]
        if self.motion is not None:
            last.insert(0, f"{self.motion.name}: p = {self.motion.p_value:.2g}")
        return "\n".join([head + f"{'TV':>10}{'sd':>8}{'effect':>11}", *rows, *last])


# -------------------------------------------------------------------------- bins and functions


def _parts(mass: np.ndarray, k: int) -> np.ndarray:
    """In which of k equal shares of the whole the middle of each cell's mass lies, last axis."""
    total = np.cumsum(mass, -1)
    whole = np.maximum(total[..., -1:], np.finfo(float).tiny)
    return np.clip((k * ((total - mass / 2) / whole)).astype(np.int64), 0, k - 1)


def _bins(mass: np.ndarray, k: int) -> np.ndarray:
    """The bin of each cell: about k of equal mass, intervals or strips cut into pieces."""
    if mass.ndim == 1:
        return _parts(mass, k)
    strips = max(1, round(math.sqrt(k)))
    strip = _parts(mass.sum(1), strips)
    held = np.zeros((strips, mass.shape[1]))
    np.add.at(held, strip, mass)
    pieces = max(1, k // strips)
    return strip[:, None] * pieces + _parts(held, pieces)[strip]


def _merged(share: np.ndarray, least: float) -> np.ndarray:
    """New numbers for bins in a row, so that each has at least this share of the whole."""
    out = np.empty(len(share), dtype=np.int64)
    number, held = 0, 0.0
    for k, s in enumerate(share):
        out[k] = number
        held += s
        if held >= least:
            number, held = number + 1, 0.0
    return np.minimum(out, max(number - 1, 0))


def _whitened(values: np.ndarray, share: np.ndarray, n: float) -> np.ndarray:
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


def _scales(density: Density) -> list[tuple[float, float]]:
    """Per axis, one over the law's standard deviation, and over that of its narrow features.

    The latter is the root of Fisher's information 4 int (d_i sqrt p)^2 dx: 1 / sd for a Gaussian,
    and for well separated ones of one sd as well.
    """
    spread, total = density.covariance().diagonal(), density.total()
    root = np.sqrt(density.mass.numpy() / total)
    out = []
    for i, h in enumerate(density.grid.width):
        wide = 1 / math.sqrt(max(float(spread[i]), h**2 / 12))
        fine = 2 * math.sqrt(float((np.diff(root, axis=i) ** 2).sum())) / h
        out.append((wide, max(fine, wide)))
    return out


def _waves(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """cos(w . x), sin(w . x): (n, 2 k) at x (n, d) for w (d, k)."""
    angle = x @ w
    return np.concatenate([np.cos(angle), np.sin(angle)], 1)


def _frequencies(scales: Sequence[tuple[float, float]], count: int, seed: int) -> np.ndarray:
    """(d, count): one half normal about the law's own size, the other about its details."""
    z = generator(seed, Purpose.PROBE).standard_normal((len(scales), count))
    half = count // 2
    low, high = np.array(scales).T
    z[:, :half] *= WIDE * low[:, None]
    z[:, half:] *= FINE * high[:, None]
    return z


# ---------------------------------------------------------------------- a cloud against a density


class Judge:
    """A density made ready to judge clouds of n particles; `check_density` for many of them.

    Args, Raises: as `check_density`.
    """

    def __init__(self, density: Density, n: int, *, bins: int = 256, seed: int = 0) -> None:
        if not isinstance(density, Density):
            raise TypeError(f"density must be a Density, got {type(density).__name__}")
        if door.whole(n, "n") < FEWEST:
            raise ValueError(f"a verdict needs at least {FEWEST} particles, got {n}; draw more")
        door.whole(bins, "bins", 2)
        door.whole(seed, "seed", 0)
        total = density.total()
        if total < 0.5:
            raise ValueError(
                f"the density holds {total:.2g} of the mass on its grid and so {1 - total:.2g} "
                "outside; normalise it, or widen the grid"
            )
        self.n, self.density = n, density
        mass = density.mass.numpy()
        self.share = np.append(mass.ravel(), max(1 - total, 0.0))  # the last is the outside
        self.share /= self.share.sum()
        self._take_bins(mass, min(bins, n // (EXPECTED + EXPECTED // 4)))
        w = _frequencies(_scales(density), FREQUENCIES, seed)
        waves = _waves(density.grid.centres().numpy(), w)
        waves = np.concatenate([waves, np.zeros((1, waves.shape[1]))])  # they vanish outside
        self.waves = _whitened(waves, self.share, n)
        rng = generator(seed, Purpose.CHOICE)
        drawn = rng.multinomial(n, self.expected / n, DRAWS)
        floor = abs(drawn - self.expected).sum(1) / (2 * n)
        self.floor = float(floor.mean()), float(floor.std(ddof=1))
        rank = np.argsort(self.share[:-1], kind="stable")
        self.tail = np.empty(len(self.share))
        self.tail[rank] = self.share[-1] + np.cumsum(self.share[rank])
        self.tail[-1] = self.share[-1]

    def _take_bins(self, mass: np.ndarray, bins: int) -> None:
        label = _bins(mass, bins).ravel()
        least = EXPECTED / self.n
        label = _merged(np.bincount(label, mass.ravel()), least)[label]
        last = label.max() + (self.share[-1] >= least)
        if last == 0:
            raise ValueError("the density lies in one bin, so there is nothing to compare")
        self.label = np.append(label, last)
        self.expected = self.n * np.bincount(self.label, self.share)

    def __call__(self, x: Tensor) -> Verdict:
        """The verdict on x (n, d)."""
        grid = self.density.grid
        if len(door.cloud(x, dim=grid.dim)) != self.n:
            raise ValueError(f"this judge was made for {self.n} particles, got {len(x)}")
        inside, outside = grid.count(x)
        counts = np.append(inside.numpy().ravel(), outside)
        tests = (self._pearson(counts), self._characteristic(counts), self._strays(counts))
        found = np.bincount(self.label, counts)
        df, off = tests[0].df, found - self.expected
        effect = (tests[0].statistic - df) / self.n
        spread = np.sqrt(self.expected * (1 - self.expected / self.n))
        return Verdict(
            tests=tests,
            distance=float(abs(off).sum() / (2 * self.n)),
            floor=self.floor,
            effect=effect,
            effect_error=math.sqrt(2 * df + 4 * self.n * max(effect, 0.0)) / self.n,
            n=self.n,
            bins=len(self.expected),
            residual=torch.from_numpy((off / spread)[self.label[:-1]]).reshape(grid.shape),
            grid=grid,
        )

    def _pearson(self, counts: np.ndarray) -> Test:
        found = np.bincount(self.label, counts)
        value = float(((found - self.expected) ** 2 / self.expected).sum())
        return _chi_square("chi-square", value, len(found) - 1)

    def _characteristic(self, counts: np.ndarray) -> Test:
        value = float(((counts @ self.waves) ** 2).sum() / self.n)
        return _chi_square("characteristic", value, self.waves.shape[1])

    def _strays(self, counts: np.ndarray) -> Test:
        """How many particles are where next to none is expected, at several levels of next to.

        Conservative: the least of exact binomial tails, times their number.
        """
        most, least = 0, 1.0
        for expected in RARE:
            rare = self.tail <= expected / self.n
            rare[-1] = True  # what lies outside is rarest, however much it is
            found = int(counts[rare].sum())
            mass = max(float(self.tail[rare].max()), ROUND_OFF)
            least = min(least, float(stats.binom.sf(found - 1, self.n, mass)))
            most = max(most, found)
        return Test("strays", float(most), 0, min(1.0, len(RARE) * least), BLIND["strays"])


def _chi_square(name: str, value: float, df: int) -> Test:
    return Test(name, value, df, float(stats.chi2.sf(value, df)), BLIND[name])


def check_density(x: Tensor, density: Density, *, bins: int = 256, seed: int = 0) -> Verdict:
    r"""Judge whether the cloud x (n, d) is a sample of this density, from counts on its cells.

        X^2 = sum_k (n_k - n P_k)^2 / (n P_k)                              on equal shares,
        T = n (phi_bar - E phi)^T Cov(phi)^{-1} (phi_bar - E phi)          of 20 waves, and strays.

    The first two p-values are uniform under the density (in the chi-square limit); that of the
    strays is conservative. The density's own error is not allowed for: a cloud of n sees it
    where n times its chi-square divergence reaches about 2.

    Args:
        density: what lies outside its grid is one more bin.
        bins: at most; fewer for a small cloud, so that 20 particles are expected in each.
        seed: of the frequencies and of the floor.

    Raises:
        TypeError, ValueError: no finite cloud in the density's dimension, fewer than 100
            particles, most of the density's mass outside its grid.

    Source: Pearson 1900; Epps and Singleton 1986.
    """
    door.cloud(x)
    return Judge(density, len(x), bins=bins, seed=seed)(x)


def check_path(
    path: Path, history: History, *, sde: SDE | None = None, bins: int = 256, seed: int = 0
) -> PathVerdict:
    """Judge every saved cloud of a path by the density of its time.

        check_path(path, evolve(sde, density, path.t))

    Args:
        history: has each of the path's times; it may have more.
        sde: the law of motion, to add the Dynkin test of a path that was saved at every step.
        bins, seed: as `check_density`; every time has frequencies of its own.

    Raises:
        TypeError, ValueError: as `check_density` and `dynkin`; a time that the history lacks.
    """
    if not isinstance(path, Path) or not isinstance(history, History):
        raise TypeError(
            f"check_path needs a Path and a History, got {type(path).__name__} and "
            f"{type(history).__name__}; evolve(sde, density, path.t) makes one"
        )
    where = _matched(path.t, history.t)
    verdicts = [
        check_density(x, history[k], bins=bins, seed=seed + i)
        for i, (x, k) in enumerate(zip(path.x, where, strict=True))
    ]
    motion = None if sde is None else dynkin(path, sde, seed=seed)
    return PathVerdict(path.t, tuple(verdicts), motion)


def _matched(t: Tensor, there: Tensor) -> list[int]:
    """Where each of t stands in `there`."""
    gap, index = (there.double()[None, :] - t.double()[:, None]).abs().min(1)
    late = gap > 1e-9 * float(there.abs().max())
    if late.any():
        k = int(late.nonzero()[0])
        raise ValueError(
            f"the path was saved at t = {float(t[k]):.6g}, where the history has no density (the "
            f"nearest is at {float(there[index[k]]):.6g}); evolve to path.t"
        )
    return index.tolist()


# ------------------------------------------------------------------------- a path against its law


def dynkin(path: Path, sde: SDE, *, seed: int = 0) -> Test:
    r"""Judge whether a path that was saved at every step obeys its own law of motion.

        M = phi(x_T) - phi(x_0) - sum_k (|dt_k| / 2) (L phi_k + L phi_{k+1}),
        E M = 0 and E[M x_0] = 0,    T^2 = n M_bar^T Cov(M)^{-1} M_bar ~ Hotelling,

    L = +-f . grad + (1/2) sum_i g_i^2 d_i d_i in the order of the run (Dynkin's formula), phi: ten
    waves longer than the cloud is wide at its two ends; for x itself the correlation with x_0 is
    tested. Solver and sum have a bias of the order of dt^2: a path of n needs n dt^4 small.

    It is blind to a wrong field and a wrong start, for it takes drift and noise as they are given,
    and to what happens within one step only.

    Raises:
        TypeError, ValueError: no path of at least 100 particles and 10 steps in this law's
            direction.

    Source: Oksendal 2003, theorem 7.4.1.
    """
    t, x = _followed(path, sde)
    first, last = x[0].double().numpy(), x[-1].double().numpy()
    w = _lengths(first, last, seed)
    drifted = 0.0
    before = _generated(sde, x[0], t[0], w)
    for k in range(1, len(t)):
        after = _generated(sde, x[k], t[k], w)
        drifted = drifted + float(abs(t[k] - t[k - 1])) / 2 * (before + after)
        before = after
    gained = np.concatenate([_waves(last, w), last], 1) - np.concatenate(
        [_waves(first, w), first], 1
    )
    m = gained - drifted
    start = (first - first.mean(0)) / np.maximum(first.std(0), np.finfo(float).tiny)
    d = first.shape[1]
    # Without noise of its own a coordinate's M is the solver's error alone, however small.
    noisy = _ito(sde, x[len(t) // 2], t[len(t) // 2])[1].any(0)
    against = (m[:, -d:, None][:, noisy] * start[:, None, :]).reshape(len(m), -1)
    return _hotelling("Dynkin", np.concatenate([m[:, :-d], against], 1))


def _followed(path: Path, sde: SDE) -> tuple[Tensor, Tensor]:
    """Times and states of a path that the Dynkin test can judge."""
    if not isinstance(path, Path):
        raise TypeError(f"path must be a Path, got {type(path).__name__}")
    if sde.diffusion is None:
        raise ValueError("this law has no noise, so the Dynkin test has no scale; compare solvers")
    count, n, _ = path.x.shape
    if count < 11:
        raise ValueError(
            f"the Dynkin test needs every step of the path, this one has {count} states; solve "
            "with save=steps + 1"
        )
    if n < FEWEST:
        raise ValueError(f"the Dynkin test needs {FEWEST} particles at least, got {n}")
    low, high = sorted((sde.t_start, sde.t_end))
    t = door.times(path.t, low, high, "path.t")
    if (t[-1] > t[0]) != (sde.t_end > sde.t_start):
        raise ValueError(
            "the path and the law run in opposite directions; give the path's own law"
        )
    for x in (path.x[0], path.x[-1]):
        door.cloud(x, "path.x")
    return t, path.x


def _lengths(first: np.ndarray, last: np.ndarray, seed: int) -> np.ndarray:
    """(d, 10) wave vectors: half of them long beside the cloud at its start, half at its end.

    Short waves have died away at all times but the last, and dilute the test.
    """
    z = generator(door.whole(seed, "seed", 0), Purpose.PROBE).standard_normal((first.shape[1], 10))
    size = np.stack([first.std(0), last.std(0)], 1).repeat(5, 1)
    return LONG * z / np.maximum(size, np.finfo(float).tiny)


def _generated(sde: SDE, x: Tensor, t: Tensor, w: np.ndarray) -> np.ndarray:
    """L phi (n, 20 + d) at one time: of the waves w (d, 10), then of x itself."""
    f, square = _ito(sde, x, t)
    y = x.double().numpy()
    if sde.t_end < sde.t_start:
        f = -f
    wave = _waves(y, w)
    cos, sin = wave[:, : w.shape[1]], wave[:, w.shape[1] :]
    push, spread = f @ w, square @ w**2 / 2
    return np.concatenate([-push * sin - spread * cos, push * cos - spread * sin, f], 1)


def _ito(sde: SDE, x: Tensor, t: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Ito's drift and the squared noise, (n, d) each; dt in the drift is the law's own, signed."""
    when = t.to(x)
    assert sde.diffusion is not None
    with torch.no_grad():
        f = sde.drift(x, when).double()
        g = torch.as_tensor(sde.diffusion(x, when)).double().expand(x.shape)
    if sde.calculus == "stratonovich":
        f = f + (1.0 if sde.t_end > sde.t_start else -1.0) * _correction(sde, x, when)
    return f.numpy(), (g**2).numpy()


def _correction(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """(1/2) g_i d_i g_i, (n, d): what Stratonovich's noise adds to the drift."""
    assert sde.diffusion is not None
    x = x.detach().requires_grad_()
    g = torch.as_tensor(sde.diffusion(x, t))
    if not g.requires_grad:
        return torch.zeros_like(x, dtype=torch.float64)
    g = g.expand(x.shape)
    rows = [
        torch.autograd.grad(g[:, i].sum(), x, retain_graph=True)[0][:, i]
        for i in range(x.shape[1])
    ]
    return (g * torch.stack(rows, 1) / 2).detach().double()


def _hotelling(name: str, m: np.ndarray) -> Test:
    """Whether the mean of the rows m (n, k) is zero: n m_bar^T S^{-1} m_bar, as an F ratio.

    Combinations that hardly vary are left out: they would be judged by the solver's tiny bias.
    """
    spread = m.std(0, ddof=1)
    m = m / np.where(spread > 0, spread, 1.0)
    variance, axes = np.linalg.eigh(np.cov(m.T))
    keep = variance > STILL * variance[-1]
    n, k = len(m), int(keep.sum())
    value = float(n * ((m.mean(0) @ axes[:, keep]) ** 2 / variance[keep]).sum())
    p = float(stats.f.sf(value * (n - k) / (k * (n - 1)), k, n - k))
    return Test(name, value, k, p, BLIND[name])


# ------------------------------------------------------------------------- a cloud against a cloud


def compare(x: Tensor, y: Tensor, *, bins: int = 256, seed: int = 0) -> tuple[Test, ...]:
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
    a, b = (door.cloud(c, n).detach().cpu().double().numpy() for c, n in ((x, "x"), (y, "y")))
    door.cloud(y, "y", dim=x.shape[1])
    if min(len(a), len(b)) < FEWEST:
        raise ValueError(
            f"two clouds are compared with at least {FEWEST} particles in each, got {len(a)} and "
            f"{len(b)}"
        )
    rng = generator(door.whole(seed, "seed", 0), Purpose.CHOICE)
    pooled = np.concatenate([a, b])
    label = _halved(
        pooled,
        rng.permutation(len(pooled)),
        min(door.whole(bins, "bins", 2), min(len(a), len(b)) // EXPECTED),
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
    phi = _waves(pooled, _frequencies([(1 / s, 2 / s) for s in size], 10, seed))
    share = np.full(len(pooled), 1 / len(pooled))
    z = _whitened(phi, share, 1 / (1 / len(a) + 1 / len(b)))
    return (
        _chi_square("chi-square", value, found.shape[1] - 1),
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
    return _chi_square(name, float(off @ np.linalg.solve(np.atleast_2d(spread), off)), a.shape[1])
