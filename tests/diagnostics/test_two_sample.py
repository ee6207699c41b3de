"""The two-sample test: uniform p-values for one distribution, small ones for two, and scipy."""

import numpy as np
import pytest
import torch
from scipy import stats

from sdeflow.diagnostics import holm, two_sample_test
from sdeflow.diagnostics.hypothesis import waves
from sdeflow.diagnostics.two_sample import _two_sample
from tests.problems import pair, rejected

F64 = torch.float64


def test_characteristic_statistic_equals_that_of_scipy() -> None:
    """Epps and Singleton's four functions through our quadratic form."""
    x, y = (pair().sample(n, seed=n)[:, 0].numpy() for n in (900, 1300))
    w = np.array([[0.4, 0.8]]) / (stats.iqr(np.concatenate([x, y])) / 2)
    ours = _two_sample("characteristic", waves(x[:, None], w), waves(y[:, None], w))
    theirs = stats.epps_singleton_2samp(x, y)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-7)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_p_values_of_one_distribution_are_uniform_and_of_two_are_small(d: int) -> None:
    """At unequal sizes; a tenth more width, or a shift by a tenth, is rejected."""
    p = []
    for k in range(150):
        rng = torch.Generator().manual_seed(k)
        z = torch.randn(1700, d, dtype=F64, generator=rng)
        p.append([t.p_value for t in two_sample_test(z[:1000], z[1000:], seed=k)])
    for column in np.array(p).T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        assert rejected(column) <= stats.binom.ppf(0.999, 150, 0.05) / 150
    z = torch.randn(20_000, d, dtype=F64, generator=torch.Generator().manual_seed(0))
    for other in (1.1 * z[10_000:], z[10_000:] + 0.1):
        assert min(holm([t.p_value for t in two_sample_test(z[:10_000], other)])) < 1e-4


def test_chi_square_of_two_clouds_equals_that_of_scipy() -> None:
    """Bins of the pooled cloud, counted anew: between its octiles in one dimension."""
    x, y = pair().sample(1000, seed=0)[:, 0], pair(0.3).sample(2000, seed=1)[:, 0]
    test = two_sample_test(x[:, None], y[:, None], bins=8)[0]
    edges = np.quantile(torch.cat([x, y]).numpy(), np.arange(1, 8) / 8)
    table = [np.bincount(np.searchsorted(edges, c.numpy()), minlength=8) for c in (x, y)]
    theirs = stats.chi2_contingency(table, correction=False)
    assert test.statistic == pytest.approx(theirs.statistic, rel=0.02)
    assert test.df == theirs.dof == 7


def test_p_values_with_equal_coordinates_are_uniform() -> None:
    """Rounded coordinates are equal: their order in rank must be random."""
    p = []
    for k in range(40):
        z = torch.randn(4000, 1, dtype=F64, generator=torch.Generator().manual_seed(k))
        z = z.round()
        p.append(two_sample_test(z[:2000], z[2000:], seed=k)[0].p_value)
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def statistics(x: torch.Tensor, y: torch.Tensor) -> list[float]:
    return [test.statistic for test in two_sample_test(x, y)]


def test_statistics_do_not_depend_on_units_types_outliers_or_the_order_of_rows() -> None:
    """Kelvin beside pascal, a constant column, one particle of 1e5, float32, rows in any order."""
    z = torch.randn(4000, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    x, y = z[:2000], 1.1 * z[2000:]
    plain = statistics(x, y)
    assert min(t.p_value for t in two_sample_test(x, y)) < 1e-4
    for unit in (1e-200, 1e-9, 1e200, torch.tensor([1e-3, 1e6], dtype=F64)):
        assert statistics(unit * x, unit * y) == pytest.approx(plain, rel=1e-9)
    kelvin = torch.tensor([300.0, 1e5], dtype=F64)
    scale = torch.tensor([1.0, 800.0], dtype=F64)
    far = statistics(kelvin + scale * x, kelvin + scale * y)
    assert far == pytest.approx(plain, rel=1e-6)
    assert statistics(x.float(), y.float()) == pytest.approx(plain, rel=1e-3)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    assert statistics(x[order], y) == pytest.approx(plain, rel=1e-9)
    flat = torch.full((2000, 1), 0.3, dtype=F64)
    wide = statistics(torch.cat([x, flat], 1), torch.cat([y, flat], 1))
    assert wide[1] == pytest.approx(plain[1], rel=1e-9)
    x = x.clone()
    x[5] = 1e5
    assert statistics(x, y)[1] == pytest.approx(plain[1], rel=0.1)


def test_clouds_that_are_points_are_told_apart() -> None:
    one = torch.ones(200, 2, dtype=F64)
    for other in (0 * one, torch.randn(200, 2, dtype=F64)):
        assert max(t.p_value for t in two_sample_test(one, other)) < 1e-20


# ----------------------------------------------------------------------------------- bad arguments

CLOUD = pair().sample(500, seed=0)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: two_sample_test(CLOUD, CLOUD.expand(-1, 2)),
            ValueError, "y must have dimension 1",
        ),
        (
            lambda: two_sample_test(torch.ones(200, 2), torch.ones(300, 2)),
            ValueError, "are at one point, so that no test is possible",
        ),
        (lambda: two_sample_test(CLOUD, CLOUD[:50]), ValueError, "at least 100 particles"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
