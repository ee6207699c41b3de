r"""Read your own data: a table of points, or a picture whose dark parts are the density.

A table is a set of points, equally likely. A picture is a density that is constant inside a pixel,

    p(x) = dark(x) / int dark,    dark = 1 (black) ... 0 (white, or transparent).

A file is read into a distribution with finite mean and standard deviation, or it is refused with a
ValueError that names the file, the line and the cure; `text_tables` reads the text. Nothing in a
file is executed: pickled arrays are refused, and only the decoders of the formats listed here are
called.
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

from sdeflow._validation import check_cloud
from sdeflow.distributions.dataset import Dataset, from_points
from sdeflow.distributions.piecewise import PiecewiseConstant
from sdeflow.distributions.text_tables import read_text

MAX_PIXELS = 4096**2
TEXTS = (".csv", ".tsv", ".txt")
ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")


def from_file(path: str | os.PathLike[str]) -> Dataset:
    """Read a table of points, or a picture whose dark parts are the density.

    `.csv`, `.tsv`, `.txt`: one point per line, split at semicolons, commas, tabs or blanks;
    numbers take a decimal point; a first line of names is a header; # starts a comment, % a line
    of it. An index, a row of units or decimal commas are refused.
    `.npy`, `.npz`: an array (m, 2); in an archive it is called `x` or `points`, or is the only one
    beside `labels` (m,), which may be missing. Pickled arrays are refused.
    Two columns are x and y. A third holds whole-number labels; `classes` are their distinct
    values, as text and in order, and `labels` count these from 0.

    `.png`, `.jpg`, `.bmp`, `.gif`, `.webp`: uniform inside pixels, each as likely as it is dark
    (black 1, white or transparent 0). The picture is centred on 0, y points upwards, the longer
    side spans [-1, 1]. Of an animation the first frame counts. 4096 x 4096 pixels at most.

    Raises:
        TypeError: path is no path.
        ValueError: no such file, an unknown suffix, or contents that are none of the above.
    """
    try:
        file = Path(path)
    except TypeError:
        raise TypeError(f"path must name a file, got {type(path).__name__}") from None
    suffix = file.suffix.lower()
    try:
        if file.is_dir():
            raise ValueError(f"{file} is a folder; name a file in it")
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
    raise ValueError(f"{file} has no suffix that is known here; use one of {known}")


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
    with np.errstate(over="ignore"):  # a long double may not fit; then it is infinite, and refused
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
            f"{file}: labels must be whole numbers, got {labels[row]} in row {row}; "
            "points of three dimensions cannot be read"
        )
    values, which = np.unique(labels, return_inverse=True)
    if len(values) > max(10, m // 2):
        raise ValueError(
            f"{file}: the labels have {len(values)} different values on {m} points, which is an "
            "index or a coordinate; leave it out"
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
            f"{file} is no plain numpy array ({error}); write it with numpy.save or numpy.savez, "
            "without objects"
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
    """A picture as pixels, each as likely as it is dark."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on size, which is checked below, and on odd metadata
            image = Image.open(io.BytesIO(file.read_bytes()), formats=FORMATS)
            size = image.size
            dark = _darkness(image) if math.prod(size) <= MAX_PIXELS else None
    except Image.DecompressionBombError:
        size, dark = None, None
    except UnidentifiedImageError:
        raise ValueError(f"{file} is no picture that can be read") from None
    except Exception as error:  # on bad bytes Pillow's decoders raise a dozen different types
        raise ValueError(f"{file} is no picture that can be read ({error})") from None
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
    """1 for black, 0 for white or transparent, (rows, columns), float64, first row on top."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits of grey
        return 1 - np.asarray(image, dtype=np.float64) / 65535
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        image = image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    grey = np.asarray(Image.alpha_composite(white, image).convert("L"), dtype=np.float64)
    return 1 - grey / 255
