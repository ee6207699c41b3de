"""A device on the CPU that refuses what a GPU refuses: to mix tensors of two devices.

    with FakeDevice():
        x = torch.randn(5, 2).to(FAKE)  # x.device is FAKE
        x + torch.ones(2)               # MixedDevicesError: as on a GPU
        x.numpy()                       # TypeError: as on a GPU

A tensor on it holds a tensor of the CPU, with which every operation is done. It reports torch's
device "meta", whose own tensors hold no numbers, because torch has no other in every build.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

FAKE = torch.device("meta")

aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}  # by either device
JOINED = {aten.cat.default, aten.stack.default}  # other operations take numbers () of the CPU


FUSED = "_get_fused_kernels_supported_devices"


class MixedDevicesError(RuntimeError):
    """An operation has tensors of two devices."""


class OnDevice(Tensor):
    """A tensor that lies on the fake device; `held` has its numbers."""

    held: Tensor
    is_meta = False  # it has numbers

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=FAKE
        )
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"OnDevice({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Do the operation with the numbers, if no tensor is elsewhere than the others."""
    given = [v for v in _tensors((*args, *kwargs.values())) if isinstance(v, Tensor)]
    there = any(type(v) is OnDevice for v in given)
    device = kwargs.get("device")
    if not there and device is None:
        return func(*args, **kwargs)
    if there and func not in COPIES:
        _refuse_mixed(func, args, given)
    if device is not None:
        there = torch.device(device) == FAKE
        kwargs = {**kwargs, "device": torch.device("cpu") if there else device}
    kwargs = {k: _each(v, _held) for k, v in kwargs.items()}
    out = func(*_each(args, _held), **kwargs)
    known = {id(_held(v)): v for v in given}  # an operation in place returns what it was given

    def wrapped(v: Tensor) -> Tensor:
        return known[id(v)] if id(v) in known else OnDevice(v) if there else v

    return _each(out, wrapped)


def _tensors(values: tuple | list) -> Iterator[Any]:
    """The entries of values and of the lists in it."""
    for v in values:
        if isinstance(v, list | tuple):
            yield from v
        else:
            yield v


def _held(v: Tensor) -> Tensor:
    return v.held if type(v) is OnDevice else v


def _each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The value, with `change` of each tensor in it and in its lists."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_each(v, change) for v in value])
    return value


def _refuse_mixed(func: Any, args: tuple, given: list[Tensor]) -> None:
    if func in INDEXED and isinstance(args[0], OnDevice):
        given = [args[0], *args[2:3]]
    if any(type(v) is Tensor and v.is_meta for v in given):
        raise RuntimeError(f"{func} has a tensor without numbers, of torch's own device {FAKE}")
    least = 0 if func in JOINED else 1
    here = [v for v in given if not isinstance(v, OnDevice) and v.ndim >= least]
    if here:
        shapes = ", ".join(str(tuple(v.shape)) for v in here)
        raise MixedDevicesError(f"{func} has tensors of the device and of the CPU: {shapes}")


class _Dispatch(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, which takes a second

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Function(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # torch makes tensors without numbers from numbers for its device "meta".
        if func in (torch.tensor, torch.as_tensor) and str(kwargs.get("device")) == str(FAKE):
            return func(*args, **{**kwargs, "device": "cpu"}).to(FAKE)
        if func is Tensor.new_tensor and isinstance(args[0], OnDevice):
            return func(args[0].held, *args[1:], **kwargs).to(FAKE)
        if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(args[1], list):
            return func(args[0], torch.tensor(args[1]), *args[2:])
        if func is Tensor.tolist:  # torch has it for its own class alone
            return func(args[0].cpu())
        return func(*args, **kwargs)


class FakeDevice(ExitStack):
    """While it is entered, tensors can be made on and moved to `FAKE`."""

    def __enter__(self) -> FakeDevice:
        # Adam's fused step is for devices of a list, which torch has kept in several places.
        for name in ("optimizer", "adam", "adamw"):
            module = import_module(f"torch.optim.{name}")
            if hasattr(module, FUSED):
                fused = [*getattr(module, FUSED)(), FAKE.type]
                self.enter_context(patch.object(module, FUSED, return_value=fused))
        self.enter_context(_Function())
        self.enter_context(_Dispatch())
        return self
