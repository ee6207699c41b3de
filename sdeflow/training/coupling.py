r"""Pair data with noise: which x_0 of a batch goes with which eps.

A coupling is a function of a batch, (x0 (n, d), eps (n, d), seed) -> j (n,): x0[k] goes with
eps[j[k]]. Without one the pairs are independent. `optimal_transport` makes the paths of the flow
short and nearly straight. Coupled pairs have a velocity but no score, see docs/theory.md, (6.6).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sdeflow._validation import check_cloud

Coupling = Callable[[Tensor, Tensor, int], Tensor]


def optimal_transport(x0: Tensor, eps: Tensor, seed: int = 0) -> Tensor:
    """The permutation j (n,) with the least sum_k |x0[k] - eps[j[k]]|^2; x0, eps (n, d).

    The time is O(n^3): 10 ms at n = 512.

    Args:
        seed: not used; a coupling that draws its pairs needs one.

    Raises:
        TypeError, ValueError: x0 or eps is no finite cloud, or their shapes differ.

    Source: Pooladian et al. 2023, section 3.2; Tong et al. 2023, section 3.3.
    """
    check_cloud(x0, "x0")
    if check_cloud(eps, "eps", x0.shape[1]).shape != x0.shape:
        raise ValueError(f"eps must have {len(x0)} rows as x0 has, got {len(eps)}")
    a, b = (x.detach().cpu().double() for x in (x0, eps))
    cost = torch.cdist(a, b).square().numpy()
    return torch.from_numpy(linear_sum_assignment(_reduced(cost))[1]).to(x0.device)


def _reduced(cost: np.ndarray, sharpness: float = 20.0, rounds: int = 20) -> np.ndarray:
    """cost - u_i - v_j, which has the same optimal permutation and is solved 6 times faster.

    u and v are the potentials of a few rounds of Sinkhorn's iteration; any would be right.
    """
    cost = cost - cost.min(1, keepdims=True)
    scale = max(cost.mean(), np.finfo(float).tiny) / sharpness
    kernel, tiny = np.exp((cost / -scale).astype(np.float32)), np.float32(1e-30)
    row = np.ones(len(cost), np.float32)
    column = row
    for _ in range(rounds):
        column = 1 / (row @ kernel + tiny)
        row = 1 / (kernel @ column + tiny)
    u, v = (scale * np.log(w.astype(np.float64)) for w in (row, column))
    return cost - (u[:, None] + v)
