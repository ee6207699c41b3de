r"""Read the attributes `takes`, `dim`, `labels` and `shape` of a network or of what it wraps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sdeflow._validation import as_numbers, check_int, check_labels, shown
from sdeflow.fields.networks import TimeInput


def attribute_owner(network: nn.Module) -> nn.Module:
    """The module whose attributes describe the network: the outermost with an attribute `takes`.

    If there is none, it is the network without the wrappers of torch, such as `DataParallel`.
    """
    for module in network.modules():
        if isinstance(getattr(module, "takes", None), TimeInput):
            return module
    while not hasattr(network, "labels"):
        inner = getattr(network, "module", getattr(network, "_orig_mod", None))
        if not isinstance(inner, nn.Module):
            break
        network = inner
    return network


def checked_shape(shape: object, owner: nn.Module) -> tuple[int, ...] | None:
    """The shape of one particle: the given one, which must equal that of the network, if any."""
    own = getattr(owner, "shape", None)
    if isinstance(own, tuple | list) and own and all(type(size) is int for size in own):
        own = tuple(own)
    else:
        own = None
    if shape is None:
        return own
    if isinstance(shape, str) or not isinstance(shape, Sequence) or not shape:
        raise TypeError(f"shape must be a row of sizes, such as (1, 8, 8), got {shown(shape)}")
    sizes = tuple(check_int(size, "shape") for size in shape)
    if own is not None and sizes != own:
        raise ValueError(f"shape is {sizes}, but that of the network is {own}; leave out shape")
    return sizes


def checked_label(label: object, known: int | None) -> Tensor:
    """The label, if a network with `known` classes has it; None stands for any number."""
    found = check_labels(label, "label")
    if known == 0:
        raise ValueError("this network has no labels; make it with labels=")
    if known is not None and found.max() > known:
        raise ValueError(
            f"label must be 0 to {known - 1}, or {known} for no label, got {int(found.max())}"
        )
    return found


def checked_mean(mean: object, std: float | None) -> Tensor:
    """The mean (d,) of the data, which is given together with their standard deviation."""
    if std is None:
        raise ValueError("data_mean needs data_std; give both")
    found = as_numbers(mean, "data_mean")
    if found.ndim != 1 or not torch.isfinite(found).all():
        raise ValueError(
            f"data_mean must be (d,), one finite number per axis, got {found.tolist()!r:.60}"
        )
    return found
