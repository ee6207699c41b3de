r"""Read your own data from a file: a table of points, or a picture whose dark parts are likely.

The points of a table, of any dimension, are equally likely. A picture is a density that is
constant in each pixel,

    p(x) = dark(x) / int dark,    dark from 0 (white or transparent) to 1 (black).

A file that does not give a distribution with finite mean and standard deviation is refused, with a
ValueError that names the file, the line and the cure. Nothing in a file is executed: pickled
arrays are refused, and only the decoders of the formats listed here are called.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from sdeflow._validation import check_cloud, check_file, shown
from sdeflow._wording import reason
from sdeflow.distributions.array_tables import read_arrays
from sdeflow.distributions.columns import Table, as_names, classes_of
from sdeflow.distributions.dataset import Dataset, from_points
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.distributions.text_tables import read_text

MAX_PIXELS = 4096**2
TEXTS = (".csv", ".tsv", ".txt")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


def from_file(
    path: str | os.PathLike[str],
    *,
    columns: str | Sequence[str] | None = None,
    label: str | None = None,
) -> Dataset:
    """The data set in a file: a table of points, or a picture whose dark parts are likely.

        from_file("cells.csv", columns="x,y,z", label="species")

    `.csv`, `.tsv`, `.txt`: one point per line, with columns separated by semicolons, commas, tabs
    or blanks, and decimal points. The first line may be a header of names, which are kept. # after
    a blank begins a comment, and so does % at the beginning of a line. An index column, a row of
    units and decimal commas are refused.
    `.npy`, `.npz`: an array (m, d). In an archive it must be called `x` or `points`, or be the
    only array besides `labels` (m,) and names `columns` (d,), which may be missing; or each
    column is an array (m,), and `columns` chooses some by name.
    Every column is a coordinate. Classes are in a column called class, label or kind, or in the
    third of three columns without names if its numbers are whole. `classes` are the distinct
    labels as text: whole numbers in rising order, or texts in the order of the alphabet.

    `.png`, `.jpg`, `.bmp`, `.gif`, `.webp`: a density that is uniform in each pixel, which is as
    likely as it is dark (black 1, white or transparent 0). The picture is centred at 0, its longer
    side spans [-1, 1], and y points upwards. It has 4096 x 4096 pixels at most; of an animation
    the first frame is read.

    Args:
        path: the file.
        columns: names of the coordinates, such as "x,y,z"; without a header the columns are
            called 1, 2, ....
        label: the name of the column with the classes.
    """
    file = check_file(path)
    suffix, names = file.suffix.lower(), as_names(columns)
    if label is not None and not isinstance(label, str):
        raise TypeError(f"label must be the name of a column, got {shown(label)}")
    try:
        if file.is_dir():
            raise ValueError(f"{file} is a folder; give the path of a file in it")
        if not file.is_file():
            raise ValueError(f"{file} does not exist; check the path")
        if suffix in PICTURES:
            if names or label is not None:
                raise ValueError(f"{file} is a picture, which has no columns; leave them out")
            return _picture(file)
        if suffix in TEXTS:
            return _dataset(file, read_text(file, names, label))
        if suffix in ARRAYS:
            return _dataset(file, read_arrays(file, names, label))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
    known = ", ".join((*TEXTS, *ARRAYS, *PICTURES))
    raise ValueError(f"{file} has a suffix that is not known; use one of {known}")


def _dataset(file: Path, table: Table) -> Dataset:
    """A point set from the columns of a table."""
    # A long double may overflow, and a NaN may signal; check_cloud refuses what comes of it.
    with np.errstate(over="ignore", invalid="ignore"):
        points = torch.from_numpy(np.array(table.points, dtype=np.float64))
    check_cloud(points, str(file))
    m, d = points.shape
    if m <= 3 < d:
        raise ValueError(
            f"{file} has {m} points of {d} columns; transpose it, or give more points"
        )
    if table.labels is None:
        return from_points(points, name=str(file), columns=table.names)
    which, classes = classes_of(file, table.labels, m)
    return from_points(points, which, classes, name=str(file), columns=table.names)


# ---------------------------------------------------------------------------------------- pictures


def _picture(file: Path) -> Dataset:
    """A picture as a density constant in each pixel, which is as likely as it is dark."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, checked below, and bad metadata
            image = Image.open(io.BytesIO(file.read_bytes()), formats=FORMATS)
            size = image.size
            dark = _darkness(image) if math.prod(size) <= MAX_PIXELS else None
    except Image.DecompressionBombError:
        size, dark = None, None
    except UnidentifiedImageError:
        raise ValueError(
            f"{file} is not a picture that can be read; save it again, as a .png"
        ) from None
    except Exception as error:  # on bad bytes Pillow's decoders raise a dozen different types
        raise ValueError(
            f"{file} is not a picture that can be read ({reason(error)}); save it again, as a .png"
        ) from None
    if dark is None:
        shape = "it" if size is None else f"{size[0]} x {size[1]} pixels"
        raise ValueError(f"{file} is too large ({shape}); shrink it to 4096 x 4096 at most")
    if not dark.any():
        raise ValueError(f"{file} has no dark pixels; draw dark on white or on transparent")
    weights = torch.from_numpy(dark[::-1].copy())
    rows, columns = weights.shape
    side = 2 / max(rows, columns)
    low = torch.tensor([-columns * side / 2, -rows * side / 2], dtype=torch.float64)
    return Dataset(str(file), PiecewiseConstant(low, side, weights), isotropic=True)


def _darkness(image: Image.Image) -> np.ndarray:
    """1 for black to 0 for white or transparent, (rows, columns) in float64, the top row first."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey
        return 1 - np.asarray(image, dtype=np.float64) / 65535
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    grey = np.asarray(Image.alpha_composite(white, image).convert("L"), dtype=np.float64)
    return 1 - grey / 255
