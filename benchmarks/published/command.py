"""Measure three methods on four tasks, and compare with the published table.

A row (task, method, seed) is appended to results/published.jsonl as soon as it is known; a stopped
run continues after the last row of the same protocol. Each seed is finished for all tasks and
methods before the next one starts. A mean counts as within if it differs by at most two published
standard deviations or, for W2, by the distance between two samples of the target ("floor").
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache

import torch

from benchmarks import record
from benchmarks.published import protocol as how
from benchmarks.published import tasks, values
from benchmarks.published.protocol import (
    METHODS,
    Protocol,
    Run,
    judged,
    sampling_floor,
    squared_w2,
)
from benchmarks.published.tasks import SPLIT, TASKS, Pairs, Task, drawn

FILE = record.RESULTS / "published.jsonl"
SEEDS = range(42, 47)
QUICK = Protocol(points=1000, epochs=150)
Row = dict[str, object]
Key = tuple[str, str, int]


def keys(seeds: range) -> Iterator[Key]:
    """Task, method and seed of every row, fast methods first; FM has tasks from N(0, I) alone."""
    for seed in seeds:
        for method in METHODS:
            for task in TASKS:
                if method in values.W2[task.name]:
                    yield task.name, method, seed


def known(protocol: Protocol) -> dict[Key, Row]:
    """The recorded rows of this protocol, of any commit."""
    same = (row for row in record.stored(FILE) if row.get("protocol") == asdict(protocol))
    return {(str(r["task"]), str(r["method"]), int(str(r["seed"]))): r for r in same}


class Measurer:
    """Measure rows; values that methods share are computed once for a task and a seed."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.shared = cache(self._shared)
        self.sampling_floor = cache(self._sampling_floor)

    def row(self, name: str, method: str, seed: int) -> Row:
        """Train and judge one network."""
        task = next(task for task in TASKS if task.name == name)
        start = time.process_time()
        pairs, between = self.shared(task, seed)
        run = Run(method, pairs, seed, self.protocol)
        field = run.train()
        trained = time.process_time() - start
        measured = judged(field, pairs, between)
        return {
            "task": name, "method": method, "seed": seed, **measured,
            "between": between, "floor": self.sampling_floor(task, SPLIT if task.fixed else seed),
            "loss": run.loss, "training cpu s": trained,
            "cpu s": time.process_time() - start, "protocol": asdict(self.protocol),
        }  # fmt: skip

    def _shared(self, task: Task, seed: int) -> tuple[Pairs, float]:
        """The data, and W2^2 between source and target."""
        pairs = drawn(task, self.protocol.points, seed)
        return pairs, squared_w2(pairs.start, pairs.target.test)

    def _sampling_floor(self, task: Task, seed: int) -> float:
        return sampling_floor(drawn(task, self.protocol.points, seed).target)


def main(quick: bool) -> None:
    """Measure the missing rows, and print the comparison."""
    if how.ot is None or tasks.datasets is None:
        print("published needs POT and scikit-learn; install sdeflow[bench]", file=sys.stderr)
        return
    torch.set_num_threads(1)
    protocol, seeds = (QUICK, SEEDS[:1]) if quick else (Protocol(), SEEDS)
    made = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **record.signed()}
    record.tell_if_no_commit("published", made)
    rows, measurer = known(protocol), Measurer(protocol)
    for key in keys(seeds):
        if key not in rows:
            rows[key] = measurer.row(*key)
            record.add_lines(FILE, [{**rows[key], "made": made}])
            print(*key, {k: round(v, 4) for k, v in rows[key].items() if k in SHOWN})
    if quick:
        print(
            "quick: fewer points and steps than in the table, whose values these rows cannot reach"
        )
    found = [rows[key] for key in keys(seeds)]
    print(record.table(compared(found)))
    print(record.table(separated(found)))


def recorded() -> str:
    """The comparison of the recorded rows with the table, as Markdown."""
    rows = list(known(Protocol()).values())
    return record.table(compared(rows)) if rows else "Not measured yet."


SHOWN = ("W2", "NPE", "floor", "cpu s")


def compared(rows: list[Row]) -> list[Row]:
    """Our values and the published ones, a line for each task, method and quantity."""
    lines = []
    for name in dict.fromkeys(row["task"] for row in rows):
        for quantity, table in (("W2", values.W2), ("NPE", values.NPE)):
            for method, published in table[str(name)].items():
                mine = [r for r in rows if (r["task"], r["method"]) == (name, method)]
                if mine:
                    lines.append(_line(str(name), method, quantity, mine, published))
    return lines


def separated(rows: list[Row]) -> list[Row]:
    """The ratio of mean normalised path energies without and with the coupling."""

    def mean(task: str, method: str) -> float:
        mine = [r["NPE"] for r in rows if (r["task"], r["method"]) == (task, method)]
        return statistics.fmean(float(str(value)) for value in mine)

    return [
        {
            "task": task,
            "NPE of I-CFM / OT-CFM": mean(task, "I-CFM") / mean(task, "OT-CFM"),
            "published": published["I-CFM"].mean / published["OT-CFM"].mean,
        }
        for task, published in values.NPE.items()
    ]


def _line(name: str, method: str, quantity: str, rows: list[Row], theirs: values.Value) -> Row:
    found = [float(str(row[quantity])) for row in rows]
    least = statistics.fmean(float(str(row["floor"])) for row in rows)
    mean = statistics.fmean(found)
    allowed = max(2 * theirs.std, least if quantity == "W2" else 0.0)
    off = mean - theirs.mean
    return {
        "task": name, "method": method, "of": quantity, "seeds": len(found),
        "ours": _shown(mean, statistics.stdev(found) if len(found) > 1 else None),
        "published": _shown(*theirs), "floor": f"{least:.3f}" if quantity == "W2" else "",
        "off": f"{off:+.3f}", "allowed": f"{allowed:.3f}",
        "within": "yes" if abs(off) <= allowed else "no",
    }  # fmt: skip


def _shown(mean: float, std: float | None) -> str:
    return f"{mean:.3f}" if std is None else f"{mean:.3f} +- {std:.3f}"
