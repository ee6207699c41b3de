"""Tell one simulation from another, so that none continues the other's results.

The paths of the first particles and their states say most. What the first particles do not meet,
such as the threshold of a rare event, is read from the code and the constants of the functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdeflow.simulation.reducers import Reducer, State
from sdeflow.solvers.path import Path

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)


def fingerprint(
    n: int, probe: Path, reducers: Sequence[Reducer], states: Sequence[State], functions: object
) -> str:
    """A digest of a simulation of n particles.

    Args:
        n: number of particles.
        probe: the path of the first of them.
        reducers, states: the reducers, and the state that each makes of the probe.
        functions: whose code tells simulations apart, such as the drift.
    """
    methods = [(type(r).reduce, type(r).merge, _settings(r)) for r in reducers]
    found = hashlib.sha256()
    for part in _parts((n, probe.t, probe.x, [*states], methods, functions), {}):
        found.update(part)
    return found.hexdigest()


def _settings(value: object) -> list[tuple[str, object]]:
    """The attributes by which an object differs from others of its type."""
    if is_dataclass(value):
        return [(f.name, getattr(value, f.name)) for f in fields(value) if f.compare]
    return sorted(getattr(value, "__dict__", {}).items())


def _parts(value: Any, met: dict[int, Any]) -> Iterable[bytes]:
    """What tells a value from another, as bytes; of unknown objects the type alone."""
    kind = f"{type(value).__qualname__} ".encode()
    if isinstance(value, PLAIN):
        yield kind + repr(value).encode()
    elif isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        rows = value.detach().cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
        yield rows.view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode() + value.tobytes()
    elif id(value) not in met:
        met[id(value)] = value  # kept, so that its id is not given to another
        yield kind
        for inner in _inside(value):
            yield from _parts(inner, met)


def _inside(value: Any) -> Iterable[Any]:
    """The values of which one is made."""
    if isinstance(value, tuple | list):
        return value
    if isinstance(value, dict):
        return [*value.items()]
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))  # whose order differs from run to run
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if isinstance(value, CodeType):
        return value.co_code, value.co_names, value.co_consts
    if isinstance(value, FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        return value.__code__, value.__defaults__, value.__kwdefaults__, cells, _globals(value)
    return _settings(value) if is_dataclass(value) and not isinstance(value, type) else ()


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


def _globals(function: FunctionType) -> list[Any]:
    """The constants and functions of its own module that a function names."""
    own = function.__globals__
    named = [own[name] for name in function.__code__.co_names if name in own]
    return [
        each for each in named
        if isinstance(each, (*PLAIN, Tensor, np.ndarray, tuple, list, frozenset, set))
        or (isinstance(each, FunctionType) and each.__globals__ is own)
    ]  # fmt: skip
