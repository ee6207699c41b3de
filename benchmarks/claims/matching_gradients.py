"""Compare the gradients of conditional flow matching and of flow matching (M5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.claims.claim import Lab
from benchmarks.claims.flow_matching import normals_of
from benchmarks.claims.setting import CHECKERBOARD, FLOW
from sdeflow import training
from sdeflow.fields.exact import ExactField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.random_streams import KeyedNormals, Stream, normals, random_generator
from sdeflow.training.loss import uniform_time


def both_objectives(
    lab: Lab, marginal: ExactField, batches: int, size: int = 256
) -> tuple[Tensor, Tensor]:
    """Both losses of two networks on the same draws.

    Returns:
        Their difference for each draw and network, (batches * size, 2), and their slopes along
        ten directions, (2 networks, batches, 2 losses, 10).
    """
    n = batches * size
    data, noise = CHECKERBOARD.sample(n, lab.seed, torch.float64), normals_of(lab, n)
    u = torch.from_numpy(random_generator(lab.seed, Stream.TRAINING).random(n))
    t = uniform_time(FLOW, u)
    x = FLOW.perturb(data, t, noise)
    truth = marginal.velocity(x, t)
    apart, slopes = torch.zeros(n, 2, dtype=torch.float64), []
    for k in range(2):
        field = LearnedField(FLOW, _random_network(lab.seed + k), Prediction.VELOCITY)
        weights = list(field.network.parameters())
        for rows in torch.arange(n).split(size):
            conditional = training.loss(field, data[rows], t[rows], noise[rows])
            regressed = ((field.velocity(x[rows], t[rows]) - truth[rows]) ** 2).mean(1)
            apart[rows, k] = (conditional - regressed).detach()
            slopes += [_slopes(conditional.mean(), weights), _slopes(regressed.mean(), weights)]
    return apart, torch.stack(slopes).reshape(2, batches, 2, -1)


def _random_network(seed: int) -> MLP:
    """A small network with a random last layer; that of a fresh `MLP` is zero."""
    network = MLP(width=32, depth=2, waves=8, seed=seed)
    weight = KeyedNormals(seed, Stream.WEIGHTS, 2, 32, torch.float32).draw(1)
    with torch.no_grad():
        network.last.weight.copy_(weight)
    return network


def _slopes(value: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The slopes (10,) along ten random directions of all weights."""
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, weights)]).double()
    directions = normals(0, Stream.CHOICE, len(gradient), 10, torch.float64)
    return gradient @ directions / math.sqrt(len(gradient))
