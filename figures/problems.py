"""Data sets in two dimensions, with their exact fields, for which figures can be drawn.

python -m figures density_strip --problem moons
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch

import sdeflow as sf
from sdeflow.distributions.distribution import Distribution

F64 = torch.float64
HALF = 5.0


@dataclass(frozen=True)
class Problem:
    """Data of mean 0 and standard deviation 1 in two dimensions.

    Attributes:
        name: the name of the data.
        data: their distribution.
    """

    name: str
    data: Distribution

    @cached_property
    def process(self) -> sf.processes.Process:
        """The variance-preserving process."""
        return sf.VP()

    @cached_property
    def field(self) -> sf.ExactField:
        """The exact field of the data under this process."""
        return sf.ExactField(self.process, self.data)

    def resolved(self) -> sf.ExactField:
        """The exact field of a process that ends at noise level 0.05, which a grid can resolve."""
        end = self.process.time_of(torch.tensor(0.05, dtype=F64))
        return sf.ExactField(replace(self.process, t_min=float(end)), self.data)

    def grid(self, cells: int) -> sf.Grid:
        """A square grid for the density at all times, finer for data of narrow parts."""
        width = self.data.narrowest()
        fine = 2 * round(HALF / (0.8 * width)) if width else 0
        return sf.Grid(-HALF, HALF, 2 * (max(cells, fine),))

    def learned(
        self, steps: int, process: sf.processes.Process | None = None, seed: int = 0
    ) -> sf.LearnedField:
        """Train a small network for a short time: a field with visible errors."""
        network = sf.MLP(width=64, depth=3, seed=seed)
        field = sf.LearnedField(process or self.process, network, data_std=1.0)
        config = sf.training.TrainingConfig(batch=256)
        sf.fit(field, lambda n, s: self.data.sample(n, s).float(), steps, seed, config=config)
        return field


def _unit(data: Distribution) -> Distribution:
    return data.moved(data.mean().to(F64), data.std())


def _smooth(found: Distribution, width: float) -> Distribution:
    """Points of which each is a Gaussian of this width (data std)."""
    found = _unit(found)
    assert isinstance(found, sf.distributions.PointSet)
    return sf.distributions.PointSet(found.points.to(F64), found.labels, width)


def _moons() -> sf.distributions.PointSet:
    """Two half circles of 60 points each; the exact field of curves has no closed form."""
    arcs = sf.datasets.two_moons().curve
    u = [arc.low + (arc.high - arc.low) * (torch.arange(60) + 0.5) / 60 for arc in arcs]
    points = torch.cat([arc.place(at.to(F64)) for arc, at in zip(arcs, u, strict=True)])
    return sf.distributions.PointSet(points, torch.arange(120) // 60)


PROBLEMS: dict[str, Callable[[], Distribution]] = {
    "ring": lambda: _unit(sf.datasets.ring().distribution),
    "spiral": lambda: _smooth(sf.datasets.spiral().distribution, 0.05),
    "checkerboard": lambda: _unit(sf.datasets.checkerboard().distribution),
    "moons": lambda: _smooth(_moons(), 0.08),
}


def problem(name: str) -> Problem:
    """The problem of this name."""
    return Problem(name, PROBLEMS[name]())
