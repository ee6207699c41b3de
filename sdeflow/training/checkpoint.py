r"""Fields and half-finished runs on disk: tensors and JSON, nothing that could be executed.

A file is a safetensors file. Its tensors are weights (and, of a run, the averages and Adam's
moments, so that it goes on to the very same bits); its header is one line of JSON that says how to
rebuild the field around them:

    {"kind": "field", "field": {process, predicts, data_std, network}}
    {"kind": "training", "field": ..., "seed", "steps", "step", "recipe"}

The line begins with a SHA-256 digest of itself and of every tensor. So a file that lost its end,
or a single bit of which has turned, is refused rather than sampled from. Equal fields make equal
files.

A checkpoint is replaced only when the next one is whole, and the one before is kept beside it as
`.previous`: a run that was killed while it wrote, or whose newest file is damaged, goes on from
there.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from sdeflow._validation import SdeflowError
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import EDM, VE, VP, Cosine, Linear, SubVP
from sdeflow.processes.tabulated import Tabulated
from sdeflow.provenance import write_bytes

PROCESSES: dict[str, Callable[..., Process]] = {
    kind.__name__: kind
    for kind in (
        VP,
        SubVP,
        VE,
        EDM,
        Linear,
        Cosine,
        Tabulated,
    )
}


def save(field: LearnedField, path: str | Path) -> None:
    """Write a field to one safetensors file: weights, and how to rebuild it in the header.

    Raises:
        TypeError: no LearnedField.
    """
    if not isinstance(field, LearnedField):
        raise TypeError(f"only a LearnedField can be saved, got {type(field).__name__}")
    write(Path(path), field.network.state_dict(), {"kind": "field", "field": describe(field)})


def load(path: str | Path, network: nn.Module | None = None) -> LearnedField:
    """Read a field that `save` wrote. A network other than sdeflow's MLP must be handed in.

    Raises:
        SdeflowError: no such file, truncated, altered, or not a field of ours.
    """
    tensors, about = read(Path(path))
    if about.get("kind") != "field":
        raise SdeflowError(f"{path} holds a {about.get('kind')}, not a field")
    try:
        field = rebuild(about["field"], network)
        field.network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())  # torch says it in many lines
        raise SdeflowError(f"{path} does not fit this network: {said}") from None
    return field


def describe(field: LearnedField) -> dict:
    """A field without its weights, as JSON holds it."""
    network = field.network
    return {
        "process": {"name": type(field.process).__name__, **asdict(field.process)},
        "predicts": field.predicts.value,
        "data_std": field.data_std,
        "network": {"name": type(network).__name__, **getattr(network, "config", {})},
    }


def rebuild(about: dict, network: nn.Module | None = None) -> LearnedField:
    """A field from `describe`, with fresh weights."""
    law = dict(about["process"])
    kind = PROCESSES[law.pop("name")]
    config = dict(about["network"])
    name = config.pop("name")
    if network is None:
        if name != MLP.__name__:
            raise TypeError(f"its network is a {name}: pass one as network=")
        network = MLP(**config)
    return LearnedField(kind(**law), network, Prediction(about["predicts"]), about["data_std"])


def write(
    path: Path, tensors: dict[str, Tensor], about: dict, *, keep_previous: bool = False
) -> None:
    """Write tensors and JSON, with their checksum."""
    flat = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    # One entry: safetensors keeps several in no fixed order, and equal fields make equal files.
    data = to_bytes(flat, {"sdeflow": f"{_digest(flat, text)} {text}"})
    if keep_previous and path.exists():
        os.replace(path, _previous(path))
    write_bytes(path, data)


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and JSON of a file that `write` made; SdeflowError if it is not whole."""
    if not path.is_file():
        raise SdeflowError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        digest, _, text = header["sdeflow"].partition(" ")
        about = json.loads(text)
        if not isinstance(about, dict):
            raise ValueError("its header says nothing")
        whole = digest == _digest(tensors, text)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SdeflowError(f"{path} is damaged or not ours ({error})") from None
    if not whole:
        raise SdeflowError(f"{path} was altered after it was written (its checksum differs)")
    return tensors, about


def latest(path: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The checkpoint, or the one before it if the newest is damaged, or None if there is none."""
    older = _previous(path)
    if not path.exists() and not older.exists():
        return None
    try:
        return read(path)
    except SdeflowError as error:
        if not older.exists():
            raise SdeflowError(f"{error}; remove it to start afresh") from None
        found = read(older)
        warnings.warn(f"{error}; going on from {older}", stacklevel=4)
        return found


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")
