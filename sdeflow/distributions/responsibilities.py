r"""Compute E[eps | x] of a Gaussian mixture at one noise level, as a softmax of a matrix product.

Component k of x = alpha x_0 + sigma eps is N(m_k, S_k), with m_k = alpha mu_k and
S_k = alpha^2 C_k + sigma^2 I. Then

    r = softmax_k(ln w_k - ln det S_k / 2 - (x - m_k)^T S_k^{-1} (x - m_k) / 2),
    E[eps | x] = sigma sum_k r_k S_k^{-1} (x - m_k).

The argument of the softmax is quadratic in x, and linear if all components are round and of equal
width. So two matrix products and a softmax are enough, with coefficients computed once. Products
are made in blocks of one shape (`_blocks`), so that a particle's bits do not depend on the cloud.
Expanding the square loses digits if a component is far from the centre in units of its width; then
the products are computed in float64.

See docs/theory.md, (3.5) and (3.6).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sdeflow._blocks import ROWS, Evaluate, product, whole_blocks

DIGITS = 1e3  # (distance / width)^2 above which float32 loses more than three of its seven digits
AXES = 6  # the most axes for which a quadratic form is written out as features
CHUNK = 2**19  # responsibilities held at once


def round_noise_mean(
    means: Tensor, log_weights: Tensor, s2: float, alpha: float, sigma: float, like: Tensor
) -> Evaluate:
    """The function x (n, d) -> E[eps | x] (n, d) for components N(alpha mu_k, s2 I).

    `means` (k, d) are mu_k and `log_weights` (k,) are ln w_k, in float64.
    """
    centre = means.mean(0)
    off = means - centre
    reach = off.norm(dim=1).max()
    kind = _kind(alpha**2 * float(reach * (reach + 2 * centre.norm())) / s2, like)
    # alpha x . centre / s2 is the same for all components, so the softmax does not depend on it.
    bias = log_weights - alpha**2 * (off**2 + 2 * off * centre).sum(1) / (2 * s2)
    pull = sigma / s2
    keys, bias, values = (
        v.to(like.device, kind) for v in (alpha / s2 * off.T, bias, -alpha * pull * means)
    )

    def evaluate(x: Tensor) -> Tensor:
        return product(torch.softmax(product(x, keys, bias), 1), values, add=x, scale=pull)

    return _chunked(evaluate, kind, len(means))


def noise_mean(
    means: Tensor,
    log_weights: Tensor,
    axes: Tensor,
    variances: Tensor,
    sigma: float,
    like: Tensor,
) -> Evaluate:
    """The function x (n, d) -> E[eps | x] (n, d) for components N(m_k, U_k diag(v_k) U_k^T).

    `means` (k, d) are m_k, `log_weights` (k,) ln w_k, `axes` (k, d, d) U_k and `variances` (k, d)
    v_k, all in float64.
    """
    d = means.shape[1]
    inverse = torch.einsum("kij,kj,klj->kil", axes, 1 / variances, axes)
    pull = torch.einsum("kij,kj->ki", inverse, means)
    bias = log_weights - (torch.log(variances).sum(1) + (pull * means).sum(1)) / 2
    # The softmax does not depend on a quadratic form that is the same for all components.
    square = -(inverse - inverse.mean(0)) / 2
    i, j = torch.triu_indices(d, d)
    twice = torch.where(i == j, 1.0, 2.0).to(means.device)
    keys = torch.cat([pull.T, (square[:, i, j] * twice).T])
    values = sigma * torch.cat([inverse.reshape(len(means), -1), -pull], 1)
    kind = _kind(float((means.norm(dim=1).max() ** 2) / variances.min()), like)
    keys, bias, values = (v.to(like.device, kind) for v in (keys, bias, values))
    i, j = i.to(like.device), j.to(like.device)

    def evaluate(x: Tensor) -> Tensor:
        features = torch.cat([x, x[:, i] * x[:, j]], 1)
        found = product(torch.softmax(product(features, keys, bias), 1), values)
        out = found[:, d * d :]
        for a in range(d):
            out = torch.addcmul(out, found[:, a * d : (a + 1) * d], x[:, a : a + 1])
        return out

    return _chunked(evaluate, kind, len(means))


def _kind(size: float, like: Tensor) -> torch.dtype:
    return torch.float64 if size > DIGITS or like.dtype == torch.float64 else torch.float32


def _chunked(evaluate: Callable[[Tensor], Tensor], kind: torch.dtype, parts: int) -> Evaluate:
    """The function `evaluate` on whole blocks of type `kind`, in chunks that fit the cache."""
    most = max(1, min(CHUNK // parts, 2**14) // ROWS) * ROWS

    def run(x: Tensor) -> Tensor:
        n, rows = len(x), whole_blocks(x.to(kind))
        if len(rows) <= most:
            out = evaluate(rows)
        else:
            out = torch.cat([evaluate(part) for part in rows.split(most)])
        return (out if len(out) == n else out[:n]).to(x.dtype)

    return run
