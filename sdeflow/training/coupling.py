r"""Couple data and noise: choose which eps of a batch is paired with which x_0.

    field = sf.LearnedField(process, network, data_std=s, pairs=sf.fields.Pairs.COUPLED)
    sf.fit(field, data.sample, steps=5000, coupling=sf.training.optimal_transport)
    flow = sf.reverse(field, eta=0.0)

A coupling is a function of a batch, (x0 (n, d), eps (n, d), seed) -> j (n,): x0[k] is paired with
eps[j[k]]. Without a coupling the pairs are independent. `optimal_transport` makes the paths of the
flow short and nearly straight. A field of coupled pairs has a flow and no score: see
docs/theory.md, (6.5).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sdeflow._validation import check_cloud, shown
from sdeflow.distributions.dataset import INTEGERS
from sdeflow.fields.field import Pairs
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import Stream, normals

Coupling = Callable[[Tensor, Tensor, int], Tensor]
"""(x0 (n, d), eps (n, d), seed) -> j (n,)."""


def optimal_transport(x0: Tensor, eps: Tensor, seed: int = 0) -> Tensor:
    """The permutation j (n,) with the least sum_k |x0[k] - eps[j[k]]|^2, for x0, eps (n, d).

    The time is O(n^3): 10 ms at n = 512.

    Args:
        x0, eps: data and noise, (n, d) each.
        seed: not used; it is for couplings that draw their pairs.

    Source: Pooladian et al. 2023; Tong et al. 2024.
    """
    check_cloud(x0, "x0")
    if check_cloud(eps, "eps", x0.shape[1]).shape != x0.shape:
        raise ValueError(f"eps must have {len(x0)} rows as x0 has, got {len(eps)}")
    a, b = (x.detach().cpu().double() for x in (x0, eps))
    cost = torch.cdist(a, b).square().numpy()
    return torch.from_numpy(linear_sum_assignment(_reduced(cost))[1]).to(x0.device)


def _reduced(cost: np.ndarray, sharpness: float = 20.0, rounds: int = 20) -> np.ndarray:
    """cost - u_i - v_j, which has the same optimal permutation and is solved 6 times faster.

    u and v come from a few rounds of Sinkhorn's iteration; any u and v keep the permutation.
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


def check_takes(function: object, name: str, arguments: str, cure: str) -> None:
    """Refuse a function that cannot be called with as many arguments as "(n, seed)" names."""
    try:
        inspect.signature(function).bind(*arguments.split(","))  # type: ignore[arg-type]
    except TypeError:
        what = type(function).__name__
        raise TypeError(
            f"{name} must take {arguments}, this {what} does not; pass {cure}"
        ) from None
    except ValueError:
        pass  # a function written in C may have no signature


def check_pairs(field: LearnedField, coupling: object, source: object) -> None:
    """Refuse a training whose pairs are not those of the field, which decide if it has a score."""
    found = Pairs.INDEPENDENT
    if coupling is not None:
        check_takes(coupling, "coupling", "(x0, eps, seed)", "optimal_transport")
        found = Pairs.COUPLED
    if source is not None:
        check_takes(source, "source", "(n, seed)", "the sample of another set")
        found = Pairs.SOURCED
    if field.pairs is not found:
        raise ValueError(
            f"this training has {found.value} pairs and the field {field.pairs.value} ones; make "
            f"the field by LearnedField(..., pairs=Pairs.{found.name}), or change coupling= and "
            "source="
        )


def check_source(eps: object, x0: Tensor) -> Tensor:
    """Return the points eps of a source, if they have the shape (n, d) of the data x0."""
    if not isinstance(eps, Tensor):
        raise TypeError(
            f"source must give points (n, d), got {shown(eps)}; pass a sampler without labels"
        )
    check_cloud(eps, "the source", x0.shape[1])
    if len(eps) != len(x0):
        raise ValueError(f"source must give {len(x0)} points as the data do, got {len(eps)}")
    return eps


def paired(coupling: Coupling, x0: Tensor, eps: Tensor, label: Tensor | None, seed: int) -> Tensor:
    """eps (n, d) in the order of its partners x0 (n, d); with labels (n,), within each class.

    If pairs crossed classes, each class would be trained on its own part of the noise, and to
    sample it from all of the noise would be wrong (Cheng and Schwing 2025).
    """
    if label is None or label.ndim == 0:
        return eps[_index(coupling(x0, eps, seed), len(x0))]
    out = torch.empty_like(eps)
    for one in label.unique():
        rows = (label == one).nonzero()[:, 0]
        out[rows] = eps[rows][_index(coupling(x0[rows], eps[rows], seed), len(rows))]
    return out


def _index(j: object, n: int) -> Tensor:
    """The rows j (n,) that a coupling gave, checked."""
    if not isinstance(j, Tensor) or j.dtype not in INTEGERS or j.shape != (n,):
        got = f"{j.dtype} {tuple(j.shape)}" if isinstance(j, Tensor) else shown(j)
        raise TypeError(f"coupling must give ({n},) whole numbers, rows of eps, got {got}")
    if not ((j >= 0) & (j < n)).all():
        raise ValueError(
            f"coupling must give rows 0 to {n - 1} of eps, got {int(j.min())} to {int(j.max())}"
        )
    return j.long()


def first_pairs(coupling: Coupling, d: int) -> list[int]:
    """The pairs that a coupling makes of eight fixed points, by which it is recognised."""
    x0, eps = (normals(seed, Stream.TRAINING, 8, d, torch.float32) for seed in range(2))
    return _index(coupling(x0, eps, 0), 8).tolist()
