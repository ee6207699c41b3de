"""docs/benchmarks.md says what the rows say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.solvers import page, work
from benchmarks.solvers.rows import Row

MADE = {
    "commit": "abc", "when": "2026-01-02T03:04:05Z", "device": "a machine", "threads": 1,
    "torch": "2",
}  # fmt: skip


def row(problem: str, calls: int, solver: str, grid: str, error: float) -> Row:
    own = {"UniPC 2": "log SNR", "DPM++ 2M": "Karras"}.get(solver, grid)
    return {
        "package": "a package", "own grid": own, "ours": solver.startswith("multistep"),
        "part": "endpoint", "problem": problem, "calls": calls, "solver": solver, "grid": grid,
        "seeds": 2, "version": "", "errors": [error, error], "rms": [error, error],
        "flipped": 0.01, "truth error": 1e-9, "counted": calls, "made": MADE,
    }  # fmt: skip


ROWS = [
    row("stiff", 10, "multistep, default", "own", 2e-2),
    row("stiff", 10, "multistep, calibrated", "own", 1e-3),
    row("stiff", 10, "UniPC 2", "log SNR", 4e-2),
    row("stiff", 10, "UniPC 2", "angle 3", 1e-2),
    row("stiff", 10, "DPM++ 2M", "Karras", 8e-2),
    row("moons", 10, "multistep, default", "own", 1e-2),
    row("moons", 10, "multistep, calibrated", "own", 1e-3),
    row("moons", 10, "UniPC 2", "log SNR", 4e-2),
    row("gaussian", 10, "UniPC 2", "log SNR", 1.0),
]


def test_ratios_are_those_of_the_rows() -> None:
    """Own grid: 1/2 and 1/4; best grid: 2 and 1/4; UniPC: 1/2 and 1/4."""
    (ours, fitted) = work.summary(ROWS)
    assert ours["/ best peer, its own grid"] == pytest.approx(8**-0.5)
    assert ours["/ best peer, any grid"] == pytest.approx(0.5**0.5)
    assert ours["/ UniPC 2, its own grid"] == pytest.approx(8**-0.5)
    assert (ours["worst / best peer"], ours["where"]) == (pytest.approx(2), "stiff, 10 calls")
    assert fitted["worst / best peer"] == pytest.approx(0.1)


def test_page_lists_exactly_the_cells_that_are_lost() -> None:
    (line,) = page.lost(ROWS, "multistep, default")
    assert (line["problem"], line["calls"], line["peer"]) == ("stiff", 10, "UniPC 2, angle 3")
    assert line["error / the peer's"] == pytest.approx(2)
    assert not page.lost(ROWS, "multistep, calibrated")


def test_rank_is_the_error_over_the_least_of_all() -> None:
    ranks = {line["solver"]: line["10"] for line in page.ranks(ROWS)}
    assert ranks["multistep, calibrated"] == pytest.approx(1)
    assert ranks["multistep, default"] == pytest.approx((20 * 10) ** 0.5)
    assert ranks["UniPC 2"] == pytest.approx(40)
    assert ranks["DPM++ 2M"] == "gap"


def test_each_part_is_of_the_commit_that_measured_it_last(tmp_path: Path) -> None:
    """Older rows, and those of a user's solver, stay in the file and off the page."""
    kinds = [
        ("law", "old", 10, ""), ("endpoint", "old", 10, ""), ("endpoint", "new", 20, ""),
        ("endpoint", "new", 8, "a user's"),
    ]  # fmt: skip
    lines = [
        {"part": part, "calls": calls, "version": version, "made": {"commit": commit}}
        for part, commit, calls, version in kinds
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = page.latest(tmp_path / "rows.jsonl")
    assert [(row["part"], row["calls"]) for row in found] == [("law", 10), ("endpoint", 20)]


PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/benchmarks.md is not written yet")
def test_published_page_is_that_of_the_recorded_rows() -> None:
    rows = page.latest(record.RESULTS / "solvers.jsonl")
    assert PAGE.read_text() == page.text(rows)
    assert not re.search(r"\bnan\b", PAGE.read_text().split("## All solvers")[0])
