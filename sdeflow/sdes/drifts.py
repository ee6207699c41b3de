r"""Write the drifts and diffusions of classical physics as functions (x, t) of a cloud.

They are frozen dataclasses and not closures, so that an SDE can be copied and sent to another
process of the computer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sdeflow._blocks import product, whole_blocks
from sdeflow.sdes.potentials import Force


@dataclass(frozen=True)
class NoDrift:
    """The drift 0."""

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class ConstantNoise:
    """The diffusion (), one constant for all axes."""

    size: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return x.new_full((), self.size)


@dataclass(frozen=True)
class Multiple:
    """The drift, or the diffusion, factor x."""

    factor: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.factor * x


@dataclass(frozen=True)
class ThermalNoise:
    """sqrt(2 mobility temperature(t)), ().

    Raises (when called):
        ValueError: the temperature is not a number, negative or not finite.
    """

    temperature: Callable[[Tensor], Tensor | float]
    mobility: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        try:
            now = float(self.temperature(t))
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                "temperature must return one number at the time t, (); for a temperature that "
                "depends on the place make an SDE"
            ) from error
        if not 0 <= now < float("inf"):
            raise ValueError(
                f"temperature must be finite and not negative, got {now:g} at t = {float(t):.6g}"
            )
        return x.new_tensor((2 * self.mobility * now) ** 0.5)


@dataclass(frozen=True)
class GivenForce:
    """mobility force(x, t), for a force (x, t) -> (n, d)."""

    force: Callable[[Tensor, Tensor], Tensor]
    mobility: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        f = self.force(x, t)
        if not isinstance(f, Tensor) or f.shape != x.shape:
            got = tuple(f.shape) if isinstance(f, Tensor) else type(f).__name__
            raise ValueError(
                f"force must return a tensor {tuple(x.shape)}, as the cloud, got {got}"
            )
        return self.mobility * f


@dataclass(frozen=True, eq=False)
class LinearDrift:
    """The drift -matrix x, for a matrix (d, d)."""

    matrix: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        # Blocks of one shape, so that the rounding of a particle does not depend on n.
        return product(whole_blocks(x.contiguous()), self._factor(x))[: len(x)]

    def _factor(self, x: Tensor) -> Tensor:
        """-matrix^T in the type of x."""
        key = x.dtype, x.device
        if key not in self._factors:
            self._factors[key] = -self.matrix.to(x).T
        return self._factors[key]

    @cached_property
    def _factors(self) -> dict[tuple[torch.dtype, torch.device], Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class NoisePerAxis:
    """The diffusion (d,), one constant for each axis."""

    size: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.size.to(x)


@dataclass(frozen=True)
class OverdampedDrift:
    """The drift mobility force."""

    force: Force
    mobility: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.mobility * self.force(x, t)

    def check_pairs(self, x: Tensor, t: Tensor) -> None:
        """Refuse energies (n,) that depend on other particles."""
        self.force.check_pairs(x, t)


@dataclass(frozen=True)
class UnderdampedDrift:
    """The drift (v, force / mass - friction v) of the state (q, v)."""

    force: Force
    mass: float
    friction: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        q, v = positions_and_velocities(x)
        return torch.cat([v, self.force(q, t) / self.mass - self.friction * v], 1)

    def check_pairs(self, x: Tensor, t: Tensor) -> None:
        """Refuse energies (n,) that depend on other particles."""
        self.force.check_pairs(positions_and_velocities(x)[0], t)


@dataclass(frozen=True)
class UnderdampedNoise:
    """The diffusion (2 k,): 0 for positions, size for velocities."""

    size: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        q, v = positions_and_velocities(x[0])
        return torch.cat([torch.zeros_like(q), torch.full_like(v, self.size)])


def positions_and_velocities(x: Tensor) -> tuple[Tensor, Tensor]:
    """Positions q and velocities v, (n, k) each, of the state x (n, 2 k)."""
    if x.shape[-1] % 2:
        raise ValueError(
            f"the state of underdamped dynamics is (q, v), (n, 2 k), got {x.shape[-1]} columns; "
            "append a velocity for each position"
        )
    q, v = x.chunk(2, -1)
    return q, v
