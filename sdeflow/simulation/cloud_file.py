"""Write and read clouds that are larger than memory, in the format zarr: `open_cloud`.

    cloud = open_cloud("cloud.zarr")
    cloud[:1000]                        # a numpy array; only the rows that are asked for are read

A chunk is written whole or not at all, with a check sum (CRC-32C) that is compared whenever it is
read. Needs zarr (`pip install 'sdeflow[large]'`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sdeflow._extras as extras
from sdeflow._validation import SdeflowError, check_file
from sdeflow.distributed import Layout, barrier
from sdeflow.provenance import provenance
from sdeflow.random_streams import BLOCK
from sdeflow.simulation.reducers import Reducer, State
from sdeflow.solvers.path import Path

FILE = ".zarr"
"""The end of the name of a file."""

X, AXES = "x", ("particle", "axis")
"""The names of the array in the file and of its axes."""


class CloudFile:
    """A cloud (n, d) in a file, read lazily by numpy's indexing.

    Attributes:
        path: of the file, a folder whose name ends in .zarr.
        shape: (n, d).
        dtype: of the numbers.
        provenance: what made the cloud.
        digest: of all its numbers, SHA-256 over those of its blocks of 4,096 particles.
    """

    def __init__(self, path: FilePath, group: Any) -> None:
        self.path, self._array = path, group[X]
        self.shape: tuple[int, int] = tuple(self._array.shape)
        self.dtype = self._array.dtype
        self.provenance: dict[str, str | int] = dict(group.attrs["provenance"])
        self.digest: str = group.attrs["digest"]
        end = group.attrs["end"]
        self._t, self._leg = float(end["t"]), int(end["leg"])
        self._began, self._seed = float(end["began"]), end["seed"] and int(end["seed"])

    def __len__(self) -> int:
        """n, the number of particles."""
        return self.shape[0]

    def __repr__(self) -> str:
        n, d = self.shape
        return f"cloud of {n:,} particles in {d} dimensions, {self.dtype}, in {self.path}"

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The rows that are asked for, as numpy would give them.

        Raises:
            IndexError: there are no such rows.
            SdeflowError: a chunk of them is damaged.
        """
        key = rows if isinstance(rows, tuple) and rows else (rows,)
        if all(isinstance(k, int | np.integer) or _rises(k) for k in key):
            return self._read(key)
        first, *rest = key
        if isinstance(first, slice):
            places = range(len(self))[first]
            up = places if places.step > 0 else places[::-1]
            block = self._read((slice(up.start, up.stop, up.step),))
            return block[(slice(None, None, 1 if places.step > 0 else -1), *rest)]
        at = np.asarray(first)
        if first is None or first is Ellipsis or (at.dtype == bool and at.ndim != 1):
            return self[:][rows]
        picked, place = np.unique(_places(at, len(self)), return_inverse=True)
        return self._read((picked,))[(place.reshape(-1 if at.dtype == bool else at.shape), *rest)]

    def __iter__(self) -> Iterator[np.ndarray]:
        """The particles one by one, (d,); a chunk of the file is read at a time."""
        for part in self._parts():
            yield from part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All particles, for np.asarray(cloud)."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def _parts(self) -> Iterator[np.ndarray]:
        rows = int(self._array.chunks[0])
        return (self[first : first + rows] for first in range(0, len(self), rows))

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        try:
            return np.asarray(self._array.oindex[key])
        except IndexError:
            raise
        except (ValueError, RuntimeError, OSError, EOFError) as error:
            raise SdeflowError(f"{self.path} is damaged ({error}); write it again") from None

    def part(self, first: int, count: int) -> Path:
        """The particles from number `first` on, as the end of the run that wrote them.

        So `solve` and `simulate` go on from there with other noise.
        """
        t = torch.tensor([self._t], dtype=torch.float64)
        x = torch.from_numpy(self[first : first + count])
        return Path(t, x[None], 0, 0.0, seed=self._seed, leg=self._leg, began=self._began)

    def verify(self) -> None:
        """Compare every number with the digest; SdeflowError if they differ."""
        if _digest(np.concatenate([block_digests(part) for part in self._parts()])) != self.digest:
            raise SdeflowError(f"{self.path} has other numbers than were written; write it again")

    def to_dask(self) -> Any:
        """A dask.array with the chunks of the file; needs dask."""
        return extras.dask_array.from_array(self._array, chunks=self._array.chunks)

    def to_xarray(self) -> Any:
        """An xarray.DataArray (particle, axis) that dask reads lazily; needs xarray and dask."""
        return extras.xarray.DataArray(self.to_dask(), dims=AXES, name=X)


def _rises(key: object) -> bool:
    return isinstance(key, slice) and (key.step is None or key.step > 0)


def _places(at: np.ndarray, n: int) -> np.ndarray:
    """The places in 0, ..., n - 1 that a mask or whole numbers, also negative ones, pick."""
    if at.dtype == bool:
        if len(at) != n:
            raise IndexError(f"a mask of {len(at)} entries does not fit a cloud of {n} particles")
        return np.flatnonzero(at)
    if at.size and at.dtype.kind not in "iu":
        raise IndexError(f"rows must be whole numbers, a slice or a mask, got {at.dtype}")
    if ((at < -n) | (at >= n)).any():
        raise IndexError(f"rows {at.min()} to {at.max()} are not all in a cloud of {n} particles")
    return np.where(at < 0, at + n, at).astype(np.int64)


def open_cloud(path: str | FilePath) -> CloudFile:
    """Open the cloud that `simulate(out="cloud.zarr")` wrote.

    Raises:
        OSError: there is no such file.
        SdeflowError: the run has not finished, the file is damaged, or zarr is missing.
    """
    path = check_file(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    try:
        group = extras.zarr.open_group(path, mode="r")
        about, array = dict(group.attrs), group[X]
        if about and about.pop("seal") != _seal(path, about):
            raise ValueError
        whole = bool(about) and array.nchunks_initialized == array.nchunks
        cloud = CloudFile(path, group) if whole else None
    except Exception:  # zarr raises a dozen different types for metadata that are damaged
        raise SdeflowError(f"{path} is damaged, or was not written by sdeflow") from None
    if not about:
        raise SdeflowError(f"the run that writes {path} has not finished; run it again to go on")
    if cloud is None:
        raise SdeflowError(f"{path} lacks chunks; write it again")
    return cloud


def create(path: FilePath, n: int, like: Tensor, chunk: int, here: Layout) -> Any:
    """The array of a new file for n particles like those of a cloud, or of an unfinished one."""
    shape, kind = (n, like.shape[1]), str(like.dtype).removeprefix("torch.")
    if like.dtype is torch.bfloat16:
        raise SdeflowError("zarr has no bfloat16; start from a cloud of float32")
    if here.is_writer:
        try:
            group = extras.zarr.open_group(path, mode="a")
        except ValueError:  # an array
            raise SdeflowError(f"{path} holds something else; give another name") from None
        if X not in group:
            group.create_array(
                X, shape=shape, chunks=(chunk, shape[1]), dtype=kind, fill_value=float("nan"),
                compressors=[extras.zarr.codecs.Crc32cCodec()], dimension_names=AXES,
            )  # fmt: skip
    barrier(here)
    array = extras.zarr.open_group(path, mode="r+")[X]
    if (tuple(array.shape), str(array.dtype)) != (shape, kind):
        raise SdeflowError(f"{path} holds another cloud; give another name, or remove it")
    return array


def close(path: FilePath, digests: Tensor, last: Path) -> None:
    """Mark a file as finished, with the digest of its blocks, its provenance and its noise."""
    end = {"t": float(last.t[-1]), "began": last.began, "seed": last.seed, "leg": last.leg}
    about = {"provenance": provenance(), "digest": _digest(digests.numpy()), "end": end}
    group = extras.zarr.open_group(path, mode="r+")
    group.attrs.update({**about, "seal": _seal(path, about)})


@dataclass(frozen=True)
class BlockDigests(Reducer):
    """Keeps the digest of each block of the last cloud, (blocks, 32) bytes."""

    def reduce(self, path: Path) -> State:
        return {"digests": torch.from_numpy(block_digests(path.x[-1].cpu().numpy()).copy())}

    def merge(self, left: State, right: State) -> State:
        return {"digests": torch.cat([left["digests"], right["digests"]])}

    def finish(self, state: State) -> Tensor:
        return state["digests"]


def block_digests(x: np.ndarray) -> np.ndarray:
    """The SHA-256 digest of each block of 4,096 rows of x (n, d), (blocks, 32) bytes."""
    blocks = (np.ascontiguousarray(x[k : k + BLOCK]) for k in range(0, len(x), BLOCK))
    digests = b"".join(hashlib.sha256(block.tobytes()).digest() for block in blocks)
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)


def _digest(digests: np.ndarray) -> str:
    """One digest of those of all blocks."""
    return hashlib.sha256(digests.tobytes()).hexdigest()


def _seal(path: FilePath, about: Mapping[str, object]) -> str:
    """A digest of all that describes the numbers of a file: their shape, their type, their run."""
    shape = (path / X / "zarr.json").read_bytes()
    return hashlib.sha256(shape + json.dumps(about, sort_keys=True).encode()).hexdigest()
