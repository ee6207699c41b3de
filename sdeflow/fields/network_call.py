r"""Call a network in eval mode, on a whole cloud or in blocks of rows.

    called(network)        (rest, x) -> network(x, *rest), one call for the whole cloud
    called(network, rows)  the same in blocks of `rows` rows, so that the bits of a row do not
                           depend on the others and memory does not grow with the cloud

In train mode, dropout would be active and batch norms would update their statistics. So each
module is set to eval mode for the call, and afterwards back to the mode it had.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from sdeflow._blocks import misfit, whole_blocks
from sdeflow.fields.networks import MLP, Tokens

Rest = tuple[Tensor, ...]
"""The arguments of a network after x: time and labels, each () or (n,)."""

MODELESS = frozenset(
    {MLP, Tokens, nn.Linear, nn.Embedding, nn.SiLU, nn.ReLU, nn.GELU, nn.Tanh, nn.Identity}
    | {nn.Sequential, nn.ModuleList, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.GroupNorm, nn.LayerNorm}
)
"""Modules that do the same in train and eval mode."""

_LOCK = threading.Lock()
_PAUSED: dict[nn.Module, int] = {}
"""For each module of train mode that is now in eval mode, the number of calls that need that."""
_changes = 0
"""The number of changes of `_PAUSED`."""


def called(
    network: nn.Module,
    rows: int | None = None,
    shape: Sequence[int] | None = None,
    *,
    as_it_is: bool = False,
) -> Callable[[Rest, Tensor], Tensor]:
    """The function (rest, x) -> network(x, *rest) in eval mode, x (n, d) -> (n, d).

    A network that changes its input in place gets a copy of x.

    Args:
        network: called as network(x, *rest).
        rows: the rows of a call; the last is padded with copies of the last row. None: all rows.
        shape: the shape of a row for the network; None: (d,).
        as_it_is: leave the network in its mode, for training.
    """
    modules = [] if as_it_is else [m for m in network.modules() if type(m) not in MODELESS]
    copied = True

    def evaluate(rest: Rest, x: Tensor) -> Tensor:
        nonlocal copied
        # The first call shows whether the network changes its input in place.
        given = x.clone() if copied else x
        version = given._version if copied and not given.is_inference() else -1
        paused = _pause(modules) if modules and _in_train_mode(modules) else None
        try:
            if rows is None:
                out = network(given, *rest)
                if not isinstance(out, Tensor) or out.shape != x.shape:
                    misfit(out, x)
            else:
                out = _block_by_block(network, given, rest, rows)
        except IndexError as error:
            if rest and rest[0].ndim == 0:
                raise ValueError(
                    f"the network failed at one time t () for all particles ({error}); it must "
                    "take t () and (n,), for example by t.reshape(-1, 1).expand(len(x), 1)"
                ) from error
            raise
        finally:
            if paused:
                _resume(paused)
        if version >= 0:
            copied = given._version != version
        return out

    if shape is not None:
        return lambda rest, x: evaluate(rest, x.reshape(-1, *shape)).reshape(x.shape)
    return evaluate


def _block_by_block(network: nn.Module, x: Tensor, rest: Rest, rows: int) -> Tensor:
    parts = []
    for part, its in _blocks(x, rest, rows):
        parts.append(network(part, *its))
        if not isinstance(parts[-1], Tensor) or parts[-1].shape != part.shape:
            misfit(parts[-1], part)
    return torch.cat(parts)[: x.shape[0]]


def _blocks(x: Tensor, rest: Rest, rows: int) -> Iterator[tuple[Tensor, Iterable[Tensor]]]:
    """Blocks of exactly `rows` rows of x, each with its part of `rest`."""
    each = [r.ndim == 1 for r in rest]
    rest = tuple(whole_blocks(r, rows) if cut else r for r, cut in zip(rest, each, strict=True))
    for i, part in enumerate(whole_blocks(x, rows).split(rows)):
        here = slice(i * rows, (i + 1) * rows)
        yield part, [r[here] if cut else r for r, cut in zip(rest, each, strict=True)]


def _in_train_mode(modules: list[nn.Module]) -> bool:
    """Whether a module is in train mode, or another thread may set it back to it during a call."""
    before = _changes
    for m in modules:
        if m.training:
            return True
    return bool(_PAUSED) or before != _changes


def _pause(modules: list[nn.Module]) -> list[nn.Module]:
    """Set modules to eval mode, and return those that `_resume` must set back."""
    global _changes
    with _LOCK:
        _changes += 1
        paused = [m for m in modules if m.training or m in _PAUSED]
        for m in paused:
            _PAUSED[m] = _PAUSED.get(m, 0) + 1
            _set(m, False)
    return paused


def _resume(paused: list[nn.Module]) -> None:
    global _changes
    with _LOCK:
        _changes += 1
        for m in paused:
            _PAUSED[m] -= 1
            if not _PAUSED[m]:
                del _PAUSED[m]
                _set(m, True)


def _set(module: nn.Module, training: bool) -> None:
    """Set module.training without the slow `__setattr__` of modules."""
    if "training" in vars(module):
        vars(module)["training"] = training
    else:  # compiled and scripted modules keep it elsewhere
        module.training = training
