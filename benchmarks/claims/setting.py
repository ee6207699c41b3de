"""Use the lectures' spiral, noise levels, samplers and networks, and our networks beside them.

Each claim takes its constants from here. The lectures' time grows with the noise, sigma =
10^(3t - 2), from data (t = 0, sigma 0.01) to noise (t = 1, sigma 10); that is the default of `VE`.
N noise levels are N - 1 steps: the last step of the lectures' program goes from the last level to
itself. Samples keep the noise 0.01 of the last level.

The lectures' networks are trained as in the lectures, ours by `fit`.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from sdeflow import training
from sdeflow.distributions import datasets
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP, How
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import VE, Linear
from sdeflow.sdes.generative import ancestral
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

SPIRAL = datasets.spiral()
assert SPIRAL.distribution.points is not None
assert SPIRAL.distribution.labels is not None
POINTS, LABELS = SPIRAL.distribution.points, SPIRAL.distribution.labels
COVARIANCE = torch.cov(POINTS.T, correction=0)
CHECKERBOARD = datasets.checkerboard()
PERSON, DOG, CAT = range(3)
SURE = 4.0  # standard errors by which two numbers must differ to count as different
PARTICLES = 2130  # in each cloud of the lecture
WIDE = VE(sigma_min=0.01, sigma_max=10.0)
NARROW = VE(sigma_min=0.01, sigma_max=1.0)  # the lecture's levels where it shows paths
FLOW = Linear()
WHOLE = Linear(t_min=0.0, t_max=1 - 1e-9)  # the flow of the checkerboard, from end to end


def exact(process: Process = WIDE, data: Dataset = SPIRAL) -> ExactField:
    """The exact field of a finite set with its classes."""
    assert data.distribution.points is not None
    return ExactField(process, PointSet(data.distribution.points, data.distribution.labels))


def points(n: int, seed: int) -> Tensor:
    """Draws (n, 2) of the spiral's points in float64."""
    return SPIRAL.sample(n, seed, torch.float64)


def exact_on_checkerboard(process: Process = FLOW) -> ExactField:
    """The exact field of the continuous checkerboard."""
    assert CHECKERBOARD.distribution is not None
    return ExactField(process, CHECKERBOARD.distribution)


def chain(sde: SDE, n: int = PARTICLES, levels: int = 64, seed: int = 0, save: int = 1) -> Path:
    """Run an `ancestral` SDE from the prior over the lectures' levels."""
    field = sde.field  # type: ignore[attr-defined]
    x = field.process.prior(n, 2, seed)
    return SDESolver("euler", levels - 1, seed=seed).solve(sde, x, save)


def noiseless(field: Field, kept: float = 0.0) -> SDE:
    """DDPM without its noise, or with a part `kept` of it; 1 is DDPM."""
    process = field.process

    def variance(times: Tensor) -> Tensor:
        c = process(times)
        level = (c.sigma / c.alpha) ** 2
        return kept**2 * c.sigma[1:] ** 2 * (1 - level[1:] / level[:-1])

    return ancestral(field, variance=variance)


class LectureNetwork(nn.Module):
    """The lecture's network: (x, sin(ln sigma / 2), cos(ln sigma / 2), class) -> eps, GELU.

    Args:
        process: its noise schedule.
        sizes: of the layers, the first one without the class features.
        classes: with classes, an embedding of `classes` + 1 rows of four numbers, SiLU and a
            linear layer; the last row means "no class".
    """

    def __init__(self, process: Process, sizes: tuple[int, ...], classes: int = 0) -> None:
        super().__init__()
        self.process, self.classes = process, classes
        first, *rest = sizes
        layers: list[nn.Module] = []
        for a, b in pairwise((first + (4 if classes else 0), *rest)):
            layers += [nn.Linear(a, b), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.embedding = None
        if classes:
            self.embedding = nn.Sequential(
                nn.Embedding(classes + 1, 4), nn.SiLU(), nn.Linear(4, 4)
            )

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """x (n, 2), t () or (n,), label () or (n,) -> eps (n, 2)."""
        half = (torch.log(self.process(t).sigma) / 2).expand(len(x))
        features = [x, torch.sin(half)[:, None], torch.cos(half)[:, None]]
        if self.embedding is not None:
            none = torch.tensor(self.classes)
            features.append(self.embedding((none if label is None else label).expand(len(x))))
        out: Tensor = self.layers(torch.cat(features, 1))
        return out


def lecture_network(
    process: Process = WIDE, classes: int = 0, kind: type[LectureNetwork] = LectureNetwork
) -> LectureNetwork:
    """4-16-128-128-128-128-16-2, or with classes 8-16-128-256-128-16-2."""
    sizes = (4, 16, 128, 256, 128, 16, 2) if classes else (4, 16, 128, 128, 128, 128, 16, 2)
    return kind(process, sizes, classes)


def lecture_field(
    seed: int,
    process: Process = WIDE,
    steps: int = 15_000,
    levels: int = 64,
    classes: int = 0,
    kind: type[LectureNetwork] = LectureNetwork,
) -> LearnedField:
    """Train the lecture's network: AdamW at 1e-3, full batch, plain noise prediction.

    With classes a tenth of the labels is left out; the lecture then takes 30,000 steps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = lecture_network(process, classes, kind)
        adam = torch.optim.AdamW(network.parameters(), lr=1e-3)
        assert SPIRAL.distribution.points is not None
        assert SPIRAL.distribution.labels is not None
        points, labels = SPIRAL.distribution.points.float(), SPIRAL.distribution.labels
        t_of = torch.linspace(process.t_min, process.t_max, levels)
        sigma_of = process(t_of).sigma
        for _ in range(steps):
            i = torch.randint(levels, (len(points),))
            eps = torch.randn_like(points)
            label = None
            if classes:
                label = torch.where(torch.rand(len(points)) < 0.1, classes, labels)
            guess = network(points + sigma_of[i, None] * eps, t_of[i], label)
            adam.zero_grad()
            ((guess - eps) ** 2).mean().backward()
            adam.step()
    return LearnedField(process, network.eval())


def our_field(
    seed: int,
    process: Process = WIDE,
    steps: int = 2000,
    classes: bool = False,
    how: How = "add",
    drop: float = 0.1,
) -> LearnedField:
    """A network trained by `fit` on the spiral; labels enter by `how`, a share `drop` left out."""
    network = MLP(seed=seed, labels=3 if classes else 0, how=how)
    learned = LearnedField(process, network, data_std=SPIRAL.std)
    sample = SPIRAL.sample_labelled if classes else SPIRAL.sample
    training.fit(learned, sample, steps, seed, config=training.TrainingConfig(drop=drop))
    return learned


def checkerboard_field(seed: int, steps: int = 12_000) -> LearnedField:
    """A network trained by `fit` on the checkerboard, by flow matching."""
    learned = LearnedField(FLOW, MLP(seed=seed), data_std=CHECKERBOARD.std)
    training.fit(learned, CHECKERBOARD.sample, steps, seed)
    return learned


class CheckerboardNetwork(nn.Module):
    """The flow-matching lecture's network, `blocks` linear layers of `width` with ReLU.

        h = W x + U wave(t),    wave(t) = (sin(10^4 t w_j), cos(10^4 t w_j)),

    w_j log-uniform from 1 down to 1e-4. Its t runs from noise (0) to data (1).
    """

    frequencies: Tensor

    def __init__(self, width: int = 512, blocks: int = 5) -> None:
        super().__init__()
        half = width // 2
        falling = torch.arange(half) / (half - 1)
        self.register_buffer("frequencies", 1e4 ** (1 - falling))
        self.place, self.time = nn.Linear(2, width), nn.Linear(width, width)
        layers = [nn.Linear(width, width) for _ in range(blocks)]
        self.blocks = nn.Sequential(*(m for one in layers for m in (one, nn.ReLU())))
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x (n, 2), t () or (n,) in our time -> eps - x_0 (n, 2), our velocity."""
        phase = (1 - t).reshape(-1, 1) * self.frequencies
        wave = torch.cat([torch.sin(phase), torch.cos(phase)], 1)
        out: Tensor = self.out(self.blocks(self.place(x) + self.time(wave)))
        return -out


def checkerboard_lecture(seed: int, steps: int = 500_000) -> LearnedField:
    """Train the flow-matching lecture's network: AdamW at 1e-4, batches of 64.

    The data are 1000 draws of the checkerboard, taken with replacement; t is uniform on [0, 1].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CheckerboardNetwork()
        adam = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
        points = CHECKERBOARD.sample(1000, seed)
        for _ in range(steps):
            x1, x0 = points[torch.randint(len(points), (64,))], torch.randn(64, 2)
            t = torch.rand(64)  # our time, which is one minus the lecture's
            guess = network((1 - t)[:, None] * x1 + t[:, None] * x0, t)
            adam.zero_grad()
            ((guess - (x0 - x1)) ** 2).mean().backward()
            adam.step()
    return LearnedField(FLOW, network.eval(), Prediction.VELOCITY)
