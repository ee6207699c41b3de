r"""Take pictures as data: scikit-learn's handwritten digits, or an array of your own.

    data = sf.datasets.digits()                         1,438 digits, and 359 held out
    data = sf.datasets.from_pictures(pictures, labels)  an array (m, rows, columns)

A picture is flattened to a point of channels x rows x columns coordinates; `Dataset.shape` keeps
its shape. Units are one number: the mean picture is the centre, the root-mean-square deviation
from it the scale, so that contrast between pixels keeps its meaning.

    x = mean picture + std z
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_int, check_labels, check_numbers
from sdeflow.distributions.dataset import Dataset, from_points

FILE = "datasets/data/digits.csv.gz"
"""In scikit-learn's folder: rows of 64 pixels, 0 to 16, and a label."""

EVERY = 5
"""Of the digits, the last of each five is held out."""


def digits() -> Dataset:
    """Handwritten digits of 8 x 8 pixels, values -1 to 1 (black to white), with ten classes.

        x = pixel / 8 - 1,    pixel = 0, 1, ..., 16

    1,438 pictures; every fifth, 359 in all, is in `.held_out`. The same 13 writers are in both. It
    needs scikit-learn, which brings the pictures with it.

    Raises:
        SdeflowError: scikit-learn is not installed, or does not hold them.

    Source: Alpaydin and Kaynak 1998; scikit-learn's `load_digits`.
    """
    table = np.loadtxt(_file(), delimiter=",")
    pictures = table[:, :-1].reshape(-1, 8, 8) / 8 - 1
    return from_pictures(pictures, table[:, -1].astype(int), name="digits", held_out=EVERY)


COLOURS = (1, 3, 4)
"""Usual numbers of channels: grey, colour, colour with transparency."""


def from_pictures(
    pictures: Tensor | np.ndarray | Sequence,
    labels: Tensor | np.ndarray | Sequence[int] | None = None,
    classes: Sequence[str] = (),
    *,
    name: str = "pictures",
    held_out: int = 0,
) -> Dataset:
    """A data set of m equally likely pictures, as points with a `shape`.

    Args:
        pictures: (m, rows, columns) of grey, or (m, channels, rows, columns), in any units; -1 to
            1 is usual.
        labels: (m,) whole numbers 0, 1, ..., an index into `classes`.
        classes: their names; by default "0", "1", ...
        name: printed in reports and error messages.
        held_out: k: the last of each k pictures is kept out, in `.held_out`; 0: none is.

    Raises:
        TypeError, ValueError: not an array of that shape, fewer than two distinct pictures, labels
            or classes that do not fit.
    """
    x = _in_channels(pictures, name)
    every, m = check_int(held_out, "held_out", 0), len(x)
    if every == 1 or 0 < m < 2 * every:
        raise ValueError(
            f"held_out={every} of {m} {name} leaves too few; take 2 to {m // 2}, or 0"
        )
    shape, points = tuple(x.shape[1:]), x.flatten(1)
    label = None if labels is None else _checked_labels(labels, m, name)
    if label is not None and not classes:
        classes = [str(k) for k in range(int(label.max()) + 1)]

    def part(which: Tensor | slice, rest: Dataset | None = None) -> Dataset:
        mine = from_points(
            points[which], None if label is None else label[which], classes, name=name
        )
        return replace(mine, isotropic=True, shape=shape, held_out=rest)

    if not every:
        return part(slice(None))
    last = torch.arange(m) % every == every - 1
    return part(~last, part(last))


def _in_channels(pictures: object, name: str) -> Tensor:
    """The pictures as (m, channels, rows, columns)."""
    x = check_numbers(pictures, name)
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or not x.numel():
        raise ValueError(
            f"{name} must be (m, rows, columns) or (m, channels, rows, columns), got shape "
            f"{tuple(x.shape)}"
        )
    if x.shape[3] in COLOURS and x.shape[1] not in COLOURS:
        raise ValueError(
            f"{name} seems to have its channels last, {tuple(x.shape)}; move them to the front "
            "with array.transpose(0, 3, 1, 2), or permute for a tensor"
        )
    return x


def _checked_labels(labels: object, m: int, name: str) -> Tensor:
    label = check_labels(labels, f"labels of {name}")
    if label.shape != (m,):
        raise ValueError(
            f"labels of {name} must be ({m},), one per picture, got {tuple(label.shape)}"
        )
    return label


def _file() -> Path:
    """Where scikit-learn keeps the digits. It is not imported, which takes two seconds."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise SdeflowError("the digits come with scikit-learn: pip install 'sdeflow[images]'")
    file = Path(found.origin).parent / FILE
    if not file.is_file():
        raise SdeflowError(f"scikit-learn here does not hold {FILE}; install version 1.4 or later")
    return file
