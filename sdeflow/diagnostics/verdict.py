r"""Read the result of a goodness-of-fit test: p-values, a distance, and an effect.

A `Verdict` answers three questions, from counts n_k in bins of probability P_k:

    passed       can this cloud be a sample of the density?         p-values, after Holm
    excess       how far is it from the density, beyond chance?     (1/2) sum_k |n_k / n - P_k|
    equivalent   is its distribution Q certainly near the density?  sum_k (Q_k - P_k)^2 / P_k

A large p-value does not show that Q is the density, since a small cloud passes every test; use
`equivalent` for that.
`check_density` returns a `Verdict`, `check_path` a `PathVerdict`; `plot` draws them.

See docs/theory.md, (9.2), for the effect.
"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats
from torch import Tensor

from sdeflow._validation import check_between, check_positive
from sdeflow._wording import markdown_table
from sdeflow.density import Grid
from sdeflow.diagnostics.hypothesis import Test, holm


def format_p_value(p_value: float) -> str:
    """A p-value after Holm's correction as text: "p = 0.02", and "p > 0.5" above a half.

    The corrected min(1, m p) is 1 for any m p >= 1, so "p = 1" would claim too much.
    """
    return "p > 0.5" if p_value > 0.5 else f"p = {p_value:.2g}"


@dataclass(frozen=True, eq=False)
class Verdict:
    r"""The result of testing a cloud of n particles against a density, by counts in bins.

        effect = (X^2 - df) / n,    E effect = delta + O(1 / n),
        delta = sum_k (Q_k - P_k)^2 / P_k

    estimates the chi-square divergence of the cloud's distribution Q from the density. For perfect
    clouds, exact draws from the density, it is zero on average, and negative for half of them.

    Attributes:
        tests: the tests, chi-square first.
        distance: the total variation on the bins, (1/2) sum_k |n_k / n - P_k|.
        sampling_floor: the mean and standard deviation of that distance for perfect clouds of
            this size; the mean is about 0.4 sqrt(bins / n).
        effect, effect_error: the effect and its standard error.
        n, bins: the numbers of particles and of bins, with the outside of the grid if it is a bin.
        residual: grid.shape, (n_k - n P_k) / sqrt(n P_k (1 - P_k)) of each cell's bin.
        grid: of the density.
    """

    tests: tuple[Test, ...]
    distance: float
    sampling_floor: tuple[float, float]
    effect: float
    effect_error: float
    n: int
    bins: int
    residual: Tensor
    grid: Grid

    @property
    def p_value(self) -> float:
        """The smallest p-value of the tests, after Holm."""
        return min(holm([test.p_value for test in self.tests]))

    @property
    def statistic(self) -> float:
        """Pearson's statistic X^2."""
        return self.tests[0].statistic

    @property
    def excess(self) -> float:
        """(distance - mean) / sd, with the mean and sd of perfect clouds (`sampling_floor`)."""
        return (self.distance - self.sampling_floor[0]) / self.sampling_floor[1]

    @property
    def bound(self) -> float:
        """An upper bound on the chi-square divergence, of 95 % confidence.

        A negative effect counts as zero.
        """
        return max(self.effect, 0.0) + float(stats.norm.isf(0.05)) * self.effect_error

    def passed(self, level: float = 1e-3) -> bool:
        """Whether no test rejects; a perfect cloud is rejected in a share `level` of cases."""
        return self.p_value > check_between(level, "level", 0.0, 1.0)

    def equivalent(self, within: float = 1e-2) -> bool:
        """Whether the chi-square divergence is shown to be below `within`: its `bound` is."""
        return self.bound < check_positive(within, "within")

    def __repr__(self) -> str:
        mean, sd = self.sampling_floor
        return (
            f"verdict on {self.n} particles in {self.bins} bins: {format_p_value(self.p_value)} "
            f"after Holm, total variation {self.distance:.4f}, sampling floor {mean:.4f} +- "
            f"{sd:.4f}"
        )

    def __str__(self) -> str:
        """A Markdown table of the tests, and the distance and the effect in words."""
        mean, sd = self.sampling_floor
        rows = [(t.name, f"{t.statistic:.4g}", t.df, f"{t.p_value:.2g}") for t in self.tests]
        return "\n".join(
            [
                f"{self.n} particles in {self.bins} bins: {format_p_value(self.p_value)} after "
                "Holm",
                "",
                markdown_table(("test", "statistic", "df", "p"), rows),
                "",
                f"total variation {self.distance:.4f}, sampling floor {mean:.4f} +- {sd:.4f} "
                f"({self.excess:+.1f} sd)",
                "",
                f"effect {self.effect:+.2e} +- {self.effect_error:.1e}, below {self.bound:.2e} "
                "with 95 % confidence",
            ]
        )

    _repr_markdown_ = __str__


@dataclass(frozen=True, eq=False)
class PathVerdict:
    """The result of testing the clouds of a path against densities, time by time.

    Attributes:
        t: (T,) the path's times.
        verdicts: one per time.
        motion: the Dynkin test of the path, if its SDE was given.
    """

    t: Tensor
    verdicts: tuple[Verdict, ...]
    motion: Test | None = None

    @property
    def tests(self) -> tuple[Test, ...]:
        """The tests of all times, and the Dynkin test last."""
        flat = tuple(test for verdict in self.verdicts for test in verdict.tests)
        return flat if self.motion is None else (*flat, self.motion)

    @property
    def p_value(self) -> float:
        """The smallest p-value over tests and times, after Holm."""
        return min(holm([test.p_value for test in self.tests]))

    def passed(self, level: float = 1e-3) -> bool:
        """Whether no test rejects at any time; a perfect path is rejected in a share `level`."""
        return self.p_value > check_between(level, "level", 0.0, 1.0)

    def equivalent(self, within: float = 1e-2) -> bool:
        """Whether the chi-square divergence is shown to be below `within` at every time."""
        return all(verdict.equivalent(within) for verdict in self.verdicts)

    def _summary(self) -> str:
        return f"{format_p_value(self.p_value)} after Holm over {len(self.tests)} p-values"

    def __repr__(self) -> str:
        return f"verdict on a path at {len(self.verdicts)} times: {self._summary()}"

    def __str__(self) -> str:
        """A Markdown table with one row per time."""
        names = [test.name for test in self.verdicts[0].tests]
        rows = [
            (
                f"{float(t):.4g}",
                *(f"{test.p_value:.2g}" for test in v.tests),
                f"{v.distance:.4f}",
                f"{v.excess:+.1f}",
                f"{v.effect:+.1e}",
            )
            for t, v in zip(self.t, self.verdicts, strict=True)
        ]
        head = ("t", *names, "total variation", "excess (sd)", "effect")
        lines = [markdown_table(head, rows), ""]
        if self.motion is not None:
            lines += [f"{self.motion.name}: p = {self.motion.p_value:.2g}", ""]
        return "\n".join([*lines, self._summary()])

    _repr_markdown_ = __str__
