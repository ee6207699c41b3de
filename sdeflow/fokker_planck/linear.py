r"""Laws that stay Gaussian: their transition kernel in closed form, one step for any span.

A law whose drift is affine along each axis and whose noise depends on time alone,

    dx_i = (a_i x_i + b_i) dt + g_i dW_i,

carries a point to a Gaussian, and every density to itself stretched, shifted and blurred:

    x -> N(grow x + shift, spread).

All noising is of this kind, and so is the reverse law of a single Gaussian. Such a law need not be
stepped: its three integrals over time are done by Gauss and Legendre's rule, in parts that are
halved until the series of a, b and g^2 end before the rule does.

Nobody has to say that a law is affine. `kernels` looks: on every second corner of the grid, at
every time that the integrals read, to rounding. A law that fails anywhere is stepped like any
other, so what is saved in time is never paid for in truth.

See docs/theory.md, section 2.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor

from sdeflow.density import Grid
from sdeflow.sdes.coefficients import checked_drift, checked_noise
from sdeflow.sdes.sde import SDE

PARTS = 300  # of a span, at most, that the integrals of an affine law are read in
NODES, WEIGHTS = legendre.leggauss(8)
SERIES = np.linalg.inv(legendre.legvander(NODES, 7))  # from values at the nodes
UP_TO = legendre.legval(NODES, legendre.legint(SERIES, lbnd=-1)).T  # integrals from -1 to a node


class TransitionKernel(NamedTuple):
    """x -> N(grow x + shift, spread), each (d,): how an affine law carries a particle."""

    grow: np.ndarray
    shift: np.ndarray
    spread: np.ndarray


def transition_kernels(law: SDE, grid: Grid, times: Tensor) -> list[list[TransitionKernel]] | None:
    r"""The transitions of dx_i = (a_i x_i + b_i) dt + g_i dW_i between neighbours of `times`.

    grow = e^A, A = int a;   shift = int e^{A - A(s)} b ds;   spread = int e^{2 (A - A(s))} g^2 ds.

    None where the law is not of this kind, to rounding, on every second corner of the grid at
    every time that the integrals read, or where it is rough in time. A transition comes in legs
    that shrink by no more than half each: what is shrunk below the cells is lost.
    """
    at = Grid(grid.low, grid.high, tuple(max(4, n // 2) for n in grid.shape)).corners()
    found = []
    for start, stop in pairwise(times.tolist()):
        legs = _legs(law, at, np.array(grid.width), start, stop)
        if legs is None:
            return None
        found.append(_merged_legs(legs))
    return found


def _merged_legs(legs: list[TransitionKernel]) -> list[TransitionKernel]:
    """As few as will do: kernels are a semigroup."""
    out = legs[:1]
    for after in legs[1:]:
        before = out[-1]
        grow = after.grow * before.grow
        if grow.min() < 0.5:
            out.append(after)
            continue
        shift = after.grow * before.shift + after.shift
        out[-1] = TransitionKernel(grow, shift, after.grow**2 * before.spread + after.spread)
    return out


def _legs(
    law: SDE, x: Tensor, unit: np.ndarray, start: float, stop: float
) -> list[TransitionKernel] | None:
    """Halves of halves, until one rule does for each; `unit` is the length errors are small in."""
    legs, todo = [], [(start, stop)]
    for _ in range(PARTS):
        start, stop = todo.pop()
        middle, half = (start + stop) / 2, (stop - start) / 2
        rows = []
        for t in (middle + half * NODES).tolist():
            row = _coefficients(law, x, t)
            if row is None:
                return None
            rows.append(row)
        kernel = _kernel(np.stack(rows, 1), half, unit)
        if kernel is None:
            todo += [(middle, stop), (start, middle)]
            continue
        legs.append(kernel)
        if not todo:
            return legs
    return None


def _kernel(rows: np.ndarray, half: float, unit: np.ndarray) -> TransitionKernel | None:
    """By the eight-point rule of Gauss and Legendre, if the series of a, b and g^2 end before it
    does and it shrinks by no more than half.
    """
    a, b, g2 = rows
    grow = np.exp(half * WEIGHTS @ a)
    size = abs(half * SERIES @ np.concatenate([a, b / unit, g2 / unit**2], 1))
    if grow.min() < 0.5 or (size[-2:] > 1e-5 * (1 + size.max(0))).any():
        return None
    fade = np.exp(half * (WEIGHTS @ a - UP_TO @ a))  # e^{A - A(s)}
    shift, spread = half * WEIGHTS @ (fade * b), abs(half) * WEIGHTS @ (fade**2 * g2)
    return TransitionKernel(grow, shift, spread)


def _coefficients(law: SDE, x: Tensor, t: float) -> np.ndarray | None:
    """a, b and g^2 at t, (3, d), of a law that has them at all of x; else None."""
    when = torch.tensor(t, dtype=torch.float64)
    f = checked_drift(law.drift(x, when), x, when)
    a = (f[-1] - f[0]) / (x[-1] - x[0])
    b = f[0] - a * x[0]
    if ((f - (a * x + b)).abs().amax(0) > 1e-12 * f.abs().amax(0)).any():
        return None
    g = torch.zeros(()) if law.diffusion is None else law.diffusion(x, when)
    g = checked_noise(g, x, when).double().expand(x.shape)
    if not (g == g[0]).all():
        return None
    return torch.stack([a, b, g[0] ** 2]).numpy()
