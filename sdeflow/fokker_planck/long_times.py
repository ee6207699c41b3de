r"""Compute the density of a Markov chain after a long time, by a rational Krylov method.

A Taylor series needs about as many products with L as the chain makes jumps. The space spanned by
the powers of R = (1 - (t / 10) L)^{-1}, applied to the masses m, needs some tens of dimensions,
because R damps fast motion:

    e^{t L} m = V e^{10 (1 - H^{-1})} V^T m,    H = V^T R V,

with V an orthonormal basis of the space. `Elimination` applies R without cancellation, so that
events which are rarer than rounding errors have the right rate.

Source: van den Eshof and Hochbruck 2006.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import expm_multiply

from sdeflow._validation import SdeflowError
from sdeflow.fokker_planck.elimination import Elimination

FEW, MANY = 1e3, 1e6  # jumps up to which a Taylor series is quicker, and is possible
PARTS = 10.0  # R is one implicit step over this part of the time
MOST, AT_ONCE = 150, 5  # dimensions of the space at most, and between two tests of convergence
PRECISION = 1e-11  # relative change that counts as converged
GONE = 1e-10  # eigenvalues of R below this belong to motion that has decayed
WORST_BASIS = 1e6  # condition number of the eigenvectors of H


def propagated(
    matrix: scipy.sparse.csc_matrix, mass: np.ndarray, time: float, lost: np.ndarray
) -> np.ndarray:
    """The masses e^{time L} m (n,), for L (n, n) in an order in which it is a band matrix.

    The columns of L add up to minus `lost` (n,).

    Raises:
        SdeflowError: the time is long and the motion is hardly damped.
    """
    jumps = time * float(abs(matrix.diagonal()).max())
    if jumps > FEW:
        later = _in_krylov_space(matrix, mass, time, lost)
        if later is not None:
            return later
        if jumps > MANY:
            raise SdeflowError(
                f"the chain makes {jumps:.1e} jumps and its motion is hardly damped, so that the "
                "density after this time cannot be computed; use a shorter time or wider cells"
            )
    out: np.ndarray = expm_multiply(matrix * time, mass)
    return out


def _in_krylov_space(
    matrix: scipy.sparse.csc_matrix, mass: np.ndarray, time: float, lost: np.ndarray
) -> np.ndarray | None:
    """e^{time L} m, or None where the space grows too large."""
    rate, size = PARTS / time, float(np.linalg.norm(mass))
    implicit = Elimination(matrix, rate + lost)
    basis, h = [mass / size], np.zeros((MOST + 1, MOST))
    before = mass
    for k in range(MOST):
        new, known = rate * implicit.solve(basis[k]), np.array(basis)
        for _ in range(2):  # twice, because of rounding
            part = known @ new
            h[: k + 1, k] += part
            new = new - part @ known
        h[k + 1, k] = np.linalg.norm(new)
        whole = h[k + 1, k] < 1e-14
        if whole or (k + 1) % AT_ONCE == 0:
            column = _first_column(h[: k + 1, : k + 1])
            if column is None:
                return None
            after: np.ndarray = size * column @ known
            if whole or abs(after - before).sum() < PRECISION * mass.sum():
                return after
            before = after
        basis.append(new / h[k + 1, k])
    return None


def _first_column(h: np.ndarray) -> np.ndarray | None:
    """The first column of e^{10 (1 - 1 / h)}, or None where rounding errors are too large."""
    values, vectors = np.linalg.eig(h)
    if np.linalg.cond(vectors) > WORST_BASIS:
        return None
    lasting = abs(values) > GONE
    factor = np.zeros_like(values)
    factor[lasting] = np.exp(PARTS * (1 - 1 / values[lasting]))
    first = np.linalg.solve(vectors, np.eye(len(h))[0])
    column: np.ndarray = (vectors * factor @ first).real
    return column
