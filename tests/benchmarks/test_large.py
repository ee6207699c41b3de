"""The benchmark of large clouds: its comparison finds a wrong sampler, its rows make the page."""

import json
from pathlib import Path

import pytest

import sdeflow as sf
from benchmarks import large, record


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact density in place of that of `evolve`, which takes seconds: it is 0.001 away."""
    process, grid = sf.VP(), sf.Grid(-6.0, 6.0, (64, 64))
    c = process(process.t_min)
    exact = large.mixture().on_grid(grid, float(c.alpha), float(c.sigma))
    monkeypatch.setattr(large, "density", lambda *given: exact)
    monkeypatch.setattr(large, "FINE", 64)
    monkeypatch.setattr(large, "CELLS", 32)


def test_the_histogram_is_the_density_up_to_the_floor(known: None) -> None:
    row = large.compared(20_000, 20, 4096, None)
    assert 0.8 < row["ratio"] < 1.3
    assert row["peak MB"] > 10


def test_three_calls_are_not_enough(known: None) -> None:
    assert large.compared(20_000, 3, 4096, None)["ratio"] > 2


def test_page_shows_the_latest_row_of_each_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    rows = [
        {**dict.fromkeys(large.SHOWN["time"], 1.0), "part": "time", "calls": 10, "made": {}, **row}
        for row in (
            {"particles": 10**8, "processes": 2, "seconds": 7.0},
            {"particles": 10**6, "processes": 1, "seconds": 1.0},
            {"particles": 10**8, "processes": 2, "seconds": 5.0},
        )
    ]
    (tmp_path / "large.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = large.recorded("time")
    assert [(row["particles"], row["seconds"]) for row in found] == [("1e6", 1.0), ("1e8", 5.0)]
