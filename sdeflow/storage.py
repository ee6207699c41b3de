"""Write results to .npz or .h5 and read them back, bit for bit and with their provenance.

    path.save("run.npz")        Path.load("run.npz")        provenance_of("run.npz")

A file holds arrays and one line of JSON: the kind of the object, its plain values, its provenance
and a SHA-256 digest of all, so that a file of which a bit has changed is refused. Nothing in it
can be executed. A .h5 file needs h5py (`pip install 'sdeflow[files]'`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

import sdeflow._extras as extras
from sdeflow._validation import SdeflowError, check_file
from sdeflow.provenance import provenance, write_bytes

LINE = "sdeflow"
DAMAGED = (
    ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, RuntimeError, MemoryError,
    OverflowError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy and h5py raise for a file that is no whole one."""
HDF5 = (".h5", ".hdf5")
BLOCK = 512
"""Bytes at the start of a .h5 file that the format leaves free; they hold a digest of the rest."""


class Stored:
    """What can be written to a file, as tensors and plain values, and read back."""

    def save(self, path: str | FilePath) -> None:
        """Write it to a .npz or .h5 file, with its provenance (see `storage`).

        Raises:
            ValueError: the suffix is another.
        """
        write_object(path, type(self).__name__, *self._parts())

    @classmethod
    def load(cls, path: str | FilePath) -> Self:
        """What `save` wrote, bit for bit.

        Raises:
            OSError: there is no such file.
            SdeflowError: the file is damaged or holds something else.
        """
        return cls._of(*read_object(path, cls.__name__))

    def _parts(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        raise NotImplementedError

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Self:
        raise NotImplementedError


def write_object(
    path: str | FilePath, kind: str, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]
) -> None:
    """Write an object as tensors and plain values, whole or not at all.

    Raises:
        ValueError: the suffix is neither .npz nor .h5.
        SdeflowError: h5py is missing.
    """
    path = _checked(path)
    arrays = {name: _as_array(value) for name, value in tensors.items()}
    about = {
        "kind": kind,
        "plain": dict(plain),
        "types": {name: str(value.dtype) for name, value in tensors.items()},
        "provenance": provenance(),
    }
    text = json.dumps(about, sort_keys=True)
    line = f"{_digest(arrays, text)} {text}"
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(buffer, **{LINE: np.array(line), **arrays})  # type: ignore[arg-type]
    else:
        with extras.h5py.File(buffer, "w", track_order=True, userblock_size=BLOCK) as file:
            for name, value in arrays.items():
                file.create_dataset(name, data=value, track_times=False)
            file.attrs[LINE] = line
        buffer = io.BytesIO(_sealed(buffer.getvalue()))
    write_bytes(path, buffer.getvalue())


def read_object(path: str | FilePath, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the plain values of an object of this kind.

    Raises:
        OSError: there is no such file.
        SdeflowError: the file is damaged, or holds another kind of object.
    """
    arrays, about = _read(path)
    if about["kind"] != kind:
        other = about["kind"]
        raise SdeflowError(f"{path} holds a {other}, not a {kind}; use {other}.load")
    types = about["types"]
    return {name: _as_tensor(value, types[name]) for name, value in arrays.items()}, about["plain"]


def provenance_of(path: str | FilePath) -> dict[str, str | int]:
    """What made the object of a file: command, commit, versions, device.

    Raises:
        OSError: there is no such file.
        SdeflowError: the file is damaged.
    """
    found: dict[str, str | int] = _read(path)[1]["provenance"]
    return found


def as_numpy(value: Tensor) -> np.ndarray:
    """A tensor as an array; types that numpy lacks in float32."""
    value = value.detach().cpu()
    out: np.ndarray = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    return out


def write_csv(path: str | FilePath, names: Sequence[str], columns: Sequence[Tensor]) -> None:
    """Write columns (N,) under their names, with all digits.

    Raises:
        ValueError: the suffix is not .csv.
    """
    path = check_file(path)
    if path.suffix != ".csv":
        raise ValueError(f"{path} must end in .csv")
    buffer = io.StringIO()
    buffer.write(",".join(names) + "\n")
    rows = [as_numpy(column).tolist() for column in columns]
    csv.writer(buffer, lineterminator="\n").writerows(zip(*rows, strict=True))
    write_bytes(path, buffer.getvalue().encode())


def as_xarray(values: np.ndarray, axes: Mapping[str, np.ndarray | None], name: str) -> Any:
    """An xarray.DataArray with named axes and their coordinates, where there are any.

    Raises:
        SdeflowError: xarray is missing.
    """
    coordinates = {axis: at for axis, at in axes.items() if at is not None}
    return extras.xarray.DataArray(values, coordinates, tuple(axes), name)


def _read(path: str | FilePath) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    path = _checked(check_file(path))
    arrays, text = dict[str, np.ndarray](), ""
    with open(path, "rb") as stream:
        try:
            if path.suffix == ".npz":
                with np.load(stream, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in file.files}
                line = str(arrays.pop(LINE))
            else:
                # Tested first, because HDF5 may read a damaged file without end.
                if (data := stream.read()) != _sealed(data):
                    raise ValueError
                with extras.h5py.File(io.BytesIO(data), "r") as file:
                    arrays, line = {name: file[name][()] for name in file}, str(file.attrs[LINE])
            digest, text = line.split(" ", 1)
            whole = digest == _digest(arrays, text)
        except DAMAGED:
            whole = False
    if not whole:
        raise SdeflowError(f"{path} is damaged, or was not written by sdeflow; write it again")
    return arrays, json.loads(text)


def _checked(path: str | FilePath) -> FilePath:
    if not isinstance(path, str | FilePath):
        raise TypeError(f"path must be the name of a file, got {type(path).__name__}")
    path = FilePath(path)
    if path.suffix not in (".npz", *HDF5):
        raise ValueError(f"{path} must end in .npz or .h5")
    if path.suffix in HDF5:
        assert extras.h5py  # or a sentence that names the extra
    return path


def _digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = arrays[name]
        found.update(f"{name} {value.dtype} {value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def _sealed(data: bytes) -> bytes:
    """The bytes of a .h5 file, with the digest of all but the first block in this block."""
    line = f"{LINE} {hashlib.sha256(data[BLOCK:]).hexdigest()}"
    return line.encode().ljust(BLOCK, b"\0") + data[BLOCK:]


def _as_array(value: Tensor) -> np.ndarray:
    value = value.detach().cpu().contiguous()
    if value.dtype is torch.bfloat16:  # numpy has no such type
        value = value.view(torch.int16)
    out: np.ndarray = value.numpy()
    return out


def _as_tensor(value: np.ndarray, kind: str) -> Tensor:
    out = torch.from_numpy(np.array(value))
    return out.view(torch.bfloat16) if kind == "torch.bfloat16" else out
