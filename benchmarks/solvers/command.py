"""`python -m benchmarks solvers [--quick] [--latex]`: measure, or go on with a stopped run.

Each row is appended to results/solvers.jsonl as soon as it is known, with its provenance. A run
takes over the rows of the same commit that are there; a line that cannot be read is named and
measured again.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tabulate import tabulate

from benchmarks import record
from benchmarks.solvers import work
from benchmarks.solvers.work import Job, Row

FILE = record.RESULTS / "solvers.jsonl"


def known(file: Path, commit: str) -> dict[Job, Row]:
    """The rows of this commit in a file of results."""
    found: dict[Job, Row] = {}
    lines = file.read_text().splitlines() if file.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            job = Job(**{name: row[name] for name in Job._fields})
            if row["made"]["commit"] == commit:
                found[job] = row
        except (ValueError, KeyError, TypeError):
            print(f"{file.name}, line {number} cannot be read and is skipped", file=sys.stderr)
    return found


def main(quick: bool, latex: bool = False) -> None:
    """Measure what is missing, and print the comparison."""
    made = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **record.signed()}
    record.tell_if_no_commit("solvers", made)
    FILE.parent.mkdir(exist_ok=True)
    with open(FILE, "a") as file:

        def keep(row: Row) -> None:
            file.write(json.dumps({**row, "made": made}) + "\n")
            file.flush()

        rows = work.run(quick, known(FILE, str(made["commit"])), keep)
    print(shown(work.summary(rows), latex))
    for name in ("multistep, default", "multistep, calibrated"):
        lines = [
            {"problem": problem, "calls": calls, **ratio._asdict()}
            for (problem, calls), ratio in work.ratios(rows, name).items()
        ]
        print(f"\n{name}: error over that of the best peer\n\n{shown(lines, latex)}")


def shown(rows: list[Row], latex: bool) -> str:
    """Rows as Markdown, or as a LaTeX table."""
    if not latex:
        return record.table(rows)
    cells = [[f"{v:.3g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    return tabulate(cells, list(rows[0]), tablefmt="latex_booktabs")
