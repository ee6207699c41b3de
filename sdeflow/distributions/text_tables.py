r"""Read a table of numbers from a text file, such as csv, or refuse the file in one sentence.

Nothing is guessed: a file whose header, index column, units or decimal commas are not clear is
refused, with the number of the line and the cure. csv.Sniffer is not used because it takes some
points for a header, and numpy.loadtxt is not because it reads 1e999 as infinity and counts rows
instead of lines.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MISSING = ("", "na", "n/a", "nan", "null", "none", "nil", "inf", "-", "?")
INDEX = ("id", "ids", "idx", "index", "no.", "nr", "nr.", "row", "unnamed")
ROWS = 4  # a first column that counts this many lines from 0 or 1 is an index
MANY = 10  # and so is one that counts this many lines from another number
WHOLE = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class _Line:
    """A line that is neither empty nor a comment, split at its delimiter (None: at blanks)."""

    place: str
    delimiter: str | None
    cells: list[str]

    def names_columns(self) -> bool:
        """Whether every cell may be the name of a column; the first may be empty, as in pandas."""
        return all(map(_is_name, self.cells[self.cells[0] == "" :]))

    def counts_columns(self) -> bool:
        """Whether the cells are 0, 1, ..., as in pandas' header for columns without names."""
        cells = self.cells[self.cells[0] == "" :]
        return len(cells) > 1 and cells == [str(k) for k in range(len(cells))]

    def may_be_decimal(self) -> bool:
        """Whether the line may be one number with a decimal comma."""
        return (
            self.delimiter == ","
            and len(self.cells) == 2
            and WHOLE.fullmatch(self.cells[0]) is not None
            and re.fullmatch("[0-9]+", self.cells[1]) is not None
        )

    def numbers(self) -> list[float]:
        """The cells as finite numbers."""
        if len(self.cells) > 2 and self.cells[-1] == "":
            raise ValueError(
                f"{self.place} ends in {self.delimiter!r}; remove it, or fill the last column"
            )
        found = [_number(self.place, cell) for cell in self.cells]
        if not all(map(math.isfinite, found)):
            raise ValueError(f"{self.place} has NaN or infinite entries; drop that line")
        return found


def read_text(file: Path) -> np.ndarray:
    """The numbers of a text file (m, columns)."""
    header: list[str] = []
    rows: list[list[float]] = []
    first: _Line | None = None
    column: list[str] = []  # the first column, as text
    whole, digits = True, 0  # whether all lines may be decimals with a comma; the most digits
    for line in _lines(file):
        if not header and not rows and _is_header(line):
            header = line.cells
            continue
        if header and not rows and line.names_columns():
            raise ValueError(
                f"{line.place}: {line.cells[0][:40]!r} is not a number; leave out a second line "
                "of text, such as units"
            )
        row = line.numbers()
        if rows and len(row) != len(rows[0]):
            raise ValueError(
                f"{line.place} has {len(row)} columns, the lines before it {len(rows[0])}; give "
                "all lines the same number"
            )
        rows.append(row)
        first = first or line
        column.append(line.cells[0])
        whole = whole and line.may_be_decimal()
        digits = max(digits, len(line.cells[-1]))
    if first is None:
        raise ValueError(f"{file} is empty; give one point per line")
    _check_header(first, header)
    _check_no_count(first, column)
    if not header and whole and digits > 1:
        raise ValueError(
            f"{first.place}: {','.join(first.cells)} may be one number with a decimal comma or "
            "two whole numbers; write decimals with a point, or add a header x,y"
        )
    return np.array(rows)


def _is_header(line: _Line) -> bool:
    if line.counts_columns():
        index = ", with an index before them" if line.cells[0] == "" else ""
        raise ValueError(
            f"{line.place} seems to be a header with the numbers of the columns{index}; leave it "
            "out (pandas: header=False, index=False), or write 0.0 for 0 if it is a point"
        )
    return line.names_columns()


def _check_header(first: _Line, header: list[str]) -> None:
    """Refuse a header with other columns than coordinates and a label."""
    if header and (header[0] == "" or (len(header), len(first.cells)) == (2, 3)):
        raise ValueError(
            f"{first.place} starts with an index, which is not a coordinate; write the file "
            "without it (pandas: index=False)"
        )
    if header and len(header) != len(first.cells):
        raise ValueError(
            f"{first.place} has {len(first.cells)} columns, the header {len(header)}; give every "
            "column a name, and write decimals with a point"
        )
    names = [re.split(r"[^\w.#]", name.lower())[0] for name in header]
    if names and names[0] in INDEX:
        raise ValueError(
            f"{first.place}: the column {header[0]!r} is an index and not a coordinate; leave it "
            "out, or give it another name if it is a coordinate"
        )
    if len(names) > 2 and names[2] == "z":
        raise ValueError(
            f"{first.place}: points of three dimensions cannot be read; keep two columns, or call "
            "the third `label` if it is a label"
        )


def _check_no_count(first: _Line, column: list[str]) -> None:
    """Refuse a first column that numbers the lines."""
    start, m = column[0], len(column)
    if not WHOLE.fullmatch(start) or m < (ROWS if start in ("0", "1") else MANY):
        return
    if column == [str(k) for k in range(int(start), int(start) + m)]:
        raise ValueError(
            f"{first.place}: the first column counts the lines, as an index does; leave it out, "
            f"or write {column[0]}.0 for {column[0]} if it is a coordinate"
        )


def _lines(file: Path) -> Iterator[_Line]:
    delimiters = ";,\t"
    for at, line in enumerate(_decoded(file).split("\n"), 1):
        line = "" if line.startswith("%") else line.split("#")[0].strip(" \r")
        if at == 1 and re.fullmatch(r"sep=[;,\t]", line):  # Excel names the delimiter so
            delimiters = line[-1]
        elif line.strip():
            bare = re.sub('"[^"]*"', "", line)  # a mark in quotes is not a delimiter
            delimiter = next((mark for mark in delimiters if mark in bare), None)
            cells = line.split(delimiter)
            if delimiter is not None and bare != line:
                try:
                    cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
                except csv.Error as error:
                    raise ValueError(f"{file}, line {at} cannot be read: {error}") from None
            cells = [cell.strip().strip("\"'").strip() for cell in cells]
            yield _Line(f"{file}, line {at}", delimiter, cells)


def _decoded(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 if it begins with a byte order mark."""
    content = file.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            f"{file} is not text in UTF-8, but perhaps in Latin-1; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise ValueError(f"{file} is not text in UTF-8, but perhaps in UTF-16; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_name(cell: str) -> bool:
    """Whether a cell begins with a letter and does not stand for a missing value."""
    return cell.lower() not in MISSING and bool(re.match(r"[^\w]*[^\W\d_]", cell))


def _number(place: str, cell: str) -> float:
    try:
        if "_" not in cell:  # Python reads 1_0 as ten
            return float(cell)
    except ValueError:
        pass
    if cell.lower() in MISSING:
        raise ValueError(f"{place}: {cell!r} is a missing value; drop that line")
    raise ValueError(
        f"{place}: {cell[:40]!r} is not a number; write decimals with a point, exponents with an "
        "e, labels as whole numbers"
    )
