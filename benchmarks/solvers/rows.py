"""Store the rows of a long run in a JSON Lines file, so that a stopped run can continue.

A run writes one line with its provenance, and then one line for each row as soon as it is known;
rows name their run. Rows of the same commit are reused; a line that cannot be read is named and
measured again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from benchmarks import record

Row = dict[str, object]


class Job(NamedTuple):
    """The key of a row: what is measured in it.

    Attributes:
        part: the part of the comparison.
        problem, calls, solver, grid: the run.
        seeds: number of clouds, which run as one.
        version: the digest of the file of a user's solver.
    """

    part: str
    problem: str
    calls: int
    solver: str
    grid: str
    seeds: int = 0
    version: str = ""


Jobs = Iterable[tuple[Job, Callable[[], Row]]]


class Rows:
    """The rows in a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._made = {
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **record.signed(),
        }
        same = (row for row in record.stored(file) if self._same(row))
        self._known = {Job(*(row[name] for name in Job._fields)): row for row in same}  # type: ignore[arg-type]
        self._begun = False

    def _same(self, row: Row) -> bool:
        made = row["made"]
        return (
            isinstance(made, dict)
            and made["commit"] == self._made["commit"]
            and set(Job._fields) <= row.keys()
        )

    def collect(self, jobs: Jobs) -> list[Row]:
        """The row of every job: from the file, or a new one, which is written at once."""
        rows = []
        for job, measure in jobs:
            if job not in self._known:
                self._known[job] = {**job._asdict(), **measure()}
                self._write(self._known[job])
            rows.append(self._known[job])
        return rows

    def _write(self, row: Row) -> None:
        lines: list[Row] = [{**row, "run": self._made["when"]}]
        if not self._begun:
            record.tell_if_no_commit(self.file.stem, self._made)
            lines.insert(0, {"run": self._made["when"], "made": self._made})
            self._begun = True
        record.add_lines(self.file, lines)
