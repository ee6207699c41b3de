"""What every benchmark shares: interleaved timing, a table, a line of JSON with its provenance."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from sdeflow.provenance import provenance

RESULTS = Path(__file__).parent / "results"


def interleaved(
    variants: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each variant in each round, A B C A B C, after one round that is not counted.

    Paired in time, two variants see the same weather of the machine: report their ratio.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        for name, run in variants.items():
            start = clock()
            run()
            if i:
                seconds[name].append(clock() - start)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median of the paired ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def table(rows: list[dict[str, object]]) -> str:
    """Rows as Markdown."""
    columns = list(rows[0])
    cells = [[_cell(row.get(c, "")) for c in columns] for row in rows]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(c) + " |" for c in cells])


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def append(name: str, rows: list[dict[str, object]]) -> None:
    """Append rows to results/NAME.jsonl, each with the time of day and the provenance."""
    RESULTS.mkdir(exist_ok=True)
    made = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **provenance()}
    with open(RESULTS / f"{name}.jsonl", "a") as file:
        for row in rows:
            file.write(json.dumps({**row, "made": made}) + "\n")
