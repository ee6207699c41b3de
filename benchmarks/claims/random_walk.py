"""Train the lecture's network on its random walk, to predict some of the steps or all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.setting import POINTS, SPIRAL, lecture_network
from sdeflow.fields.learned import LearnedField
from sdeflow.processes.schedules import EDM
from sdeflow.random_streams import Stream, random_generator

STEP, STEPS = 0.07, 100  # size and number of the walk's steps
WALK = EDM(t_min=STEP, t_max=STEP * math.sqrt(STEPS))  # sigma after 1 and after 100 steps


def normal(n: int, seed: int, which: int = 0) -> Tensor:
    """Standard normals (n, 2) in float64."""
    return torch.from_numpy(random_generator(seed, Stream.PROBE, which).standard_normal((n, 2)))


def lattice(half: float, side: int = 30) -> Tensor:
    """A lattice of side^2 points on [-half, half]^2, at which arrows are compared."""
    axis = torch.linspace(-half, half, side, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


def walk_field(seed: int, last: int, updates: int = 500) -> LearnedField:
    """The lecture's network, trained to predict the mean of the last `last` steps of the walk.

    Each target is sqrt(n) / step times a mean of steps, so each has the mean E[eps | x_n].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, points = lecture_network(WALK), POINTS.float()
        adam = torch.optim.AdamW(network.parameters(), lr=1e-3)
        for _ in range(updates):
            n = torch.randint(1, STEPS + 1, (len(points),))
            k = n.clamp_max(last)
            recent, before = torch.randn(2, len(points), 2)
            noise = k.sqrt()[:, None] * recent + (n - k).sqrt()[:, None] * before
            x = points + STEP * noise
            off = network(x, STEP * n.sqrt()) - (n / k).sqrt()[:, None] * recent
            adam.zero_grad()
            (off**2).mean().backward()
            adam.step()
    return LearnedField(WALK, network.eval())


def one_step(seed: int) -> LearnedField:
    """A network taught to undo the last step."""
    return walk_field(seed, 1)


def all_steps(seed: int) -> LearnedField:
    """A network taught to undo the whole walk."""
    return walk_field(seed, STEPS)


def walked(steps: Tensor, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Walk from the data: the end x (n, 2), the last step and the sum of all steps."""
    last = float(steps[-1]) * normal(n, seed)
    total = last + float(steps[:-1].norm()) * normal(n, seed, 1)
    return SPIRAL.sample(n, seed, torch.float64) + total, last, total
