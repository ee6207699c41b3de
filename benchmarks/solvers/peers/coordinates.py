"""Give a field in the coordinates and times of other packages.

A level is rho = sigma / alpha. The coordinate of Karras is y = x / alpha, that of flow matching
z = x / (alpha + sigma), with the time s = sigma / (alpha + sigma) from data (0) to noise (1).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdeflow.fields.field import Field
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.sde import SDE

NEAR = 1e-9
"""Relative rounding error by which a level may be outside the span."""


@dataclass(frozen=True)
class Levels:
    """A field on the levels of a time grid.

    Attributes:
        field: the field.
        times: (K + 1,) decreasing times.
    """

    field: Field
    times: Tensor

    @staticmethod
    def of(sde: SDE, times: Tensor) -> Levels:
        """The field of an SDE on the levels of times."""
        if not isinstance(sde, FieldSDE):
            raise TypeError("a peer needs the SDE of a field; give one such as sf.reverse(field)")
        return Levels(sde.field, sde.check_times(times))

    @cached_property
    def rho(self) -> Tensor:
        """The levels sigma / alpha, (K + 1,) decreasing."""
        return self.field.process.noise_level(self.times)

    @cached_property
    def s(self) -> Tensor:
        """The times of flow matching, sigma / (alpha + sigma), (K + 1,) decreasing."""
        return self.rho / (1 + self.rho)

    def time(self, rho: float) -> float:
        """The time of a level within the span."""
        if not self.rho[-1] * (1 - NEAR) <= rho <= self.rho[0] * (1 + NEAR):
            ends = ", ".join(f"{float(end):g}" for end in self.rho[[-1, 0]])
            raise ValueError(f"a solver asked at the level {rho:g}, outside of [{ends}]")
        return float(self.field.process.time_of(rho).clamp(self.times[-1], self.times[0]))

    def data(self, y: Tensor, rho: float) -> Tensor:
        """E[x_0 | y = x / alpha] at the level rho."""
        return y - float(rho) * self.noise(y, rho)

    def noise(self, y: Tensor, rho: float) -> Tensor:
        """E[eps | y = x / alpha] at the level rho."""
        t = self.time(float(rho))
        return self.field.noise(y * float(self.field.process(t).alpha), t)

    def velocity(self, z: Tensor, s: float) -> Tensor:
        """dz / ds = E[eps - x_0 | z] at z = x / (alpha + sigma)."""
        return (self.noise(z / (1 - s), s / (1 - s)) - z) / (1 - s)

    def scales(self, power: int = 0) -> tuple[float, float]:
        """The factors x / y at both ends, or x / z for power 1."""
        scale = self.field.process(self.times).alpha * (1 + self.rho) ** power
        return float(scale[0]), float(scale[-1])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random numbers of torch inside, and restore their state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
