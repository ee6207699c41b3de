"""Elimination without subtractions, against rational arithmetic and against graphs by hand."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse

from sdeflow import SdeflowError
from sdeflow.fokker_planck.elimination import Elimination, closed_classes, reaching


def chain(n: int, half: int, decades: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rates in a band and rates of loss, spread evenly over that many decades."""
    rng = np.random.default_rng(seed)
    rates = np.triu(np.tril(10.0 ** rng.uniform(-decades, 0, (n, n)), half), -half)
    np.fill_diagonal(rates, 0.0)
    return rates, 10.0 ** rng.uniform(-decades, 0, n)


def exact_solution(rates, lost, right, *, transposed: bool) -> list[Fraction]:
    """A x = right or A^T x = right, A = D - N, by Gauss's elimination in rational numbers."""
    n = len(lost)
    a = [[Fraction(-v) for v in row] for row in (rates.T if transposed else rates)]
    for j in range(n):
        a[j][j] = Fraction(lost[j]) + sum(map(Fraction, rates[:, j]))
        a[j].append(Fraction(right[j]))
    for k in range(n):
        for i in range(n):
            if i != k and a[i][k]:
                factor = a[i][k] / a[k][k]
                a[i] = [u - factor * v for u, v in zip(a[i], a[k], strict=True)]
    return [a[i][n] / a[i][i] for i in range(n)]


def largest_error(ours: np.ndarray, exact: list[Fraction]) -> float:
    """Relative, over the entries."""
    return max(abs(float(Fraction(x) / y - 1)) for x, y in zip(ours, exact, strict=True))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("n", "half"), [(1, 1), (2, 1), (14, 1), (14, 3), (12, 11)])
def test_every_entry_of_a_solution_is_relatively_exact(n: int, half: int, transposed) -> None:
    """With rates over 40 decades and a right side that is not negative."""
    rates, lost = chain(n, half, 40.0, seed=n + half)
    right = np.random.default_rng(1).random(n)
    ours = Elimination(scipy.sparse.csc_matrix(rates), lost).solve(right, transposed=transposed)
    exact = exact_solution(rates, lost, right, transposed=transposed)
    assert largest_error(ours, exact) < 1e-13


@pytest.mark.parametrize("half", [1, 3, 13])
def test_every_entry_of_a_null_vector_is_relatively_exact(half: int) -> None:
    """The null vector that is 1 in the last state solves A x = (rates from it) in the others."""
    rates, _ = chain(14, half, 40.0, seed=half)
    ours = np.exp(Elimination(scipy.sparse.csc_matrix(rates), np.zeros(14)).log_null())
    exact = exact_solution(rates[:-1, :-1], rates[-1, :-1], rates[:-1, -1], transposed=False)
    assert largest_error(ours[:-1] / ours[-1], exact) < 1e-12


def test_right_side_of_any_sign_is_solved_for() -> None:
    rates, lost = chain(60, 7, 1.0)
    right = np.random.default_rng(2).standard_normal(60)
    a = np.diag(lost + rates.sum(0)) - rates
    found = Elimination(scipy.sparse.csc_matrix(rates), lost)
    assert np.allclose(found.solve(right), np.linalg.solve(a, right), rtol=1e-11)
    assert np.allclose(
        found.solve(right, transposed=True), np.linalg.solve(a.T, right), rtol=1e-11
    )


def test_classes_are_closed_and_states_reached_whatever_the_size_of_the_rates() -> None:
    """0 <-> 1 at 1e-300, 2 -> 0, 2 -> 3, 3 <-> 4; columns are sources."""
    rates = np.zeros((6, 6))
    for source, to in ((0, 1), (1, 0), (2, 0), (2, 3), (3, 4), (4, 3)):
        rates[to, source] = 1e-300
    sparse = scipy.sparse.csc_matrix(rates)
    found = sorted(np.flatnonzero(mask).tolist() for mask in closed_classes(sparse))
    assert found == [[0, 1], [3, 4], [5]]
    target = np.arange(6) == 1
    assert np.flatnonzero(reaching(sparse, target)).tolist() == [0, 1, 2]


def test_chains_too_large_for_the_memory_are_refused() -> None:
    n = 10**6
    wide = scipy.sparse.csc_matrix(([1.0], ([1000], [0])), (n, n))
    with pytest.raises(SdeflowError, match="1000000 cells need 22 GiB of memory; use wider"):
        Elimination(wide, np.zeros(n))
