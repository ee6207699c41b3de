r"""What a verdict says: p-values, a distance beside its floor, and an effect with its error.

A large p-value is no proof of equality: a small cloud passes everything. So three questions are
answered apart from one another, all of them from the counts n_k in bins of shares P_k.

    passed       may this cloud be a sample of the density?      p-values, after Holm
    excess       how far is it, and how far is a perfect one?    (1/2) sum_k |n_k / n - P_k|
    equivalent   is the cloud's own law Q shown to be near?      sum_k (Q_k - P_k)^2 / P_k

The distance of a perfect cloud is not zero but its *floor*: only what lies above it can be held
against the cloud. In bins of equal shares n_k / n - P_k is about normal, of variance 1 / (bins n),
and E|z| = sqrt(2 / pi), so that the floor is about

    (1/2) bins sqrt(2 / pi) / sqrt(bins n) = 0.4 sqrt(bins / n).

The *effect* has its floor taken off already. With delta = sum_k (Q_k - P_k)^2 / P_k,

    effect = (X^2 - df) / n,    E effect = delta + (sum_k (Q_k - P_k) / P_k - delta) / n:

zero on average for perfect clouds, right to O(1 / n) for others (of equal shares, to delta / n).
It is negative for half of all perfect clouds, and its standard error says how small a difference
this many particles can rule out.

`Verdict` is of one cloud and one density, `PathVerdict` of a path and its history, one verdict
for each saved time. They are made by `check` and drawn by `plot`.

See docs/theory.md, (9.2) the effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats
from torch import Tensor

from sdeflow.density import Grid
from sdeflow.diagnostics.hypothesis import Test, holm


def told(p_value: float) -> str:
    """A p-value after Holm in words: "p = 0.02", and "p > 0.5" above a half.

    Holm's is min(1, m p): "p = 1" would say no more than that m p is 1 or larger.
    """
    return "p > 0.5" if p_value > 0.5 else f"p = {p_value:.2g}"


@dataclass(frozen=True, eq=False)
class Verdict:
    r"""What a cloud's counts say about a density.

    Attributes:
        tests: chi-square first.
        distance: total variation on the bins, (1/2) sum_k |n_k / n - P_k|.
        floor: mean and standard deviation of that distance for a perfect cloud of this size.
        effect, effect_error: (X^2 - df) / n, an estimate of the chi-square divergence
            sum_k (Q_k - P_k)^2 / P_k of the cloud's law Q on the bins, unbiased if Q = P and else
            to O(1 / n), and its standard error.
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
                f"{self.n} particles in {self.bins} bins: {told(self.p_value)} after Holm",
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
        last = [f"{told(self.p_value)} after Holm over {count} p-values"]
        if self.motion is not None:
            last.insert(0, f"{self.motion.name}: p = {self.motion.p_value:.2g}")
        return "\n".join([head + f"{'TV':>10}{'sd':>8}{'effect':>11}", *rows, *last])
