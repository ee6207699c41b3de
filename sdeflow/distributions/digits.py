r"""Take pictures as data: scikit-learn's handwritten digits, or an array of your own.

    data = sf.datasets.digits()                         1,438 digits, and 359 held out
    data = sf.datasets.from_pictures(pictures, labels)  an array (m, rows, columns)

A picture is flattened to a point of channels x rows x columns coordinates; `Dataset.shape` keeps
its shape. Pictures are standardised as x = mean picture + std z, with one number std for all
pixels, so that the contrast between pixels is kept.
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
"""The file in scikit-learn's folder: rows of 64 pixels, 0 to 16, and a label."""

EVERY = 5
"""Of five digits, the last is held out."""


def digits() -> Dataset:
    """Handwritten digits of 8 x 8 pixels, values -1 to 1 (black to white), with ten classes.

        x = pixel / 8 - 1,    pixel = 0, 1, ..., 16

    There are 1,438 pictures, and 359 more, every fifth, in `.held_out`; the same 13 people wrote
    both. The pictures come with scikit-learn; without it this raises an SdeflowError.

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
            1 is usual. At least two must be distinct.
        labels: (m,) whole numbers 0, 1, ..., indices into `classes`.
        classes: the names of the classes; by default "0", "1", ...
        name: for reports and error messages.
        held_out: k: the last of every k pictures goes to `.held_out`; 0: none does.
    """
    x = _in_channels(pictures, name)
    every, m = check_int(held_out, "held_out", 0), len(x)
    if every == 1 or 0 < m < 2 * every:
        raise ValueError(
            f"held_out={every} of {m} {name} leaves too few; take 2 to {m // 2}, or 0"
        )
    shape, points = tuple(x.shape[1:]), x.flatten(1)
    label = None if labels is None else check_labels(labels, f"labels of {name}", None, m)
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


def _file() -> Path:
    """The file of the digits. scikit-learn is found without an import, which takes two seconds."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise SdeflowError("the digits come with scikit-learn: pip install 'sdeflow[images]'")
    file = Path(found.origin).parent / FILE
    if not file.is_file():
        raise SdeflowError(f"this scikit-learn has no file {FILE}; install version 1.4 or later")
    return file
