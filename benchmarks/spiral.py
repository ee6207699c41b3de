"""Compare the lecture's training with ours on its spiral: excess loss, DDPM cloud, seconds.

The lecture: an MLP 4-16-128-128-128-128-16-2 on

    (x, y, sin(ln sigma / 2), cos(ln sigma / 2)),

noise prediction, sigma uniform over 64 levels from 0.01 to 10, AdamW at 1e-3, 15,000 steps of all
100 points (docs/sources.md, N5). Ours: `sf.fit` with its defaults, for a number of steps that
takes less time; and ours without the Fourier features ("waves"), without their damping, and
without the preconditioning. Each is measured with three seeds: excess loss at 64 noise levels;
2,130 particles by 64 DDPM steps.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise

import torch
from torch import Tensor, nn

import sdeflow as sf
from benchmarks import record

STEPS = 2000
PROCESS = sf.VE(sigma_min=0.01, sigma_max=10.0)


class Lecture(nn.Module):
    """The lecture's network, with the time t of the log-linear schedule, sigma = 10^(3t - 2)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (4, 16, 128, 128, 128, 128, 16, 2)
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (n, 2), t () or (n,) -> eps (n, 2)."""
        half = torch.log(PROCESS(t).sigma).expand(len(x)) / 2
        return self.layers(torch.cat([x, torch.sin(half)[:, None], torch.cos(half)[:, None]], 1))


def train_lecture(points: Tensor, seed: int, steps: int = 15_000) -> sf.LearnedField:
    """Train as the lecture does."""
    torch.manual_seed(seed)
    network = Lecture()
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3)
    sigmas = torch.logspace(-2, 1, 64)
    for _ in range(steps):
        i = torch.randint(64, (len(points),))
        eps = torch.randn_like(points)
        t = (torch.log10(sigmas[i]) + 2) / 3
        value = ((network(points + sigmas[i, None] * eps, t) - eps) ** 2).mean()
        adam.zero_grad()
        value.backward()
        adam.step()
    return sf.LearnedField(PROCESS, network.eval())


class Undamped(sf.MLP):
    """Our network with Fourier features of the same amplitude at every noise level."""

    def condition(self, c: Tensor, label: Tensor | None = None) -> tuple[Tensor, ...]:
        """The features without damping."""
        bias, damping, *memory = super().condition(c, label)
        return bias, torch.ones_like(damping), *memory


def train_ours(
    data: sf.datasets.Dataset, seed: int, steps: int = STEPS, without: str = ""
) -> sf.LearnedField:
    """Train by `fit`, with its defaults or without "waves", "damping" or "preconditioning"."""
    kind = Undamped if without == "damping" else sf.MLP
    network = kind(waves=0 if without == "waves" else 48, seed=seed)
    std = None if without == "preconditioning" else data.std
    field = sf.LearnedField(PROCESS, network, data_std=std)
    sf.fit(field, data.sample, steps, seed)
    return field


def judge(field: sf.fields.Field, data: sf.datasets.Dataset, seed: int) -> dict[str, object]:
    """The excess loss, and nearness and spread of a DDPM cloud of 2,130 particles in 64 steps."""
    truth = sf.ExactField(PROCESS, sf.distributions.PointSet(data.distribution.points))
    path = sf.SDESolver("euler", steps=64, seed=seed).solve(
        sf.ancestral(field), PROCESS.prior(2130, 2, seed), save=1
    )
    x = path.x[-1]
    nearest = torch.cdist(x.double(), data.distribution.points).argmin(1)
    return {
        "excess": float(sf.training.loss_decomposition(field, truth).excess.mean()),
        "within 0.05": float((data.distance(x) < 0.05).double().mean()),
        "median distance": float(data.distance(x).median()),
        "spread ratio": float(x.var(0, correction=0).sum().sqrt()) / (data.std * math.sqrt(2)),
        "covered": len(nearest.unique()),
    }


def main(quick: bool) -> None:
    """Print the table and append its rows."""
    torch.set_num_threads(1)
    data = sf.datasets.spiral()
    points = data.distribution.points.float()
    rows = []
    for seed in range(1 if quick else 3):
        for name, train in (
            ("lecture", lambda s: train_lecture(points, s)),
            ("ours", lambda s: train_ours(data, s)),
            ("ours, no waves", lambda s: train_ours(data, s, without="waves")),
            ("ours, no damping", lambda s: train_ours(data, s, without="damping")),
            ("ours, no preconditioning", lambda s: train_ours(data, s, without="preconditioning")),
        ):
            wall, cpu = time.perf_counter(), time.process_time()
            field = train(seed)
            spent = {
                "wall s": time.perf_counter() - wall,
                "cpu s": time.process_time() - cpu,
            }
            rows.append({"recipe": name, "seed": seed, **spent, **judge(field, data, seed)})
            print(rows[-1], flush=True)
    print(record.table(rows))
    record.append("spiral", rows)
