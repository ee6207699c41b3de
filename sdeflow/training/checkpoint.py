r"""Save a field, load it again, and write and read the state of an unfinished training.

A file is a safetensors file: tensors and one line of JSON, nothing that could be executed. The
line begins with a SHA-256 digest of itself and of every tensor, so a file that was cut short or of
which a single bit has changed is refused. Equal fields make equal files.

    {"kind": "field", "field": {process, predicts, data_std, network}}
    {"kind": "training", "field": ..., "seed", "steps", "step", "config", "schedule"}

A training keeps its previous file as `.previous` until the next one is whole: a run that was
killed while it wrote, or whose newest file is damaged, goes on from there to the same bits.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from sdeflow._validation import SdeflowError
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import EDM, VE, VP, Cosine, Linear, SubVP
from sdeflow.processes.tabulated import Tabulated
from sdeflow.provenance import write_bytes

PROCESSES: dict[str, Callable[..., Process]] = {
    kind.__name__: kind for kind in (VP, SubVP, VE, EDM, Linear, Cosine, Tabulated)
}


def save(field: LearnedField, path: str | Path) -> None:
    """Write a field to one safetensors file: weights, and how to rebuild it in the header.

    Raises:
        TypeError: field is no LearnedField.
    """
    if not isinstance(field, LearnedField):
        raise TypeError(f"only a LearnedField can be saved, got {type(field).__name__}")
    write(Path(path), field.network.state_dict(), {"kind": "field", "field": describe(field)})


def load(path: str | Path, network: nn.Module | None = None) -> LearnedField:
    """Read a field that `save` wrote; pass the network if it is not sdeflow's MLP.

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
        reason = " ".join(str(error).split())  # torch's message has many lines
        raise SdeflowError(f"{path} does not fit this network: {reason}") from None
    return field


def describe(field: LearnedField) -> dict:
    """Everything about a field but its weights, as plain JSON values."""
    network = field.network
    return {
        "process": {"name": type(field.process).__name__, **asdict(field.process)},
        "predicts": (field.predicts or Prediction.NOISE).value,
        "data_std": field.data_std,
        "data_mean": None if field.data_mean is None else field.data_mean.double().tolist(),
        "network": {"name": type(network).__name__, **getattr(network, "config", {})},
    }


def rebuild(about: dict, network: nn.Module | None = None) -> LearnedField:
    """The field that `describe` described, with untrained weights."""
    constants = dict(about["process"])
    kind = PROCESSES[constants.pop("name")]
    config = dict(about["network"])
    name = config.pop("name")
    if network is None:
        if name != MLP.__name__:
            raise TypeError(f"its network is a {name}: pass one as network=")
        network = MLP(**config)
    row = Prediction(about["predicts"])
    mean = about.get("data_mean")  # files written before there was one say nothing
    return LearnedField(
        kind(**constants),
        network,
        row if about["data_std"] is None else None,  # a preconditioned one has its own row
        about["data_std"],
        None if mean is None else torch.tensor(mean, dtype=torch.float64),
    )


def write(
    path: Path, tensors: dict[str, Tensor], about: dict, *, keep_previous: bool = False
) -> None:
    """Write tensors and JSON with their checksum."""
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
            raise ValueError("its header is no JSON object")
        intact = digest == _digest(tensors, text)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SdeflowError(f"{path} is damaged or not ours ({error})") from None
    if not intact:
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


# ------------------------------------------------------------------- the state of a training


@dataclass(frozen=True, eq=False)
class TrainingState:
    """What changes from step to step of a training: a checkpoint holds all of it."""

    network: nn.Module
    average: AveragedModel
    optimiser: torch.optim.Optimizer
    schedule: LRScheduler

    def write(self, path: Path, about: dict, step: int) -> None:
        """Write the state after `step` steps of the training that `about` describes."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for i, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
        header = {**about, "step": step, "schedule": self.schedule.state_dict()}
        write(path, tensors, header, keep_previous=True)

    def restore(self, path: Path, about: dict) -> int:
        """Take over the state in `path`; the steps that it has behind it, 0 if there is no file.

        Raises:
            SdeflowError: the file is damaged, or of a training other than `about` describes.
        """
        found = latest(path)
        if found is None:
            return 0
        tensors, header = found
        step, schedule = header.pop("step", 0), header.pop("schedule", {})
        differing = [k for k, v in about.items() if header.get(k) != v]
        if differing:
            raise SdeflowError(
                f"the checkpoint {path} belongs to another run (its {', '.join(differing)} "
                "differ); remove it or choose another folder"
            )
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = value
        try:
            self.network.load_state_dict(parts["network"])
            self.average.load_state_dict(parts["average"])
        except RuntimeError:
            raise SdeflowError(
                f"the checkpoint {path} holds the weights of another network; remove it or choose "
                "another folder"
            ) from None
        self._restore_optimiser(parts["optimiser"], schedule)
        return int(step)

    def _restore_optimiser(self, tensors: dict[str, Tensor], schedule: dict) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            i, _, key = name.partition(".")
            moments.setdefault(int(i), {})[key] = value
        self.schedule.load_state_dict(schedule)
        groups = self.optimiser.state_dict()["param_groups"]
        for group, rate in zip(groups, self.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
