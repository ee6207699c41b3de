r"""Call a network as it was trained to be called: its own batch, in eval mode.

    called(network)        (rest, x) -> network(x, *rest), one call for the whole cloud
    called(network, rows)  the same in blocks of `rows` rows, so that a row's bits do not depend on
                           the others, and memory does not grow with the cloud

A network that was left in train mode drops units at random and moves the statistics of its batch
norms. So each module is put in eval mode for the call, and back in its own mode after it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from sdeflow._blocks import misfit, whole_blocks
from sdeflow.fields.networks import MLP, Tokens

Rest = tuple[Tensor, ...]
"""What a network takes after x: time, labels; each () or (n,)."""

MODELESS = frozenset({MLP, Tokens, nn.Linear, nn.Embedding, nn.SiLU, nn.ReLU, nn.Sequential})
"""Modules that do the same in both modes, themselves."""

_LOCK = threading.Lock()
_PAUSED: dict[nn.Module, int] = {}
"""Modules in train mode that are in eval mode now: by how many calls, of any thread."""


def called(
    network: nn.Module, rows: int | None = None, *, as_it_is: bool = False
) -> Callable[[Rest, Tensor], Tensor]:
    """A function (rest, x) -> network(x, *rest), x (n, d) -> (n, d), in eval mode.

    Args:
        network: called as network(x, *rest).
        rows: of a call; the last block is padded with copies of the last row. None: one call.
        as_it_is: leave the network in its mode, for training.

    Raises (when called):
        ValueError: the network returns another shape than that of x, or changes x in place.
    """
    modules = [] if as_it_is else [m for m in network.modules() if type(m) not in MODELESS]

    def evaluate(rest: Rest, x: Tensor) -> Tensor:
        version = -1 if x.is_inference() else x._version
        paused = _pause(modules) if modules else None
        try:
            if rows is None:
                out = network(x, *rest)
                if getattr(out, "shape", None) != x.shape:
                    misfit(out, x)
            else:
                parts = []
                for part, its in _blocks(x, rest, rows):
                    parts.append(network(part, *its))
                    if getattr(parts[-1], "shape", None) != part.shape:
                        misfit(parts[-1], part)
                out = torch.cat(parts)[: x.shape[0]]
        finally:
            if paused:
                _resume(paused)
        if version >= 0 and x._version != version:
            raise ValueError(
                "the network changes its input in place, and with it the cloud; set "
                "inplace=False in its first layer, or let it clone its input"
            )
        return out

    return evaluate


def _blocks(x: Tensor, rest: Rest, rows: int) -> Iterator[tuple[Tensor, Iterable[Tensor]]]:
    """Blocks of exactly `rows` rows of x, each with its part of `rest`."""
    each = [r.ndim == 1 for r in rest]
    rest = tuple(whole_blocks(r, rows) if cut else r for r, cut in zip(rest, each, strict=True))
    for i, part in enumerate(whole_blocks(x, rows).split(rows)):
        here = slice(i * rows, (i + 1) * rows)
        yield part, [r[here] if cut else r for r, cut in zip(rest, each, strict=True)]


def _pause(modules: list[nn.Module]) -> list[nn.Module]:
    """Put modules in eval mode; those that `_resume` has to put back, when all calls are done."""
    with _LOCK:
        paused = [m for m in modules if m.training or m in _PAUSED]
        for m in paused:
            _PAUSED[m] = _PAUSED.get(m, 0) + 1
            _set(m, False)
    return paused


def _resume(paused: list[nn.Module]) -> None:
    with _LOCK:
        for m in paused:
            _PAUSED[m] -= 1
            if not _PAUSED[m]:
                del _PAUSED[m]
                _set(m, True)


def _set(module: nn.Module, training: bool) -> None:
    """module.training = training for this module alone, past the slow `__setattr__` of modules."""
    if "training" in vars(module):
        vars(module)["training"] = training
    else:  # compiled and scripted modules keep it elsewhere
        module.training = training
