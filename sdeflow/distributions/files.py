r"""Read your own data from a file: a table of points, or a picture whose dark parts are likely.

The points of a table are equally likely. A picture is a density that is constant in each pixel,

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
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from sdeflow._validation import check_cloud, check_file
from sdeflow._wording import reason
from sdeflow.distributions.dataset import Dataset, from_points
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.distributions.text_tables import read_text

MAX_PIXELS = 4096**2
TEXTS = (".csv", ".tsv", ".txt")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


def from_file(path: str | os.PathLike[str]) -> Dataset:
    """The data set in a file: a table of points, or a picture whose dark parts are likely.

    `.csv`, `.tsv`, `.txt`: one point per line, with columns separated by semicolons, commas, tabs
    or blanks, and decimal points. The first line may be a header of names; # begins a comment, and
    so does % at the beginning of a line. An index column, a row of units and decimal commas are
    refused.
    `.npy`, `.npz`: an array (m, 2). In an archive it must be called `x` or `points`, or be the
    only array besides `labels` (m,), which may be missing.
    Two columns are x and y. A third column holds labels, which are whole numbers; `classes` are
    their distinct values in rising order, as text.

    `.png`, `.jpg`, `.bmp`, `.gif`, `.webp`: a density that is uniform in each pixel, which is as
    likely as it is dark (black 1, white or transparent 0). The picture is centred at 0, its longer
    side spans [-1, 1], and y points upwards. It has 4096 x 4096 pixels at most; of an animation
    the first frame is read.
    """
    file = check_file(path)
    suffix = file.suffix.lower()
    try:
        if file.is_dir():
            raise ValueError(f"{file} is a folder; give the path of a file in it")
        if not file.is_file():
            raise ValueError(f"{file} does not exist; check the path")
        if suffix in PICTURES:
            return _picture(file)
        if suffix in TEXTS:
            return _table(file, read_text(file), None)
        if suffix in ARRAYS:
            return _table(file, *_arrays(file))
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from None
    known = ", ".join((*TEXTS, *ARRAYS, *PICTURES))
    raise ValueError(f"{file} has a suffix that is not known; use one of {known}")


def _table(file: Path, table: np.ndarray, labels: np.ndarray | None) -> Dataset:
    """A point set from two columns, or from three with labels."""
    for what, array in (("array", table), ("labels", labels)):
        if array is not None and array.dtype.kind not in "fiu":
            fields = "; stack its columns in an array (m, 2)" if array.dtype.names else ""
            raise ValueError(f"{file}: {what} must hold real numbers, got {array.dtype}{fields}")
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        cure = "; transpose it" if table.ndim == 2 and len(table) in (2, 3) else ""
        raise ValueError(
            f"{file} must have 2 columns (x, y), or 3 with a label, got shape {table.shape}{cure}"
        )
    # A long double may overflow, and a NaN may signal; check_cloud refuses what comes of it.
    with np.errstate(over="ignore", invalid="ignore"):
        points = torch.from_numpy(np.array(table, dtype=np.float64))
    check_cloud(points, str(file))
    if table.shape[1] == 3:
        if labels is not None:
            raise ValueError(f"{file} has labels twice, as a column and as an array; keep one")
        points, labels = points[:, :2].contiguous(), table[:, 2]
    if labels is None:
        return from_points(points, name=str(file))
    which, classes = _classes(file, labels, len(points))
    return from_points(points, which, classes, name=str(file))


def _classes(file: Path, labels: np.ndarray, m: int) -> tuple[torch.Tensor, list[str]]:
    """Indices (m,) into the distinct labels, and these as text."""
    if labels.shape != (m,):
        raise ValueError(f"{file}: labels must be ({m},), got shape {labels.shape}")
    broken = ~np.isfinite(labels) | (labels != np.round(labels))
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(
            f"{file}: labels must be whole numbers, got {labels[row]} in row {row}; leave out a "
            "third coordinate, since only points of two dimensions can be read"
        )
    values, which = np.unique(labels, return_inverse=True)
    if len(values) > max(10, m // 2):
        raise ValueError(
            f"{file}: the labels have {len(values)} different values on {m} points, so that they "
            "seem to be an index or a coordinate; leave them out"
        )
    names = [f"{v:.0f}" if values.dtype.kind == "f" else str(v) for v in values]
    return torch.from_numpy(which.reshape(-1)), names


# ---------------------------------------------------------------------------- arrays and pictures


def _arrays(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The array of points of a numpy file, and its labels if there are any."""
    try:
        loaded = np.load(io.BytesIO(file.read_bytes()), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            arrays = {k: a for k in loaded.files if isinstance(a := loaded[k], np.ndarray)}
    except Exception as error:  # on bad bytes numpy, zipfile and zlib raise a dozen types
        raise ValueError(
            f"{file} is not an array of numbers ({reason(error)}); write one with numpy.save or "
            "numpy.savez"
        ) from None
    labels = arrays.pop("labels", None)
    for key in ("x", "points"):
        if key in arrays:
            return arrays[key], labels
    if len(arrays) != 1:
        raise ValueError(
            f"{file} holds arrays {sorted(arrays)}; call the one with the points `x` or `points`"
        )
    return next(iter(arrays.values())), labels


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
