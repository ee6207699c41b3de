"""Keep rows of a long run in a JSON Lines file, so that a stopped run goes on where it was.

A run writes one line with its provenance and then one line per row, as soon as it is known; the
rows name their run. Rows of the same commit are taken over; a line that cannot be read is named
and measured again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import record

Row = dict[str, object]
Key = tuple[object, ...]


class Rows:
    """The rows of one kind in a file.

    Attributes:
        file: where they are kept.
        names: the entries by which a row is known.
    """

    def __init__(self, file: Path, names: tuple[str, ...]) -> None:
        self.file, self.names = file, names
        self._made = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **record.signed(),
        }
        same = (row for row in record.stored(file) if self._same(row))
        self._known = {self.key(row): row for row in same}
        self._begun = False

    def _same(self, row: Row) -> bool:
        made = row["made"]
        return (
            isinstance(made, dict)
            and made["commit"] == self._made["commit"]
            and set(self.names) <= row.keys()
        )

    def key(self, row: Row) -> Key:
        """The entries by which a row is known."""
        return tuple(row[name] for name in self.names)

    def collect(self, jobs: Iterable[tuple[Key, Callable[[], Row]]]) -> list[Row]:
        """The row of every job: the one of the file, or a new one, which is written at once."""
        rows = []
        for key, measure in jobs:
            if key not in self._known:
                row = {**dict(zip(self.names, key, strict=True)), **measure()}
                self._known[key] = row
                self._write(row)
            rows.append(self._known[key])
        return rows

    def _write(self, row: Row) -> None:
        lines: list[Row] = [{**row, "run": self._made["when"]}]
        if not self._begun:
            record.tell_if_no_commit(self.file.stem, self._made)
            lines.insert(0, {"run": self._made["when"], "made": self._made})
            self._begun = True
            _end_last_line(self.file)
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        with open(self.file, "a") as file:
            file.write(text)


def _end_last_line(file: Path) -> None:
    """End the line that a killed run may have left half written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_file() and not file.read_bytes().endswith(b"\n"):
        with open(file, "a") as at_end:
            at_end.write("\n")
