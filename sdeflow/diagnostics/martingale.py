r"""The weak residual of a path: does it obey its own law of motion? No density is needed.

Along a path of dx = f dt + g dW, for every smooth phi, Ito's formula leaves a martingale,

    M_t = phi(x_t) - phi(x_0) - int_0^t L phi(x_s) ds,
    L = f . grad + (1/2) sum_i g_i^2 d_i d_i,

and a law of motion is known by that: a process for which all these are martingales is a solution
of the SDE (Stroock and Varadhan's martingale problem). Two of its consequences are tested,
E M_T = 0, which is Dynkin's formula, and E[M_T x_0] = 0: what is gained knows nothing of where it
began.

phi runs over waves longer than the cloud is wide, at both of its ends: there L phi is smooth in
time, and the trapezoidal sum over the saved steps is as good as the integral. For phi = x, M is
the noise itself, int g dW.

The test judges the integrator against the law that it was given, right or wrong. It says nothing
of a wrong field or a wrong start, for these are in the law and in x_0: for them see `check`.

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

STILL = 1e-3  # of the largest variance: less is no fluctuation
LONG = 0.5  # waves of the Dynkin test, over the cloud's own


def dynkin_test(path: Path, sde: SDE, *, seed: int = 0) -> Test:
    r"""Judge whether a path that was saved at every step obeys its own law of motion.

        M = phi(x_T) - phi(x_0) - sum_k (|dt_k| / 2) (L phi_k + L phi_{k+1}),
        E M = 0 and E[M x_0] = 0,    T^2 = n M_bar^T Cov(M)^{-1} M_bar ~ Hotelling,

    L = +-f . grad + (1/2) sum_i g_i^2 d_i d_i in the order of the run (Dynkin's formula), phi: ten
    waves longer than the cloud is wide at its two ends; for x itself the correlation with x_0 is
    tested. Solver and sum have a bias of the order of dt^2: a path of n needs n dt^4 small.

    It is blind to a wrong field and a wrong start, for it takes drift and noise as they are given,
    and to what happens within one step only.

    Raises:
        TypeError, ValueError: no path of at least 100 particles and 10 steps in this law's
            direction.

    Source: Oksendal 2003, theorem 7.4.1.
    """
    t, x = _followed(path, sde)
    first, last = x[0].double().numpy(), x[-1].double().numpy()
    w = _lengths(first, last, seed)
    mass_drift = 0.0
    before = _generated(sde, x[0], t[0], w)
    for k in range(1, len(t)):
        after = _generated(sde, x[k], t[k], w)
        mass_drift = mass_drift + float(abs(t[k] - t[k - 1])) / 2 * (before + after)
        before = after
    gained = np.concatenate([waves(last, w), last], 1) - np.concatenate(
        [waves(first, w), first], 1
    )
    m = gained - mass_drift
    start = (first - first.mean(0)) / np.maximum(first.std(0), np.finfo(float).tiny)
    d = first.shape[1]
    # Without noise of its own a coordinate's M is the solver's error alone, however small.
    noisy = _ito(sde, x[len(t) // 2], t[len(t) // 2])[1].any(0)
    against = (m[:, -d:, None][:, noisy] * start[:, None, :]).reshape(len(m), -1)
    return _hotelling("Dynkin", np.concatenate([m[:, :-d], against], 1))


def _followed(path: Path, sde: SDE) -> tuple[Tensor, Tensor]:
    """Times and states of a path that the Dynkin test can judge."""
    if not isinstance(path, Path):
        raise TypeError(f"path must be a Path, got {type(path).__name__}")
    if sde.diffusion is None:
        raise ValueError("this law has no noise, so the Dynkin test has no scale; compare solvers")
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
    """(d, 10) wave vectors: half of them long beside the cloud at its start, half at its end.

    Short waves have died away at all times but the last, and dilute the test.
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
    if sde.t_end < sde.t_start:
        f = -f
    wave = waves(y, w)
    cos, sin = wave[:, : w.shape[1]], wave[:, w.shape[1] :]
    push, spread = f @ w, square @ w**2 / 2
    return np.concatenate([-push * sin - spread * cos, push * cos - spread * sin, f], 1)


def _ito(sde: SDE, x: Tensor, t: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Ito's drift and the squared noise, (n, d) each; dt in the drift is the law's own, signed."""
    when = t.to(x)
    assert sde.diffusion is not None
    with torch.no_grad():
        f = sde.drift(x, when).double()
        g = torch.as_tensor(sde.diffusion(x, when)).double().expand(x.shape)
    if sde.calculus == "stratonovich":
        f = f + (sde.direction) * _correction(sde, x, when)
    return f.numpy(), (g**2).numpy()


def _correction(sde: SDE, x: Tensor, t: Tensor) -> Tensor:
    """(1/2) g_i d_i g_i, (n, d): what Stratonovich's noise adds to the drift."""
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

    Combinations that hardly vary are left out: they would be judged by the solver's tiny bias.
    """
    spread = m.std(0, ddof=1)
    m = m / np.where(spread > 0, spread, 1.0)
    variance, axes = np.linalg.eigh(np.cov(m.T))
    keep = variance > STILL * variance[-1]
    n, k = len(m), int(keep.sum())
    value = float(n * ((m.mean(0) @ axes[:, keep]) ** 2 / variance[keep]).sum())
    p = float(stats.f.sf(value * (n - k) / (k * (n - 1)), k, n - k))
    return Test(name, value, k, p, BLIND[name])
