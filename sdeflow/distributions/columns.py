r"""Choose the columns of a table that are coordinates, and the one that holds classes.

Nothing is guessed. Without a choice, a column called class, label or kind holds classes, as does
the third of three columns if it has no other name and all its numbers are whole; every other
column is a coordinate. A column of text, or one of whole numbers at the end, must be named.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import shown
from sdeflow.random_streams import Stream, random_generator

LABELS = ("class", "classes", "label", "labels", "kind")
"""Names of columns that hold classes."""

FEW = 10  # distinct whole numbers in a last column that may be classes


@dataclass(frozen=True, eq=False)
class Table:
    """The columns of a file: points (m, d), their names if there are any, and labels (m,)."""

    points: np.ndarray
    names: tuple[str, ...] = ()
    labels: np.ndarray | Sequence[str] | None = None


@dataclass(frozen=True)
class Choice:
    """The columns of a table that are coordinates, and the one that holds labels.

    Attributes:
        names: a name for each column of the file; "1", "2", ... without a header.
        points, label: numbers of columns, from 0.
        named: whether the file has names.
        asked: whether the coordinates were chosen by name.
    """

    names: tuple[str, ...]
    points: tuple[int, ...]
    label: int | None = None
    named: bool = False
    asked: bool = False

    def cure(self, at: int) -> str:
        """How to say what a column of text or of whole numbers is."""
        rest = _some([self.names[k] for k in self.points if k != at]) or "NAME"
        name = self.names[at]
        return (
            f"name the column of the classes, label={name!r} (--label {name}), or choose columns, "
            f"columns={rest!r} (--columns)"
        )

    def table(
        self, file: Path, points: np.ndarray, labels: np.ndarray | Sequence[str] | None = None
    ) -> Table:
        """The table of the points (m, len(self.points)); a last column may still be labels."""
        names = tuple(self.names[k] for k in self.points) if self.named else ()
        found = Table(points, names, labels)
        if self.asked or self.label is not None:
            return found
        return _split_label(file, found, self)


def _some(names: Sequence[str]) -> str:
    """The names with commas between them; of many, the first two and the last."""
    return ",".join(names if len(names) < 6 else (*names[:2], "...", names[-1]))


def choose(
    file: Path, header: Sequence[str], count: int, columns: Sequence[str], label: str | None
) -> Choice:
    """Choose among `count` columns, by name if `columns` or `label` are given.

    The names are those of the header, or "1", "2", ... without one.
    """
    names = tuple(header) if header else tuple(str(k + 1) for k in range(count))
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"{file} has two columns {twice[0]!r}; give every column its own name")

    def found(name: str) -> int:
        if name in names:
            return names.index(name)
        known = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
        alike = [known for known in names if known.casefold() == name.casefold()]
        hint = f"; {alike[0]!r} is written so" if alike else ""
        told = f"the columns are {known}" if header else f"its {count} columns are called {known}"
        raise ValueError(f"{file} has no column {name!r}: {told}{hint}")

    which: int | None = None
    if label is not None:
        which = found(label)
    elif not columns and header:
        several = [k for k, name in enumerate(names) if name.casefold() in LABELS]
        if len(several) > 1:
            both = " and ".join(repr(names[k]) for k in several)
            raise ValueError(f"{file}: {both} may both hold classes; name one by label=, --label")
        which = several[0] if several else None
    points = tuple(map(found, columns)) or tuple(k for k in range(count) if k != which)
    if which in points:
        raise ValueError(
            f"{file}: {names[which or 0]!r} is chosen as a coordinate and as the label; choose it "
            "once"
        )
    if not points:
        raise ValueError(f"{file} has no column of coordinates beside {label!r}; add one")
    return Choice(names, points, which, bool(header), bool(columns))


def _split_label(file: Path, table: Table, choice: Choice) -> Table:
    """Take the last column for labels, or refuse, if it may hold classes."""
    points, d = table.points, table.points.shape[1]
    if d < 3 or (table.names and re.split(r"[^\w]", table.names[-1].lower())[0] == "z"):
        return table
    last = points[:, -1]
    if not _whole(last).all():
        return table
    if d == 3 and not table.names:
        return replace(table, points=points[:, :2], labels=last)
    others = points[:, :-1]
    if len(np.unique(last)) > FEW or _whole(others).all(0).any():
        return table
    name, every = choice.names[-1], _some(choice.names)
    raise ValueError(
        f"{file}: the last column {name!r} has {len(np.unique(last))} whole numbers, so it may "
        f"hold classes; {choice.cure(choice.points[-1])}, or for a coordinate, columns={every!r}"
    )


def _whole(values: np.ndarray) -> np.ndarray:
    """Which values are whole numbers; a NaN from a damaged file may signal, and is none."""
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.isfinite(values) & (values == np.round(values))
    return found


def as_names(columns: object) -> tuple[str, ...]:
    """The names of columns: a text with commas, in which a name with a comma is in quotes."""
    if columns is None:
        return ()
    if isinstance(columns, str):
        try:
            rows = list(csv.reader(io.StringIO(columns), skipinitialspace=True, strict=True))
        except csv.Error:
            rows = []
        found = [name.strip() for name in rows[0]] if len(rows) == 1 else []
    elif isinstance(columns, list | tuple) and all(isinstance(name, str) for name in columns):
        found = list(columns)
    else:
        raise TypeError(f"columns must be names, such as 'x,y,z', got {shown(columns)}")
    if not found or not all(found):
        raise ValueError(
            f"columns must be names with commas between, such as x,y,z, got {columns!r}"
        )
    if len(set(found)) < len(found):
        raise ValueError(f"columns names one column twice, got {columns!r}; name each once")
    return tuple(found)


def check_columns(columns: object, d: int) -> tuple[str, ...]:
    """Return the names of d coordinates, which differ, or none."""
    if not isinstance(columns, list | tuple) or not all(isinstance(c, str) for c in columns):
        raise TypeError(f"columns must be a list of names, got {shown(columns)}")
    if columns and len(columns) != d:
        raise ValueError(f"columns must name each of {d} coordinates, got {len(columns)} names")
    if len(set(columns)) < len(columns):
        raise ValueError(f"columns must have different names, got {', '.join(columns)}")
    return tuple(columns)


def as_text(names: Sequence[str]) -> str:
    """The names with commas between them, as `as_names` reads them."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(names)
    return out.getvalue()


# ----------------------------------------------------------------------------------------- classes


def classes_of(
    file: Path, labels: np.ndarray | Sequence[str], m: int
) -> tuple[Tensor, tuple[str, ...]]:
    """Indices (m,) into the distinct labels, and these as text.

    Labels that are numbers must be whole, and their classes are in rising order; the classes of
    other labels are in the order of the alphabet.
    """
    found = np.asarray(labels)
    if found.shape != (m,):
        raise ValueError(f"{file}: labels must be ({m},), got shape {found.shape}")
    if found.dtype.kind in "US":
        found = found.astype(str)
        numbers = _as_numbers(found)
        found = found if numbers is None else numbers
    if found.dtype.kind == "U":
        _check_texts(file, found)
        values, which = np.unique(found, return_inverse=True)
        names = [str(v) for v in values]
    else:
        broken = ~_whole(found)
        if broken.any():
            row = int(broken.argmax())
            raise ValueError(
                f"{file}: labels must be whole numbers or text, got {found[row]} in row {row}; "
                "choose another column for the label"
            )
        values, which = np.unique(found, return_inverse=True)
        names = [f"{v:.0f}" if values.dtype.kind == "f" else str(v) for v in values]
    if len(values) > max(10, m // 2):
        raise ValueError(
            f"{file}: the labels have {len(values)} different values on {m} points, so that they "
            "seem to be an index or a coordinate; leave them out, or name the coordinates by "
            "columns= (--columns)"
        )
    return torch.from_numpy(which.reshape(-1)), tuple(names)


def _as_numbers(texts: np.ndarray) -> np.ndarray | None:
    """The texts as numbers, or None if one of them is none."""
    try:
        return None if any("_" in text for text in texts) else texts.astype(np.float64)
    except ValueError:
        return None


def _check_texts(file: Path, texts: np.ndarray) -> None:
    """Refuse empty names of classes, and two that differ only in capitals or blanks."""
    alike: dict[str, str] = {}
    for name in map(str, np.unique(texts)):
        if not name.strip():
            raise ValueError(f"{file}: a label is empty; give every point a class")
        other = alike.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            raise ValueError(
                f"{file}: the classes {other!r} and {name!r} differ only in capitals or blanks; "
                "write them alike"
            )


def chosen_rows(m: int, labels: Tensor | None, share: float, seed: int) -> Tensor:
    """Choose a share of m rows, of each label alike: (m,), True for floor(share count) of each."""
    order = torch.from_numpy(random_generator(seed, Stream.CHOICE).permutation(m))
    of = torch.zeros(m) if labels is None else labels.cpu()
    out = torch.zeros(m, dtype=torch.bool)
    for label in of.unique():
        rows = order[of[order] == label]
        out[rows[: int(share * len(rows))]] = True
    return out
