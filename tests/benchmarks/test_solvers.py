"""The comparison of solvers: rows that survive a kill, a user's own solver, errors and gaps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from benchmarks import record
from benchmarks.solvers import command, work
from benchmarks.solvers.contender import Contender, Counted, first
from benchmarks.solvers.contenders import FLOWS
from benchmarks.solvers.problems import PROCESS, known, modes, problem
from benchmarks.solvers.rows import Job, Jobs, Row, Rows
from benchmarks.solvers.yours import yours

MINE = """
def solve(sde, x, times, seed):
    for t, s in zip(times[:-1], times[1:]):
        k = sde.drift(x, t)
        x = x + (s - t) / 2 * (k + sde.drift(x + (s - t) * k, s))
    return x
"""


def rows_of(file: Path, *contenders: Contender, calls: tuple[int, ...] = (8,)) -> list[Row]:
    jobs = work.jobs(contenders, ["two modes"], calls, 2, 1)
    return Rows(file).collect(jobs)


def test_killed_run_measures_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, asked = tmp_path / "rows.jsonl", []

    def jobs(until: int) -> Jobs:
        for k in range(6):
            if k == until:
                raise KeyboardInterrupt

            def measure(k: int = k) -> Row:
                asked.append(k)
                return {"square": k * k}

            yield Job("a part", "", k, "", ""), measure

    with pytest.raises(KeyboardInterrupt):
        Rows(file).collect(jobs(4))
    text = file.read_text()
    file.write_text(text[:-20])  # in the middle of the last line
    rows = Rows(file).collect(jobs(9))
    assert asked == [0, 1, 2, 3, 3, 4, 5]
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 16, 25]
    assert "rows.jsonl, line 5 cannot be read and is skipped" in capsys.readouterr().err
    made = [row["made"] for row in record.stored(file)]
    assert len(made) == 6
    assert all({"commit", "torch", "when"} <= m.keys() for m in made)  # type: ignore[attr-defined]


def test_rows_of_other_code_are_measured_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    (first_row,) = Rows(file).collect([(Job("a", "", 0, "", ""), lambda: {"value": 1})])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["made"]["commit"] = "another"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (row,) = Rows(file).collect([(Job("a", "", 0, "", ""), lambda: {"value": 2})])
    assert (first_row["value"], row["value"]) == (1, 2)


def test_a_users_heun_is_our_heun(tmp_path: Path) -> None:
    """In EDM's time, x = y and t = rho: the lab frame is the comoving one."""
    mine = tmp_path / "mine.py"
    mine.write_text(MINE)
    heun = next(one for one in FLOWS if one.name == "Heun (EDM)")
    own = yours(str(mine))
    assert own.stages == 2
    row, ours = rows_of(tmp_path / "rows.jsonl", own, heun)
    assert row["counted"] == ours["counted"] == 8
    assert row["errors"] == pytest.approx(ours["errors"], rel=1e-3)
    mine.write_text(MINE.replace("/ 2 * (k", "/ 2.1 * (k"))
    (worse,) = rows_of(tmp_path / "rows.jsonl", yours(str(mine)))  # not the row of the old file
    assert worse["errors"] != row["errors"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def step(x): pass", "must define a function solve"),
        ("def solve(sde, x, times, seed): return x[0]", "must return the cloud"),
        ("def solve(sde, x, times): return x", "solve fails on a Gaussian: TypeError"),
    ],
)
def test_what_is_no_solver_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SystemExit, match=says):
        yours(str(tmp_path / "mine.py"))
    with pytest.raises(SystemExit, match="there is no file"):
        yours(str(tmp_path / "none.py"))


def test_solver_that_fails_is_a_gap(tmp_path: Path) -> None:
    def bad(sde: sf.SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        return x / 0.0 if len(times) > 10 else x

    one = Contender("bad", lambda p, f, k: sf.reverse(f, 0.0), bad, 1, first("Karras"))
    short, long = rows_of(tmp_path / "rows.jsonl", one, calls=(8, 20))
    assert short["errors"]
    assert long == {**long, "errors": [], "failed": "the end is not finite"}
    table = work.errors([short, long], "two modes")
    assert table[0]["20 calls"] != table[0]["20 calls"]  # NaN


def test_error_is_that_of_the_ends(tmp_path: Path) -> None:
    """A solver that adds 0.1 to the true end has the error 0.1; one that mirrors it flips."""

    def shifted(by: float, sign: float) -> Contender:
        def solve(sde: sf.SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
            return sign * problem("two modes").end(x) + by

        return Contender(f"{by} {sign}", lambda p, f, k: sf.reverse(f, 0.0), solve, 1, ("Karras",))

    near, far = rows_of(tmp_path / "rows.jsonl", shifted(0.1, 1.0), shifted(0.0, -1.0))
    assert near["errors"] == pytest.approx([0.1] * 2, rel=1e-3)
    assert near["rms"] == pytest.approx([0.1] * 2, rel=1e-3)
    assert near["flipped"] < 0.01
    assert far["flipped"] == 1


def test_few_particles_at_a_boundary_do_not_rule_the_error(tmp_path: Path) -> None:
    """The worst 1 % are left out of the error, and are in the plain RMS."""

    def strays(sde: sf.SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
        end = problem("two modes").end(x) + 0.1
        end[::200] += 100.0  # two of each seed's 400
        return end

    one = Contender("strays", lambda p, f, k: sf.reverse(f, 0.0), strays, 1, ("Karras",))
    (row,) = rows_of(tmp_path / "rows.jsonl", one)
    assert row["errors"] == pytest.approx([0.1] * 2, rel=1e-3)
    assert row["rms"] == pytest.approx([7.08] * 2, rel=1e-2)


def test_field_counts_how_often_it_is_asked() -> None:
    p = known("three", modes(torch.eye(3), 0.3))
    field = Counted(PROCESS, p.field, [0])
    sf.ODESolver("rk4", 5).solve(sf.reverse(field, 0.0), p.start(7, 0))
    assert field.asked[0] / 7 == 20


@pytest.mark.parametrize(
    ("asked", "says"),
    [(["--part", "law", "--with", "x"], "--part endpoint"),
     (["--part", "endpoint", "--eta", "1", "--with", "x"], "--part law"),
     (["--part", "law", "--plot", "x.pdf"], "--plot draws endpoint")],
)  # fmt: skip
def test_nothing_that_was_asked_for_is_left_out(asked: list[str], says: str) -> None:
    parser = command.argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    given = parser.parse_args(["solvers", "--quick", *asked])
    with pytest.raises(SystemExit, match=says):
        given.run(given)


@pytest.mark.slow
def test_quick_run_of_everything_goes_through(tmp_path: Path) -> None:
    """As a user calls it: endpoints, laws, total variation, orders."""
    out = tmp_path / "rows.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "solvers", "--quick", "--out", str(out)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {row["part"] for row in record.stored(out)} == set(command.PARTS)
    assert "NOT as counted" not in done.stdout
    assert "at least a tie" in done.stdout


def test_quick_comparison_prints_its_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = command.argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    (tmp_path / "mine.py").write_text(MINE)
    out = str(tmp_path / "rows.jsonl")
    given = parser.parse_args(
        ["solvers", "--quick", "--part", "endpoint", "--problem", "two modes", "--latex",
         "--with", str(tmp_path / "mine.py"), "--plot", str(tmp_path / "mine.pdf"), "--out", out]
    )  # fmt: skip
    given.run(given)
    text = capsys.readouterr().out
    assert text.count(r"\toprule") == 2
    assert "mine" in text
    assert (tmp_path / "mine.pdf").read_bytes().startswith(b"%PDF")
