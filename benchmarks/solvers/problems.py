"""Make the problems of the comparison: a field, its data, and the true end of its flow.

All data have standard deviation 1 and mean 0; noise levels run from 20 to 0.01, in float64.
Particles start from the exact noised distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import sdeflow as sf
from sdeflow.distributions.distribution import Distribution
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.sdes.multistep import Spread

F64 = torch.float64
PROCESS = sf.EDM(t_min=0.01, t_max=20.0)
FIELDS = Path(__file__).parents[1] / "results" / "fields"


@dataclass(frozen=True)
class Problem:
    """A field and its data.

    Attributes:
        name: the name of the problem.
        data: the distribution of x_0; starts are noised draws of it.
        field: the field whose flow is sampled.
        truth: the origin of the true end, in words.
        spread: the spread of the data, for samplers that need it.
        modes: centres of the modes of the data (M, d), if there are some.
    """

    name: str
    data: Distribution
    field: sf.fields.Field
    truth: str
    spread: Spread
    modes: Tensor | None = None

    def other_mode(self, x: Tensor, y: Tensor) -> Tensor:
        """Whether x and y are in different modes, or half a standard deviation apart, (n,)."""
        if self.modes is None:
            return (x - y).square().mean(1) > 0.25 * self.spread.std**2
        return torch.cdist(x, self.modes).argmin(1) != torch.cdist(y, self.modes).argmin(1)

    def start(self, n: int, seed: int) -> Tensor:
        """n exact draws (n, d) of x at t_max."""
        noise = PROCESS.prior(n, self.data.dim, seed, F64)
        return self.data.sample(n, 77_000 + seed).to(F64) + noise

    def end(self, x: Tensor, steps: int = 600) -> Tensor:
        """The end of the flow from x, by a method of order 4."""
        sde = sf.multistep(self.field, 0.0, 4, 4, self.spread)
        times = sf.processes.angle_times(PROCESS, steps, self.spread.widest, 2.0)
        return sf.ODESolver("euler", times=times).solve(sde, x).x[-1]


def unit(data: Distribution) -> Distribution:
    """The same distribution with mean 0 and standard deviation 1."""
    return data.moved(data.mean().to(F64), data.std())


def known(name: str, data: Distribution) -> Problem:
    """A problem with an exact field."""
    data = unit(data)
    spread = Spread(None, 1.0, data.widest(), data.narrowest())
    modes = data.means.to(F64) if isinstance(data, sf.GaussianMixture) else None
    return Problem(name, data, sf.ExactField(PROCESS, data), "exact field", spread, modes)


def learned(name: str, data: Distribution, steps: int, batch: int) -> Problem:
    """A problem whose field is a network, trained once and stored in a file."""
    data, file = unit(data), FIELDS / f"{name}.safetensors"
    if not file.is_file():
        FIELDS.mkdir(parents=True, exist_ok=True)
        network = sf.MLP(dim=data.dim, waves=48 if data.dim == 2 else 0, seed=0)
        field = sf.LearnedField(PROCESS, network, data_std=1.0)
        config = sf.training.TrainingConfig(batch=batch)
        sf.fit(field, lambda n, seed: data.sample(n, seed).float(), steps, config=config)
        sf.training.save(field, file)
    field = sf.training.load(file)
    field.network.double()
    return Problem(name, data, field, "network", Spread(None, 1.0, data.widest()))


def modes(means: Tensor, std: float) -> sf.GaussianMixture:
    """Isotropic Gaussians of equal weight."""
    return sf.GaussianMixture.isotropic(means.to(F64), std)


def circle(count: int, std: float) -> sf.GaussianMixture:
    """Modes on the unit circle."""
    angle = torch.arange(count, dtype=F64) * 2 * math.pi / count
    return modes(torch.stack([angle.cos(), angle.sin()], 1), std)


def random_modes(dim: int) -> sf.GaussianMixture:
    """Ten Gaussians of variance 0.05 with normally distributed means."""
    places = torch.randn(10, dim, generator=torch.Generator().manual_seed(0), dtype=F64)
    return modes(places, math.sqrt(0.05))


def squeezed() -> sf.GaussianMixture:
    """Three Gaussians about 20 times as long as wide."""
    means = torch.tensor([[-1.2, 0.0], [0.2, 0.12], [1.0, -0.1]], dtype=F64)
    variances = torch.tensor([[0.3, 0.001], [0.15, 0.002], [0.2, 0.0005]], dtype=F64)
    weights = torch.tensor([0.4, 0.35, 0.25], dtype=F64)
    return sf.GaussianMixture(weights, means, torch.diag_embed(variances))


def moons() -> sf.distributions.PointSet:
    """Two half circles, as 400 Gaussians of width 0.05."""
    u = (torch.arange(200, dtype=F64) + 0.5) / 200 * math.pi
    up = torch.stack([u.cos(), u.sin()], 1)
    points = torch.cat([up, torch.tensor([1.0, 0.5], dtype=F64) - up])
    return sf.distributions.PointSet(points, width=0.05)


def spiral() -> sf.distributions.PointSet:
    """The lecture's spiral, with Gaussians in place of its points."""
    data = unit(sf.datasets.spiral().distribution)
    assert isinstance(data, sf.distributions.PointSet)
    return sf.distributions.PointSet(data.points.to(F64), width=0.02)


def checkerboard() -> PiecewiseConstant:
    """Eight squares of equal density."""
    found = sf.datasets.checkerboard().distribution
    assert isinstance(found, PiecewiseConstant)
    return found


def digits() -> sf.distributions.PointSet:
    """The 8 x 8 digits of scikit-learn, in 64 dimensions."""
    images, _ = load_digits(return_X_y=True)
    return sf.distributions.PointSet(torch.tensor(images, dtype=F64))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "gaussian": lambda: known("gaussian", modes(torch.zeros(1, 2), 1.0)),
    "two modes": lambda: known("two modes", circle(2, 0.3)),
    "eight modes": lambda: known("eight modes", circle(8, 0.125)),
    "stiff": lambda: known("stiff", circle(8, 0.02)),
    "squeezed": lambda: known("squeezed", squeezed()),
    "checkerboard": lambda: known("checkerboard", checkerboard()),
    "moons": lambda: known("moons", moons()),
    "spiral": lambda: known("spiral", spiral()),
    "mixture, d 16": lambda: known("mixture, d 16", random_modes(16)),
    "mixture, d 64": lambda: known("mixture, d 64", random_modes(64)),
    "spiral, network": lambda: learned("spiral, network", spiral(), 4000, 512),
    "digits, network": lambda: learned("digits, network", digits(), 3000, 256),
}


@cache
def problem(name: str) -> Problem:
    """The problem of this name, made once."""
    return PROBLEMS[name]()
