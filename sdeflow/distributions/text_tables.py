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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdeflow.distributions.columns import Choice, Table, choose

MISSING = ("", "na", "n/a", "nan", "null", "none", "nil", "inf", "-", "?")
INDEX = ("id", "ids", "idx", "index", "no.", "nr", "nr.", "row", "unnamed")
ROWS = 4  # a first column that counts this many lines from 0 or 1 is an index
MANY = 10  # and so is one that counts this many lines from another number
WHOLE = re.compile(r"[+-]?[0-9]+")
UNLABELLED = ("", "nan", "NaN", "NA", "N/A", "null", "NULL")  # "Na" may be a class, sodium
COMMENT = re.compile(r"""^((?:[^"#]|"[^"]*"|(?<=[^\s])#)*)(?<![^\s])#.*""")


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

    def numbers(self, choice: Choice, first: bool) -> list[float]:
        """The cells of the chosen columns as finite numbers; `first` in the first line of them."""
        if len(self.cells) > 2 and self.cells[-1] == "" and not (choice.asked or choice.named):
            raise ValueError(
                f"{self.place} ends in {self.delimiter!r}; remove it, or fill the last column"
            )
        found = [self._number(choice, at, first) for at in choice.points]
        if not all(map(math.isfinite, found)):
            raise ValueError(f"{self.place} has NaN or infinite entries; drop that line")
        return found

    def _number(self, choice: Choice, at: int, first: bool) -> float:
        cell = self.cells[at]
        try:
            if "_" not in cell:  # Python reads 1_0 as ten
                return float(cell)
        except ValueError:
            pass
        if cell.lower() in MISSING:
            raise ValueError(f"{self.place}: {cell!r} is a missing value; drop that line")
        where = f" in column {choice.names[at]!r}" if choice.named else ""
        cure = f", or {choice.cure(at)}" if first and _is_name(cell) and not choice.asked else ""
        raise ValueError(
            f"{self.place}: {cell[:40]!r}{where} is not a number; write decimals with a point, "
            f"exponents with an e{cure}"
        )

    def label(self, at: int) -> str:
        """The label in one cell."""
        if self.cells[at] in UNLABELLED:
            raise ValueError(
                f"{self.place}: {self.cells[at]!r} is a missing label; drop that line, or give it "
                "a class"
            )
        return self.cells[at]


def read_text(file: Path, columns: Sequence[str] = (), label: str | None = None) -> Table:
    """The table in a text file, or those of its columns that are asked for."""
    header: list[str] = []
    rows: list[list[float]] = []
    labels: list[str] = []
    first, choice = None, Choice((), ())
    column: list[str] = []  # the first column of points, as text
    whole, digits = True, 0  # whether all lines may be decimals with a comma; the most digits
    for line in _lines(file):
        if not header and first is None and _is_header(line):
            header = line.cells
            continue
        if header and first is None and line.names_columns():
            raise ValueError(
                f"{line.place}: {line.cells[0][:40]!r} is not a number; leave out a second line "
                "of text, such as units"
            )
        if first is None:
            first = line
            _check_header(line, header, bool(columns))
            choice = choose(file, header, len(line.cells), columns, label)
        _check_count(line, first)
        rows.append(line.numbers(choice, not rows))
        if choice.label is not None:
            labels.append(line.label(choice.label))
        column.append(line.cells[choice.points[0]])
        whole = whole and line.may_be_decimal()
        digits = max(digits, len(line.cells[-1]))
    if first is None:
        raise ValueError(f"{file} is empty; give one point per line")
    if not columns:
        _check_no_count(first, column)
    if not header and whole and digits > 1:
        raise ValueError(
            f"{first.place}: {','.join(first.cells)} may be one number with a decimal comma or "
            "two whole numbers; write decimals with a point, or add a header x,y"
        )
    return choice.table(file, np.array(rows), labels if choice.label is not None else None)


def _check_count(line: _Line, first: _Line) -> None:
    if len(line.cells) != len(first.cells):
        raise ValueError(
            f"{line.place} has {len(line.cells)} columns, the lines before it {len(first.cells)}; "
            "give all lines the same number"
        )


def _is_header(line: _Line) -> bool:
    if line.counts_columns():
        index = ", with an index before them" if line.cells[0] == "" else ""
        raise ValueError(
            f"{line.place} seems to be a header with the numbers of the columns{index}; leave it "
            "out (pandas: header=False, index=False), or write 0.0 for 0 if it is a point"
        )
    return line.names_columns()


def _check_header(first: _Line, header: list[str], asked: bool) -> None:
    """Refuse a header that does not fit, and without a choice of columns an index."""
    if not header:
        return
    if (header[0] == "" and not asked) or 1 < len(header) == len(first.cells) - 1:
        raise ValueError(
            f"{first.place} starts with an index, which is not a coordinate; write the file "
            "without it (pandas: index=False)"
        )
    if len(header) != len(first.cells):
        raise ValueError(
            f"{first.place} has {len(first.cells)} columns, the header {len(header)}; give every "
            "column a name, and write decimals with a point"
        )
    if not asked and re.split(r"[^\w.#]", header[0].lower())[0] in INDEX:
        raise ValueError(
            f"{first.place}: the column {header[0]!r} is an index and not a coordinate; leave it "
            "out, or give it another name if it is a coordinate"
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
        line = "" if line.startswith("%") else COMMENT.sub(r"\1", line).strip(" \r")
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
