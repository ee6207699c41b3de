r"""Save a field and load it again, from its own file or from the checkpoint of a training.

The header of a file (see `tensor_file`) describes how to rebuild the field:

    {"kind": "field", "field": {process, predicts, data_std, network, ...}}
    {"kind": "training", "field": ..., "seed", "steps", "step", "config", ...}    (see `state`)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sdeflow._validation import SdeflowError
from sdeflow.fields.field import Pairs
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.fields.unet import UNet
from sdeflow.fields.vector_mlp import VectorMLP
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import EDM, VE, VP, Cosine, Linear, SubVP
from sdeflow.processes.tabulated import Tabulated
from sdeflow.training.tensor_file import check_path, one_line, read, write

FORMAT = 2
"""The version of training files; those of version 1 hold another average of the weights."""

PROCESSES: dict[str, Callable[..., Process]] = {
    kind.__name__: kind for kind in (VP, SubVP, VE, EDM, Linear, Cosine, Tabulated)
}

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    kind.__name__: kind for kind in (MLP, UNet, VectorMLP)
}


def save(field: LearnedField, path: str | Path) -> None:
    """Write a field to one safetensors file: its weights, and a header that describes the rest.

    The file contains the label of the field, if one is bound. A network of your own is recorded by
    its name alone: give it to `load` again.

    Raises:
        TypeError: field is not a `LearnedField`, its process is not one of sdeflow's, or its
            weights are of a type that a file cannot hold.
    """
    if not isinstance(field, LearnedField):
        raise TypeError(
            f"only a LearnedField can be saved, got {type(field).__name__}; save its parts"
        )
    kind = type(field.process)
    if PROCESSES.get(kind.__name__) is not kind:
        raise TypeError(
            f"a process of the class {kind.__name__} cannot be saved, since `load` cannot make it "
            "again; save the weights alone, field.network.state_dict()"
        )
    write(
        check_path(path), field.network.state_dict(), {"kind": "field", "field": describe(field)}
    )


def load(path: str | Path, network: nn.Module | None = None) -> LearnedField:
    """Read a field that `save` wrote, or that of a training's checkpoint, with averaged weights.

    The network is in eval mode, and its weights have the type in which they were saved.

    Args:
        path: the file.
        network: the module to read the weights into, if it is not one of sdeflow's networks.

    Raises:
        SdeflowError: the file is missing, damaged, altered or holds no field; or it is that of a
            run of `sdeflow train`, whose field takes points in standard units only.
    """
    field, about = load_described(path, network)
    units = about["field"].get("units")
    if units is not None:
        raise SdeflowError(
            f"the field of {path} takes points in {units}, not in those of the data; open its run "
            "by sdeflow.experiment.run.reopen(folder), and sample by run.draw"
        )
    return field


def load_described(
    path: str | Path, network: nn.Module | None = None
) -> tuple[LearnedField, dict]:
    """The field of a file, in the units of the file, and its header; errors as for `load`."""
    tensors, about = read(check_path(path))
    if about.get("kind") not in ("field", "training"):
        raise SdeflowError(
            f"{path} holds a {about.get('kind')}, not a field; give a file that sf.training.save "
            "wrote"
        )
    try:
        if about["kind"] == "training":
            tensors = _averaged(tensors)
        field = rebuild(about["field"], network)
        _retype(field.network, tensors)
        field.network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SdeflowError(f"{path} does not fit this network: {one_line(error)}") from None
    field.network.eval()
    return field, about


def _averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of the network with each weight replaced by its average, in the weight's type."""
    parts = split(tensors)
    return {k: parts["average"].get(k, v).to(v.dtype) for k, v in parts["network"].items()}


def split(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors `part.name` of a training's file, by part: network, average, optimiser."""
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    return parts


def _retype(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Give each weight and buffer the type of the saved one, so that reading rounds nothing."""
    for name, own in network.state_dict(keep_vars=True).items():
        if name in tensors and own.dtype != tensors[name].dtype:
            own.data = own.data.to(tensors[name].dtype)


def describe(field: LearnedField) -> dict:
    """Everything about a field except its weights, as plain JSON values."""
    about: dict = {
        "process": _plain({"name": type(field.process).__name__, **asdict(field.process)}),
        "predicts": (field.predicts or Prediction.NOISE).value,
        "data_std": _plain(field.data_std),
        "data_mean": None if field.data_mean is None else field.data_mean.double().tolist(),
        "network": _describe_network(field.network),
    }
    if field.label is not None:
        about["label"] = field.label.tolist()
    if field.batch is not None:
        about["batch"] = field.batch
    if field.pairs is not Pairs.INDEPENDENT:
        about["pairs"] = field.pairs.value
    if field.shape is not None:
        about["shape"] = list(field.shape)
    units = getattr(field, "units", None)  # see `experiment.problem`
    return about if units is None else {**about, "units": units}


def _describe_network(network: nn.Module) -> dict:
    name = type(network).__name__
    if NETWORKS.get(name) is type(network):
        config: dict = network.config
        return {"name": name, **config}
    if name in NETWORKS:  # a class of the user with the name of one of ours
        name = f"{type(network).__module__}.{name}"
    own = getattr(network, "config", None)
    return {"name": name} if own is None else {"name": name, "config": _plain(own)}


def _plain(value: object) -> object:
    """The config of a network as JSON can hold it; other objects are named by their class."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, torch.dtype | torch.device | os.PathLike | Enum):
        return str(value)
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    try:
        return {k: _plain(v) for k, v in vars(value).items()}
    except TypeError:  # no namespace
        return type(value).__name__


def rebuild(about: dict, network: nn.Module | None = None) -> LearnedField:
    """The field that `describe` described, with untrained weights."""
    constants = dict(about["process"])
    name = constants.pop("name")
    if name not in PROCESSES:
        raise TypeError(f"its process is a {name}, which this version of sdeflow does not have")
    config = dict(about["network"])
    called = config.pop("name")
    if network is None:
        if called not in NETWORKS:
            raise TypeError(f"its network is a {called}: pass one as network=")
        if config.get("table") is not None:  # its rows are in the file
            config["table"] = torch.zeros(config["table"])
        network = NETWORKS[called](**config)
    row = Prediction(about["predicts"])
    mean, label = about.get("data_mean"), about.get("label")  # older files do not have them
    return LearnedField(
        PROCESSES[name](**constants),
        network,
        row if about["data_std"] is None else None,  # a preconditioned one has its own row
        about["data_std"],
        None if mean is None else torch.tensor(mean, dtype=torch.float64),
        None if label is None else torch.tensor(label),
        batch=about.get("batch"),
        pairs=Pairs(about.get("pairs", Pairs.INDEPENDENT)),
        shape=about.get("shape"),
    )
