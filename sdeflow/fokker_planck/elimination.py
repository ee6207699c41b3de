r"""Solve the linear equations of a Markov chain to full relative precision, even for rare events.

A chain jumps from state j to state i at the rate N_ij >= 0, and disappears from j at the rate
lost_j >= 0. Its matrix is

    A = D - N,    D_j = lost_j + sum_i N_ij.

Gaussian elimination would subtract from D_j. `Elimination` adds up the remaining lost_j and N_ij
instead, so that nothing cancels: for a non-negative right side each entry of the solution is right
up to a few rounding errors, even where entries or eigenvalues differ by a factor of e^60.

The states are eliminated in the given order; a band of half-width b costs n b^2 additions.

Source: Grassmann, Taksar and Heyman 1985.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.lib.stride_tricks import as_strided
from scipy.linalg.lapack import dgbtrs
from scipy.sparse.csgraph import breadth_first_order, connected_components

from sdeflow._validation import SdeflowError

MOST_MEMORY = 8.0  # GiB
PANEL = 16  # states eliminated between two updates of all other states


class Elimination:
    """The factors L U of A = D - N for n states, made without subtractions.

    Args:
        rates: N (n, n), not negative; its diagonal is not read.
        lost: (n,), not negative.

    Raises:
        SdeflowError: the factors do not fit into the memory.
    """

    def __init__(self, rates: scipy.sparse.spmatrix, lost: np.ndarray) -> None:
        to, source, rate = _off_diagonal(rates)
        self.size, self.lost = rates.shape[0], np.array(lost, dtype=float)
        self.half = half = int(abs(to - source).max(initial=1))
        if (need := 24 * half * self.size / 2**30) > MOST_MEMORY:
            raise SdeflowError(
                f"the linear equations of {self.size} cells need {need:.0f} GiB of memory; use "
                "wider cells"
            )
        # LAPACK's storage of a band matrix: A_ij is at index i + 3 half j + 2 half.
        self.band = np.zeros((3 * half + 1) * self.size)
        step = self.band.itemsize
        self.from_to = as_strided(
            self.band[2 * half :], (self.size, self.size), (3 * half * step, step)
        )
        self.from_to[source, to] = rate
        self._eliminate()
        leaving = self.from_to.diagonal().copy()
        np.negative(self.band, out=self.band)
        np.fill_diagonal(self.from_to, leaving)

    def _eliminate(self) -> None:
        """Write -L and -U over N, and the rate of leaving each state on the diagonal."""
        q, lost, panel = self.from_to, self.lost, min(PANEL, self.half)
        for start in range(0, self.size, panel):
            stop = min(start + panel, self.size)
            for k in range(start, stop):
                after, last = k + 1, k + 1 + self.half
                out, into = q[k, after:last], q[after:last, k]
                q[k, k] = leaving = out.sum() + lost[k]
                if leaving == 0.0:  # the last state of a closed chain
                    continue
                out /= leaving
                lost[after:last] += into * (lost[k] / leaving)
                inner = stop - after
                q[after:stop, after:last] += into[:inner, None] * out
                q[stop:last, after:stop] += into[inner:, None] * out[:inner]
            end = stop + self.half
            q[stop:end, stop:end] += q[stop:end, start:stop] @ q[start:stop, stop:end]

    def solve(self, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
        """The solution x (n,) of A x = right, or of A^T x = right; right (n,) of any sign."""
        parts = np.stack([np.maximum(right, 0.0), np.maximum(-right, 0.0)], 1)
        factors = self.band.reshape(self.size, -1).T
        rows = np.arange(self.size)
        x, _ = dgbtrs(
            factors, self.half, self.half, np.asfortranarray(parts), rows, trans=int(transposed)
        )
        out: np.ndarray = x[:, 0] - x[:, 1]
        return out

    def log_null(self) -> np.ndarray:
        """ln x (n,) up to a constant for A x = 0, for a closed chain (lost = 0)."""
        q, y = self.from_to, np.zeros(self.size)
        with np.errstate(divide="ignore"):
            for k in range(self.size - 2, -1, -1):
                window = slice(k + 1, k + 1 + self.half)
                terms = np.log(-q[window, k]) + y[window]
                top = terms.max()
                y[k] = top + np.log(np.exp(terms - top).sum() / q[k, k])
        return y


def closed_classes(rates: scipy.sparse.spmatrix) -> list[np.ndarray]:
    """The closed communicating classes, sets of states that the chain never leaves, as masks."""
    to, source, _ = _off_diagonal(rates)
    graph = scipy.sparse.coo_matrix((np.ones(len(to)), (source, to)), rates.shape)
    count, label = connected_components(graph, connection="strong")
    is_left = np.zeros(count, dtype=bool)
    is_left[label[source[label[source] != label[to]]]] = True
    return [label == k for k in np.flatnonzero(~is_left)]


def in_a_narrow_band(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> np.ndarray:
    """The cells of a grid, line by line along the shorter axis.

    A ring is folded, 0, n - 1, 1, n - 2, ..., so that neighbours are at most two places apart.
    """
    cells = np.arange(np.prod(shape)).reshape(shape)
    for axis, n in enumerate(shape):
        if periodic[axis]:
            folded = np.stack([np.arange(n), n - 1 - np.arange(n)], 1).ravel()[:n]
            cells = np.take(cells, folded, axis)
    return (cells.T if cells.ndim == 2 and len(cells) < cells.shape[1] else cells).ravel()


def reaching(rates: scipy.sparse.spmatrix, target: np.ndarray) -> np.ndarray:
    """The states from which the chain can reach `target`, both as masks (n,)."""
    to, source, _ = _off_diagonal(rates)
    n = rates.shape[0]
    aim = np.flatnonzero(target)
    # One more state, n, leads backwards to all states of the target.
    rows, columns = np.append(to, np.full(len(aim), n)), np.append(source, aim)
    graph = scipy.sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), (n + 1, n + 1))
    found = np.zeros(n + 1, dtype=bool)
    found[breadth_first_order(graph, n, return_predecessors=False)] = True
    return found[:n]


def _off_diagonal(rates: scipy.sparse.spmatrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The state to which each rate leads, the state from which it leads, and the rate."""
    entries = rates.tocoo()
    off = (entries.row != entries.col) & (entries.data > 0)
    return entries.row[off].astype(np.int64), entries.col[off].astype(np.int64), entries.data[off]
