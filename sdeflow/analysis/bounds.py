"""Ask the distances of a cloud from several bounds, fixed or moving."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdeflow._validation import check_function
from sdeflow.sdes.potentials import gradient, scalar
from sdeflow.sdes.sde import time_tensor

Distance = Callable[..., Tensor]
"""(x) -> (n,), or (x, t) -> (n,) for a bound that moves; t () in float64."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """The distances of a cloud from m bounds, each positive outside and zero on its bound."""

    distances: tuple[Distance, ...]
    moving: tuple[bool, ...]

    @staticmethod
    def of(distance: Distance | Sequence[Distance]) -> Bounds:
        """Of one function, or of a sequence of them."""
        several = isinstance(distance, list | tuple)
        functions = tuple(distance) if isinstance(distance, list | tuple) else (distance,)
        if not functions:
            raise ValueError("distance is an empty sequence; give one function for each bound")
        for i, function in enumerate(functions):
            check_function(
                function, f"distance[{i}]" if several else "distance",
                "of the cloud, (n, d) -> (n,), such as lambda x: 1 - x[:, 0]",
            )  # fmt: skip
        return Bounds(functions, tuple(_takes_time(function) for function in functions))

    def values(self, x: Tensor, t: float) -> Tensor:
        """(m, n) at x (n, d)."""
        return torch.stack([
            _fractional(scalar(f, x, time_tensor(t, x) if moving else None))
            for f, moving in zip(self.distances, self.moving, strict=True)
        ])  # fmt: skip

    def slopes(self, x: Tensor, t: float) -> list[Tensor]:
        """The gradients in x, m times (n, d)."""
        return [
            gradient(f, x, time_tensor(t, x) if moving else None)
            for f, moving in zip(self.distances, self.moving, strict=True)
        ]


def _fractional(distance: Tensor) -> Tensor:
    """A distance (n,), which is no truth value and no whole number."""
    if not distance.is_floating_point():
        raise ValueError(
            f"distance must return numbers with a fraction, got {distance.dtype}; write it with "
            "torch: the signed distance to the boundary, and not whether a particle is there"
        )
    return distance


def _takes_time(function: Distance) -> bool:
    """Whether a distance is one of (x, t), and not of x alone."""
    try:
        signature = inspect.signature(
            function.forward if isinstance(function, nn.Module) else function
        )
        signature.bind("x", "t")
    except (TypeError, ValueError):  # of x alone, or a function of C that does not tell
        return False
    second = [*signature.parameters.values()][:2][-1]
    needed = second.kind is not second.VAR_POSITIONAL and second.default is second.empty
    return len(signature.parameters) > 1 and (needed or second.name == "t")
