r"""Test whether a path obeys its SDE, without knowing any density.

Along a path of dx = f dt + g dW, Ito's formula makes a martingale of every smooth phi,

    M_t = phi(x_t) - phi(x_0) - int_0^t L phi(x_s) ds,
    L = f . grad + (1/2) sum_i g_i^2 d_i d_i.

`dynkin_test` tests two consequences: E M_T = 0 (Dynkin's formula), and E[M_T x_0] = 0, M_T is
uncorrelated with the initial state. It detects errors of the integrator. A wrong field or a wrong
start it cannot detect, since the SDE and x_0 are taken as given: `check_path` does.

See docs/theory.md, (9.3).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sdeflow._validation import check_cloud, check_int
from sdeflow.diagnostics.hypothesis import BLIND, FEWEST, Test, waves
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.path import Path

LEAST_VARIANCE = 1e-3  # of the largest: combinations that vary less are left out
LONG = 0.5  # frequencies of the waves, over 1 / (width of the cloud)


def dynkin_test(path: Path, sde: SDE, *, seed: int = 0) -> Test:
    r"""Test whether a path that was saved at every step obeys its SDE.

        M = phi(x_T) - phi(x_0) - sum_k (|dt_k| / 2) (L phi_k + L phi_{k+1}),
        E M = 0 and E[M x_0] = 0,    T^2 = n M_bar^T Cov(M)^{-1} M_bar ~ Hotelling,

    with L = +-f . grad + (1/2) sum_i g_i^2 d_i d_i in the direction of the run. E M = 0 is tested
    for ten waves phi that are longer than the cloud is wide, E[M x_0] = 0 for phi = x. Solver and
    sum have a bias of order dt^2, so that n particles need n dt^4 small.

    Args:
        path: at least 100 particles and 10 steps, in the direction of the SDE.
        sde: with noise.
        seed: of the waves.

    Raises:
        ValueError: the path or the SDE is another one.

    Source: Oksendal 2003, theorem 7.4.1.
    """
    t, x = _followed(path, sde)
    first, last = x[0].double().numpy(), x[-1].double().numpy()
    w = _lengths(first, last, seed)
    integral = 0.0
    before = _generated(sde, x[0], t[0], w)
    for k in range(1, len(t)):
        after = _generated(sde, x[k], t[k], w)
        integral = integral + float(abs(t[k] - t[k - 1])) / 2 * (before + after)
        before = after
    gained = np.concatenate([waves(last, w), last], 1) - np.concatenate(
        [waves(first, w), first], 1
    )
    m = gained - integral
    start = (first - first.mean(0)) / np.maximum(first.std(0), np.finfo(float).tiny)
    d = first.shape[1]
    # The M of a coordinate without noise is the solver's error alone, however small.
    noisy = _ito(sde, x[len(t) // 2], t[len(t) // 2])[1].any(0)
    against = (m[:, -d:, None][:, noisy] * start[:, None, :]).reshape(len(m), -1)
    return _hotelling("Dynkin", np.concatenate([m[:, :-d], against], 1))


def _followed(path: Path, sde: SDE) -> tuple[Tensor, Tensor]:
    """Times and states of a path that the Dynkin test can judge."""
    if not isinstance(path, Path):
        raise TypeError(f"path must be a Path, got {type(path).__name__}")
    if sde.diffusion is None:
        raise ValueError(
            "this SDE has no noise, so the Dynkin test has no scale; compare two solvers"
        )
    count, n, _ = path.x.shape
    if count < 11:
        raise ValueError(
            f"the Dynkin test needs every step of the path, this one has {count} states; solve "
            "with save=steps + 1"
        )
    if n < FEWEST:
        raise ValueError(f"the Dynkin test needs {FEWEST} particles at least, got {n}")
    t = sde.check_times(path.t, "path.t")
    for x in (path.x[0], path.x[-1]):
        check_cloud(x, "path.x")
    return t, path.x


def _lengths(first: np.ndarray, last: np.ndarray, seed: int) -> np.ndarray:
    """(d, 10) wave vectors: half of them small against 1 / (width) at the start, half at the end.

    Short waves average to zero at all times but the last, and weaken the test.
    """
    z = random_generator(check_int(seed, "seed", 0), Stream.PROBE).standard_normal(
        (first.shape[1], 10)
    )
    size = np.stack([first.std(0), last.std(0)], 1).repeat(5, 1)
    return LONG * z / np.maximum(size, np.finfo(float).tiny)


def _generated(sde: SDE, x: Tensor, t: Tensor, w: np.ndarray) -> np.ndarray:
    """L phi (n, 20 + d) at one time: of the waves w (d, 10), then of x itself."""
    f, square = _ito(sde, x, t)
    y = x.double().numpy()
    f = sde.direction * f
    wave = waves(y, w)
    cos, sin = wave[:, : w.shape[1]], wave[:, w.shape[1] :]
    push, spread = f @ w, square @ w**2 / 2
    return np.concatenate([-push * sin - spread * cos, push * cos - spread * sin, f], 1)


def _ito(sde: SDE, x: Tensor, t: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Ito's drift and the squared noise, (n, d) each; the drift is per unit of signed dt."""
    when = t.to(x)
    assert sde.diffusion is not None
    with torch.no_grad():
        f = sde.drift(x, when).double()
        g = torch.as_tensor(sde.diffusion(x, when)).double().expand(x.shape)
    if sde.calculus == "stratonovich":
        f = f + sde.direction * _correction(sde, x, when)
    return f.numpy(), (g**2).numpy()


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


def _hotelling(name: str, m: np.ndarray) -> Test:
    """Whether the mean of the rows m (n, k) is zero: n m_bar^T S^{-1} m_bar, as an F ratio.

    Combinations that hardly vary are left out: the solver's bias would dominate them.
    """
    spread = m.std(0, ddof=1)
    m = m / np.where(spread > 0, spread, 1.0)
    variance, axes = np.linalg.eigh(np.cov(m.T))
    keep = variance > LEAST_VARIANCE * variance[-1]
    n, k = len(m), int(keep.sum())
    value = float(n * ((m.mean(0) @ axes[:, keep]) ** 2 / variance[keep]).sum())
    p = float(stats.f.sf(value * (n - k) / (k * (n - 1)), k, n - k))
    return Test(name, value, k, p, BLIND[name])
