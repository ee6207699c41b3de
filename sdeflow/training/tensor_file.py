"""Write tensors with a line of JSON to a file, and read them again to the bit.

A file is a safetensors file: nothing in it can be executed. The line begins with a SHA-256 digest
of itself and of every tensor, so a file that was truncated or changed in a single bit is refused.
Equal contents make equal files.

When a file replaces another, the old one may be kept as `.previous`; `latest` reads it if the new
one is damaged or missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from sdeflow._validation import SdeflowError
from sdeflow.provenance import write_bytes


def write(
    path: Path, tensors: dict[str, Tensor], about: dict, *, keep_previous: bool = False
) -> None:
    """Write tensors and JSON with their checksum; errors are those of `encoded`."""
    data = encoded(tensors, about)
    if keep_previous and path.exists():
        with suppress(FileNotFoundError):  # another process was faster
            os.replace(path, _previous(path))
    write_bytes(path, data)


def encoded(tensors: dict[str, Tensor], about: dict) -> bytes:
    """The bytes of a file; TypeError if a tensor is of a type that it cannot hold."""
    text = json.dumps(about, sort_keys=True)
    flat = _separate(tensors)
    # One entry, since safetensors has no fixed order, and equal contents must make equal files.
    return to_bytes(flat, {"sdeflow": f"{_digest(flat, text)} {text}"})


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Dense tensors, each with memory of its own, since a file cannot hold tied weights."""
    flat: dict[str, Tensor] = {}
    written = set[int]()
    for name, value in tensors.items():
        try:
            own = value.detach().cpu().contiguous()
            own = own.clone() if own.untyped_storage().data_ptr() in written else own
            to_bytes({name: own})
        except (SafetensorError, RuntimeError, ValueError, AttributeError, KeyError) as error:
            raise TypeError(
                f"{name!r} of the network cannot be saved ({one_line(error)}); make it a dense "
                "real tensor"
            ) from None
        flat[name] = own
        written.add(own.untyped_storage().data_ptr())
    return flat


def read(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the JSON of a file that `write` made; SdeflowError if it is damaged."""
    if path.is_dir():
        raise SdeflowError(
            f"{path} is a folder, not a file; a run is opened by sdeflow.experiment.run.reopen"
        )
    if not path.is_file():
        raise SdeflowError(f"there is no file {path}")
    try:
        # At once, since another process may replace the file; `safe_open` opens it twice.
        data = path.read_bytes()
        tensors = from_bytes(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        digest, _, text = header["__metadata__"]["sdeflow"].partition(" ")
        about = json.loads(text)
        if not isinstance(about, dict):
            raise ValueError("its header is not a JSON object")
        intact = digest == _digest(tensors, text)
    except FileNotFoundError:
        raise SdeflowError(f"there is no file {path}") from None
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SdeflowError(f"{path} is damaged or not a file of sdeflow ({error})") from None
    if not intact:
        raise SdeflowError(f"{path} was altered after it was written (its checksum differs)")
    return tensors, about


def latest(path: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The checkpoint at `path`, or the one before it if that is damaged; None if there is none."""
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


def check_path(path: object, name: str = "path") -> Path:
    """Return `path` as a `Path`, if it is a text or a path."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {type(path).__name__}")
    return Path(path)


def one_line(error: Exception) -> str:
    """The message of an error on one line, since torch's messages have many."""
    return " ".join(str(error).split())


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")
