r"""Compute the slowest relaxation rates of a Markov chain, to full relative precision.

The rates k are minus the eigenvalues of L next to 0. Arnoldi's method finds the largest
eigenvalues 1 / k of the deviation operator

    Z = int_0^inf (e^{t L} - e^{inf L}) dt,

which `Elimination` applies without cancellation. Rates much larger than the smallest are lost in
the rounding errors of Z. They are found from the largest eigenvalues 1 / (sigma + k) of
(sigma - L)^{-1}, with a shift sigma > 0 of about their size.

Source: Lehoucq, Sorensen and Yang 1998.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs

from sdeflow._validation import SdeflowError
from sdeflow.fokker_planck.elimination import Elimination

RESTARTS = 300  # of Arnoldi's method, at most
PRECISE = 1e6  # rates up to this many times the smallest one (or the shift) are precise

Operator = Callable[[np.ndarray], np.ndarray]


def slowest_rates(
    matrix: scipy.sparse.csc_matrix, stationary: np.ndarray, count: int
) -> np.ndarray:
    """The `count` smallest relaxation rates, complex (count,), sorted by real part.

    Args:
        matrix: L (n, n), in an order in which it is a band matrix.
        stationary: (n,), total 1.

    Raises:
        SdeflowError: Arnoldi's method does not converge.
    """
    rates = _eigenvalues(_deviation(matrix, stationary), len(stationary), count)
    # If some have not converged, all rates are known only up to the largest that has.
    limit = PRECISE * abs(rates[0]) if len(rates) == count else abs(rates[-1])
    found = rates[abs(rates) <= limit]
    while len(found) < count:
        beyond = abs(rates[abs(rates) > limit])
        sigma = min([*beyond, 1e4 * limit])
        if sigma > abs(matrix.diagonal()).max():
            raise SdeflowError(
                f"only {len(found)} of {count} relaxation rates were found; ask for fewer"
            )
        shifted = Elimination(matrix, np.full(len(stationary), sigma))
        rates = _eigenvalues(shifted.solve, len(stationary), count + 1) - sigma
        # Sizes between the old limit and 1e-4 sigma cannot occur.
        size = abs(rates)
        kept = (size > max(limit, 1e-4 * sigma)) & (size <= PRECISE * sigma)
        found = np.append(found, rates[kept])
        limit = PRECISE * sigma if len(rates) > count else max(limit, size[-1])
    found = found[np.argsort(abs(found), kind="stable")][:count]
    return found[np.lexsort((found.imag, found.real))]


def _deviation(matrix: scipy.sparse.csc_matrix, stationary: np.ndarray) -> Operator:
    """y -> Z y, by the times spent in each state on the way to the one of largest probability."""
    n, home = len(stationary), int(stationary.argmax())
    free = np.delete(np.arange(n), home)
    lost = matrix[[home]][:, free].toarray()[0]
    killed = Elimination(matrix[free][:, free], lost)

    def apply(y: np.ndarray) -> np.ndarray:
        y = y - stationary * y.sum()
        x = np.zeros(n)
        x[free] = killed.solve(y[free])
        out: np.ndarray = x - stationary * x.sum()
        if not np.isfinite(out).all():
            raise SdeflowError(
                "a relaxation time is larger than the largest float, as over barriers of 700 kT; "
                "take a lower barrier, or a grid around one well"
            )
        return out

    return apply


def _eigenvalues(inverse: Operator, n: int, count: int) -> np.ndarray:
    """1 / mu, sorted by size, for the `count` largest eigenvalues mu, or those that converge."""
    start = np.random.default_rng(0).standard_normal(n)
    operator = LinearOperator((n, n), lambda y: inverse(y.ravel()), dtype=float)
    try:
        mu = eigs(operator, count, v0=start, maxiter=RESTARTS, return_eigenvectors=False)
    except ArpackNoConvergence as stopped:
        mu = stopped.eigenvalues
    except ArpackError:
        mu = np.empty(0)
    if not len(mu):
        raise SdeflowError("no relaxation rate converged; use another grid, or ask for fewer")
    values: np.ndarray = 1 / mu
    return values[np.argsort(abs(values))]
