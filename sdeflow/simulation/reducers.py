r"""Reduce clouds of any size to a few numbers: histograms, means, any observable of a path.

A reducer makes a state of each block of particles and merges two states into one:

    state = reduce(block)    state = merge(left, right)    result = finish(state)

A state is a dictionary of tensors, so that it can be stored and sent to another process.
`simulate` merges the blocks along one fixed tree, so the result has the same bits however the
cloud is cut.
To write your own, derive from `Reducer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_kind, shown
from sdeflow.density import Density
from sdeflow.grid import Grid, check_grid
from sdeflow.sdes.sde import check_function
from sdeflow.solvers.path import Path

State = dict[str, Tensor]


def check_state(state: object, reducer: Reducer, verb: str, like: State | None = None) -> State:
    """Return the state that a reducer gave, if it is a dictionary of tensors named as before."""
    names = None if like is None else [*like]
    if isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        if like is None or state.keys() == like.keys():
            return state
        got = f"the names {[*state]}, not {names}"
    else:
        kinds = isinstance(state, dict) and {k: shown(v) for k, v in state.items()}
        got = str(kinds) if kinds else shown(state)
    raise TypeError(
        f"{verb} of {reducer} returned {got}; return a dictionary of names and tensors, such as "
        "{'n': torch.tensor(1)}, with the same names from reduce and merge"
    )


class Reducer(ABC):
    """Reduces the paths of blocks of particles to one result.

    `merge` must be associative up to rounding: merge(merge(a, b), c) = merge(a, merge(b, c)).
    """

    def __repr__(self) -> str:
        return f"reducer {type(self).__name__}"

    @abstractmethod
    def reduce(self, path: Path) -> State:
        """The state of one block: path.x (T, n, d), of which x[-1] is the last cloud."""

    @abstractmethod
    def merge(self, left: State, right: State) -> State:
        """The state of two neighbouring sets of particles, from the state of each."""

    @abstractmethod
    def finish(self, state: State) -> Any:
        """The result, from the state of all particles."""


@dataclass(frozen=True, repr=False)
class Histogram(Reducer):
    """Counts the particles of the last cloud in the cells of a grid: the result is a `Density`.

        m_i = (particles in cell i) / n

    Args:
        grid: of one or two axes. The share of the particles outside is 1 - density.total().
    """

    grid: Grid

    def __post_init__(self) -> None:
        check_grid(self.grid)

    def __repr__(self) -> str:
        return f"histogram on {self.grid}"

    def reduce(self, path: Path) -> State:
        counts, outside = self.grid.count(path.x[-1])
        return {"counts": counts, "outside": torch.tensor(outside)}

    def merge(self, left: State, right: State) -> State:
        return {name: left[name] + right[name] for name in left}

    def finish(self, state: State) -> Density:
        n = int(state["counts"].sum() + state["outside"])
        if not state["counts"].any():
            raise ValueError(f"no particle lies in the grid {self.grid}; move or widen it")
        return Density(self.grid, state["counts"].double() / n)


@dataclass(frozen=True, repr=False)
class Values(Reducer):
    """Reduces any observable of a path: `into` is given its values in place of the last cloud.

        Values(lambda path: path.x[-1].norm(dim=1), Moments())

    Args:
        function: path -> (n,) or (n, k), the observable of each particle. The path holds the
            states that `simulate(save=)` asks for, and what walls have absorbed.
        into: the reducer of the values.
    """

    function: Callable[[Path], Tensor]
    into: Reducer

    def __post_init__(self) -> None:
        check_function(self.function, "function", "path")
        check_kind(self.into, Reducer, "into", "such as Moments()")

    def __repr__(self) -> str:
        return f"{self.into} of values of the path"

    def reduce(self, path: Path) -> State:
        n = path.x.shape[1]
        values = self.function(path)
        fits = isinstance(values, Tensor) and values.ndim in (1, 2) and len(values) == n
        if not fits or not values.numel() or values.is_complex():
            got = tuple(values.shape) if isinstance(values, Tensor) else shown(values)
            kind = " of complex numbers" * (isinstance(values, Tensor) and values.is_complex())
            raise ValueError(
                f"the function of Values returned {got}{kind} for {n} particles; return one "
                "number or one row for each"
            )
        values = values.reshape(n, -1)
        values = values if values.is_floating_point() else values.double()
        return self.into.reduce(replace(path, t=path.t[-1:], x=values[None]))

    def merge(self, left: State, right: State) -> State:
        return self.into.merge(left, right)

    def finish(self, state: State) -> Any:
        return self.into.finish(state)


@dataclass(frozen=True, repr=False)
class Keep(Reducer):
    """Keeps each k-th particle of the last cloud in memory: the result is a cloud (m, d).

    To keep all particles of a large cloud, write it to a file: `simulate(out="cloud.zarr")`.

    Args:
        every: k, a power of two up to 4,096.
    """

    every: int = 64

    def __post_init__(self) -> None:
        k = check_int(self.every, "every")
        if k & (k - 1) or k > 4096:
            raise ValueError(f"every must be a power of two up to 4096, got {k}")

    def __repr__(self) -> str:
        return f"every {self.every}th particle" if self.every > 1 else "every particle"

    def reduce(self, path: Path) -> State:
        return {"x": path.x[-1][:: self.every].cpu().clone()}

    def merge(self, left: State, right: State) -> State:
        return {"x": torch.cat([left["x"], right["x"]])}

    def finish(self, state: State) -> Tensor:
        return state["x"]
