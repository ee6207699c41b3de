r"""Test whether a path obeys its SDE, without knowing any density.

Along a path of dx = f dt + g dW, Ito's formula gives a martingale for every smooth function phi,

    M_t = phi(x_t) - phi(x_0) - int_0^t L phi(x_s) ds,
    L = f . grad + (1/2) sum_i g_i^2 d_i d_i.

`dynkin_test` tests two consequences: E M_T = 0 (Dynkin's formula), and E[M_T x_0] = 0, that is,
M_T is uncorrelated with the initial state. It detects errors of the integrator. The SDE and x_0
are taken as given, so it detects neither a wrong field nor a wrong start; `check_path` does.

See docs/theory.md, (9.3).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sdeflow._validation import check_cloud, check_kind, check_seed
from sdeflow.diagnostics.hypothesis import BLIND, FEWEST, Test, waves
from sdeflow.diagnostics.scale import widths
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.requirements import check_markov, check_no_matrix, check_no_walls
from sdeflow.sdes.sde import (
    SDE,
    check_drift,
    time_tensor,
)
from sdeflow.solvers.path import Path

LEAST_VARIANCE = 1e-3  # of the largest: combinations of smaller variance are left out
PAIRS = (
    400  # products of a column of M and one of x_0, beyond which random combinations are tested
)
LONG = 0.5  # width of the random frequencies, in 1 / (width of the cloud)


def dynkin_test(path: Path, sde: SDE, *, seed: int = 0) -> Test:
    r"""Test whether a path obeys its SDE; every step of the path must have been saved.

        M = phi(x_T) - phi(x_0) - sum_k (|dt_k| / 2) (L phi_k + L phi_{k+1}),
        E M = 0 and E[M x_0] = 0,    T^2 = n M_bar^T Cov(M)^{-1} M_bar ~ Hotelling,

    with L = +-f . grad + (1/2) sum_i g_i^2 d_i d_i in the direction of the run. E M = 0 is tested
    for ten waves phi, longer than the cloud is wide, and E[M x_0] = 0 for phi = x, of which random
    combinations are taken if they are more than a tenth of the particles. The bias of the
    solver and of the sum is of order dt^2: n dt^4 must be small for n particles.

    Args:
        path: at least 100 particles and 10 steps, in the direction of the SDE.
        sde: with noise.
        seed: of the waves.

    Raises:
        ValueError: the SDE has no noise or is not that of the path, or steps are missing.

    Source: Oksendal 2003, theorem 7.4.1.
    """
    if isinstance(sde, SDE):
        check_no_walls(sde, "the Dynkin test")
        check_no_matrix(sde, "the Dynkin test")
    t, x = _followed(path, sde)
    check_markov(sde, "the Dynkin test")
    w = _lengths(x, seed)
    m, sparse = _martingales(sde, x, t, w, seed)
    axes = _axes(m)
    if path.steps is None:
        _check_resolved(m, sparse, axes)
    n, k = len(m), axes.shape[1]
    value = n * float(((m.mean(0) @ axes) ** 2).sum())
    p = float(stats.f.sf(value * (n - k) / (k * (n - 1)), k, n - k))
    return Test("Dynkin", value, k, p, BLIND["Dynkin"])


def _martingales(
    sde: SDE, x: Tensor, t: Tensor, w: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """M of each particle, (n, k), and the same from every second state only."""
    integral = sparse = 0.0
    before = skipped = _generated(sde, x[0], t[0], w)
    for k in range(1, len(t)):
        after = _generated(sde, x[k], t[k], w)
        integral = integral + float(abs(t[k] - t[k - 1])) / 2 * (before + after)
        if k % 2 == 0:
            sparse = sparse + float(abs(t[k] - t[k - 2])) / 2 * (skipped + after)
            skipped = after
        elif k == len(t) - 1:
            sparse = sparse + float(abs(t[k] - t[k - 1])) / 2 * (before + after)
        before = after
    first, last = _numbers(x[0]), _numbers(x[-1])
    gained = np.concatenate([waves(last, w), last], 1) - np.concatenate(
        [waves(first, w), first], 1
    )
    width = widths(first)
    start = np.where(width > 0, first - first.mean(0), 0.0) / np.where(width > 0, width, 1.0)
    d = first.shape[1]
    # Without noise on a coordinate, its M is nothing but the error of the solver.
    noisy = _ito(sde, x[len(t) // 2], t[len(t) // 2])[1].any(0)

    pairs = _pairs(int(noisy.sum()), d, len(first), seed)

    def tested(m: np.ndarray) -> np.ndarray:
        mine = m[:, -d:][:, noisy]
        if pairs is None:
            against = (mine[:, :, None] * start[:, None, :]).reshape(len(m), -1)
        else:
            against = (mine @ pairs[0]) * (start @ pairs[1])
        return np.concatenate([m[:, :-d], against], 1)

    return tested(gained - integral), tested(gained - sparse)


def _pairs(r: int, d: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Random directions (r, k), (d, k) of M and of x_0, if n particles are too few for all r d.

    E[(u . M) (v . x_0)] is zero for all directions u and v.
    """
    most = max(10, min(PAIRS, n // 10))
    if r * d <= most:
        return None
    z = random_generator(seed, Stream.PROBE).standard_normal((r + d, most))
    return z[:r] / math.sqrt(r), z[r:] / math.sqrt(d)


def _followed(path: Path, sde: SDE) -> tuple[Tensor, Tensor]:
    """The times and states of a path, if the Dynkin test applies to it."""
    check_kind(path, Path, "path")
    check_kind(sde, SDE, "sde")
    if sde.diffusion is None:
        raise ValueError(
            "this SDE has no noise, which the Dynkin test needs; compare two solvers instead"
        )
    count, n, _ = path.x.shape
    if count < 11:
        raise ValueError(
            f"the Dynkin test needs every step of the path, and 11 states at least, got {count}; "
            "solve with save=steps + 1"
        )
    path.check_every_step("the Dynkin test")
    if n < FEWEST:
        raise ValueError(f"the Dynkin test needs {FEWEST} particles at least, got {n}; draw more")
    t = sde.check_times(path.t, "path.t")
    for x in (path.x[0], path.x[-1]):
        check_cloud(x, "path.x")
    try:
        _ito(sde, path.x[0], t[0])
    except RuntimeError as error:
        raise ValueError(
            f"the SDE fails at the states of the path, of dimension {path.x.shape[2]} ({error}); "
            "give the SDE of the path"
        ) from error
    return t, path.x


def _lengths(x: Tensor, seed: int) -> np.ndarray:
    """Ten wave vectors (d, 10), small against 1 / (width of the cloud) at the start or the end.

    Waves shorter than the cloud average to zero and weaken the test. Since a cloud may start at
    one point, its width after a tenth of the steps is taken if that is larger.
    """
    z = random_generator(check_seed(seed), Stream.PROBE).standard_normal((x.shape[2], 10))
    early = np.maximum(widths(_numbers(x[0])), widths(_numbers(x[len(x) // 10])))
    size = np.stack([early, widths(_numbers(x[-1]))], 1).repeat(5, 1)
    return LONG * z * np.where(size > 0, 1 / np.where(size > 0, size, 1.0), 0.0)


def _numbers(x: Tensor) -> np.ndarray:
    return x.detach().cpu().double().numpy()


def _generated(sde: SDE, x: Tensor, t: Tensor, w: np.ndarray) -> np.ndarray:
    """L phi (n, 20 + d) at one time: of the waves w (d, 10), then of x itself."""
    f, square = _ito(sde, x, t)
    y, f = _numbers(x), sde.direction * f
    wave = waves(y, w)
    cos, sin = wave[:, : w.shape[1]], wave[:, w.shape[1] :]
    push, spread = f @ w, square @ w**2 / 2
    return np.concatenate([-push * sin - spread * cos, push * cos - spread * sin, f], 1)


def _ito(sde: SDE, x: Tensor, t: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Ito's drift and the squared noise, (n, d) each; the drift is per unit of signed dt."""
    when = time_tensor(float(t), x)
    assert sde.diffusion is not None
    with torch.no_grad():
        f = sde.drift(x.clone(), when)  # a copy, in case the drift writes into its x
        check_drift(f, x)
        f, g = f.double(), sde.diffusion(x.clone(), when)
    try:
        g = torch.as_tensor(g).double().expand(x.shape)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            "the diffusion must return a tensor (), (d,) or (n, d), got "
            f"{tuple(g.shape) if isinstance(g, Tensor) else type(g).__name__}"
        ) from None
    if sde.calculus == "stratonovich":
        f = f + sde.direction * _correction(sde, x, when)
    return _numbers(f), _numbers(g**2)


def _correction(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """(1/2) g_i d_i g_i, (n, d): the drift correction of Stratonovich noise."""
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


def _axes(m: np.ndarray) -> np.ndarray:
    """Combinations (k, r) of the columns of m (n, k) with the sample covariance I.

    Combinations that hardly vary are left out: the solver's bias would dominate them.
    """
    spread = m.std(0, ddof=1)
    if not spread.any():
        raise ValueError(
            "the path does not move at random, which the Dynkin test needs; give its SDE noise"
        )
    scaled = m / np.where(spread > 0, spread, 1.0)
    variance, axes = np.linalg.eigh(np.cov(scaled.T))
    keep = variance > LEAST_VARIANCE * variance[-1]
    return axes[:, keep] / np.sqrt(variance[keep]) / np.where(spread > 0, spread, 1.0)[:, None]


def _check_resolved(m: np.ndarray, sparse: np.ndarray, axes: np.ndarray) -> None:
    """Check that the sum over the path's states is near the integral over its time.

    The error of the trapezoidal rule is a third of the difference to the sum over every second
    state. Its square shifts the statistic, whose standard deviation is sqrt(2 r).
    """
    shift = len(m) * float((((m - sparse).mean(0) @ axes / 3) ** 2).sum())
    if shift > math.sqrt(2 * axes.shape[1]):
        raise ValueError(
            "the states of the path are too far apart in time for the Dynkin test, which needs "
            "every step; solve with save=steps + 1, or with more steps"
        )
