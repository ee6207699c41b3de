"""Read a table of numbers, and labels, from a numpy file, without executing anything in it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sdeflow._wording import reason
from sdeflow.distributions.columns import Table, choose

POINTS = ("x", "points")


def read_arrays(file: Path, columns: Sequence[str] = (), label: str | None = None) -> Table:
    """The table in a numpy file, or those of its columns that are asked for."""
    found = _loaded(file)
    if isinstance(found, np.ndarray):
        return _chosen(file, _matrix(file, found), (), columns, label)
    if columns and all(name in found and found[name].ndim == 1 for name in columns):
        points = np.stack([_numbers(file, found[n], n) for n in _even(file, found, columns)], 1)
        return Table(points, tuple(columns), _labels(file, found, label))
    key = _points(file, found)
    points = _matrix(file, found[key])
    names = _names(file, found.pop("columns", None), points.shape[1])
    if label is not None and label not in names and label in found and label != key:
        table = _chosen(file, points, names, columns, None, free=False)
        return replace(table, labels=_labels(file, found, label))
    if label is None and "labels" in found:
        table = _chosen(file, points, names, columns, None, free=False)
        return replace(table, labels=_labels(file, found, "labels"))
    return _chosen(file, points, names, columns, label)


def _chosen(
    file: Path, points: np.ndarray, names: Sequence[str], columns: Sequence[str],
    label: str | None, free: bool = True,
) -> Table:  # fmt: skip
    """The chosen columns of an array; `free` if the labels may be one of them."""
    choice = choose(file, names, points.shape[1], columns, label)
    if not free:
        choice = replace(choice, asked=True)
        if choice.label is not None:
            raise ValueError(f"{file} has labels twice, as a column and as an array; keep one")
    labels = None if choice.label is None else points[:, choice.label]
    return choice.table(file, points[:, list(choice.points)], labels)


def _loaded(file: Path) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a numpy file, or the arrays of an archive."""
    try:
        loaded = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return {k: a for k in loaded.files if isinstance(a := loaded[k], np.ndarray)}
    except Exception as error:  # on bad bytes numpy, zipfile and zlib raise a dozen types
        raise ValueError(
            f"{file} is not an array of numbers ({reason(error)}); write one with numpy.save or "
            "numpy.savez"
        ) from None


def _points(file: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """The name of the array with the points."""
    for key in POINTS:
        if key in arrays:
            return key
    rest = sorted(set(arrays) - {"labels", "columns"})
    if len(rest) != 1:
        raise ValueError(
            f"{file} holds arrays {rest}; call the one with the points `x` or `points`, or choose "
            "arrays (m,) by columns= (--columns)"
        )
    return rest[0]


def _matrix(file: Path, array: np.ndarray) -> np.ndarray:
    """An array (m, d); (m,) is one column."""
    array = _numbers(file, array, "array")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"{file} must hold points (m, d), got shape {array.shape}")
    return array


def _numbers(file: Path, array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        fields = "; stack its columns in an array (m, d)" if array.dtype.names else ""
        raise ValueError(f"{file}: {what} must hold real numbers, got {array.dtype}{fields}")
    return array


def _even(file: Path, arrays: Mapping[str, np.ndarray], columns: Sequence[str]) -> Sequence[str]:
    """Check that columns have one length."""
    sizes = {name: len(arrays[name]) for name in columns}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"{file}: columns have different lengths, {sizes}; give them one length")
    return columns


def _names(file: Path, names: np.ndarray | None, d: int) -> list[str]:
    """The names of the columns in an archive."""
    if names is None:
        return []
    if names.dtype.kind != "U" or names.shape != (d,):
        raise ValueError(f"{file}: columns must be {d} names, got {names.dtype} {names.shape}")
    return [str(name) for name in names]


def _labels(file: Path, arrays: Mapping[str, np.ndarray], label: str | None) -> np.ndarray | None:
    """The labels in an array of that name."""
    if label is None:
        label = "labels" if "labels" in arrays else None
        if label is None:
            return None
    if label not in arrays:
        raise ValueError(f"{file} has no array {label!r}; it holds {', '.join(sorted(arrays))}")
    if arrays[label].dtype.kind not in "fiuU":
        raise ValueError(
            f"{file}: labels must hold whole numbers or text, got {arrays[label].dtype}"
        )
    return arrays[label]
