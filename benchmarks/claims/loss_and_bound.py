"""Compare the evidence bound and the squared error of the noise as losses of a network (R6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.claims.measures import gradient
from benchmarks.claims.smooth_spiral import PRESERVING, ROUND
from sdeflow.analysis.elbo import KernelVariance, elbo
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.processes.process import Process
from sdeflow.random_streams import Stream, random_generator

Weights = Callable[[Process, KernelVariance], Tensor]


def unweighted(process: Process, variance: KernelVariance) -> Tensor:
    """The weights of DDPM's simple loss: every noise level has the same."""
    return torch.full_like(variance.value, 0.5)


def squares(field: Field, x0: Tensor, times: Tensor, seed: int) -> Tensor:
    """The mean of |eps_hat - eps|^2 over the points, with `elbo`'s own noise, (K + 1,)."""
    out = []
    for k, t in enumerate(times):
        z = random_generator(seed, Stream.PROBE, k).standard_normal(tuple(x0.shape))
        eps = torch.from_numpy(z)
        out.append(((field.noise(field.process.perturb(x0, t, eps), t) - eps) ** 2).sum(1).mean())
    return torch.stack(out)


class Comparison(NamedTuple):
    """The evidence bound and the error of the noise, as losses of one network.

    off: relative difference between the gradients of weighted error and bound.
    cosine: cosine between the gradients of plain error and bound.
    constant: the bound minus the weighted error.
    """

    off: float
    cosine: float
    constant: float


def compare(v: KernelVariance, weights: Weights, seed: int, offset: int) -> Comparison:
    """Compare the losses of an untrained network of seed + offset."""
    field = LearnedField(PRESERVING, MLP(seed=seed + offset).double())
    x0 = ROUND.sample(50, seed)
    loss = -elbo(field, x0, v.times, v, seed).total.mean()
    each = squares(field, x0, v.times, seed)
    error = (weights(PRESERVING, v) * each).sum()
    bound, weighted, plain = (
        gradient(field.network, value) for value in (loss, error, each.mean())
    )
    return Comparison(
        float((bound - weighted).norm() / bound.norm()),
        float(torch.cosine_similarity(bound, plain, dim=0)),
        float((loss - error).detach()),
    )
