r"""The slowest relaxation rates of a Markov chain, to full relative precision.

They are minus the eigenvalues k of L next to 0. Arnoldi's method finds the largest eigenvalues
1 / k of the deviation operator

    Z = int_0^inf (e^{t L} - e^{inf L}) dt,

which `Elimination` applies without cancellation. Those far below the largest are lost in its
rounding errors: they are the largest ones of (sigma - L)^{-1}, 1 / (sigma + k), with a shift
sigma > 0 of about their size.

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
PRECISE = 1e6  # rates this many times as large as the smallest (or the shift) are kept

Operator = Callable[[np.ndarray], np.ndarray]


def slowest_rates(
    matrix: scipy.sparse.csc_matrix, stationary: np.ndarray, count: int
) -> np.ndarray:
    """The `count` smallest rates (count,), complex, sorted by real part.

    Args:
        matrix: L (n, n), in an order in which it is a band matrix.
        stationary: (n,), total 1.

    Raises:
        SdeflowError: Arnoldi's method does not converge.
    """
    seen = _eigenvalues(_deviation(matrix, stationary), len(stationary), count)
    # Where some have not converged, only what is below the largest that has is known.
    limit = PRECISE * abs(seen[0]) if len(seen) == count else abs(seen[-1])
    found = seen[abs(seen) <= limit]
    while len(found) < count:
        beyond = abs(seen[abs(seen) > limit])
        sigma = min([*beyond, 1e4 * limit])
        if sigma > abs(matrix.diagonal()).max():
            raise SdeflowError(
                f"{len(found)} relaxation rates of {count} were found; ask for fewer"
            )
        shifted = Elimination(matrix, np.full(len(stationary), sigma))
        seen = _eigenvalues(shifted.solve, len(stationary), count + 1) - sigma
        # Sizes between the old limit and 1e-4 sigma cannot occur.
        size = abs(seen)
        kept = (size > max(limit, 1e-4 * sigma)) & (size <= PRECISE * sigma)
        found = np.append(found, seen[kept])
        limit = PRECISE * sigma if len(seen) > count else max(limit, size[-1])
    found = found[np.argsort(abs(found), kind="stable")][:count]
    return found[np.lexsort((found.imag, found.real))]


def _deviation(matrix: scipy.sparse.csc_matrix, stationary: np.ndarray) -> Operator:
    """y -> Z y: the time spent in each state on the way to the fullest one, without its mean."""
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
                "a relaxation time is above the largest number of the computer, as over barriers "
                "of 700 kT; take a lower barrier, or a grid around one well"
            )
        return out

    return apply


def _eigenvalues(inverse: Operator, n: int, count: int) -> np.ndarray:
    """1 / mu for the `count` largest eigenvalues mu, or those that converge, by size."""
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
