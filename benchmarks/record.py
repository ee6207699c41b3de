"""Time variants in turn, print tables, and append rows with their provenance.

`measured` makes the table of README, each number from the latest full run of its benchmark.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from sdeflow.provenance import provenance

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)


def interleaved(
    variants: dict[str, Callable[[], object]], rounds: int, timer: Callable[[], float]
) -> dict[str, list[float]]:
    """The seconds of each variant in each round, A B C A B C, after one round that is not counted.

    The machine is about equally busy in neighbouring runs: report ratios of paired variants.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        for name, run in variants.items():
            start = timer()
            run()
            if i:
                seconds[name].append(timer() - start)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """The median of the paired ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def table(rows: list[dict[str, object]]) -> str:
    """Write rows as a Markdown table."""
    if not rows:
        return "None."
    columns = list(rows[0])
    cells = [[_cell(row.get(c, "")) for c in columns] for row in rows]
    return tabulate(cells, columns, tablefmt="github", disable_numparse=True)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def append(name: str, rows: list[dict[str, object]]) -> None:
    """Append rows to results/NAME.jsonl, each with the time and the provenance.

    Rows of uncommitted code are marked, and a message says so.
    """
    made = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **signed()}
    tell_if_no_commit(name, made)
    add_lines(RESULTS / f"{name}.jsonl", [{**row, "made": made} for row in rows])


def add_lines(file: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Add lines of JSON to a file at once; a last line that a killed run has left is ended."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torn = file.is_file() and not file.read_bytes().endswith(b"\n")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    try:
        with open(file, "a") as to:
            to.write("\n" * torn + text)
    except OSError as error:
        error.filename = str(file)  # a full disk names no file
        raise


def stored(file: Path) -> Iterator[dict[str, object]]:
    """Yield the rows of a file, each with the provenance of its run; name unreadable lines on
    stderr."""
    runs: dict[object, object] = {}
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if set(row) == {"run", "made"}:
                runs[row["run"]] = row["made"]
            elif line:
                yield row if "made" in row else {**row, "made": runs[row["run"]]}
        except (ValueError, KeyError, TypeError):
            print(f"{file.name}, line {number} cannot be read and is skipped", file=sys.stderr)


def load() -> str:
    """The load of the machine: mean number of running processes in a minute, and its cores."""
    return f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"


def signed(seed: int | None = None) -> dict[str, str | int]:
    """The provenance, in which changed results alone do not count as uncommitted changes."""
    made = dict(provenance() if seed is None else provenance(seed))
    made["load"] = load()
    commit = str(made["commit"])
    if commit.endswith("-dirty") and _only_results_changed():
        made["commit"] = commit.removesuffix("-dirty")
    return made


def tell_if_no_commit(name: str, made: dict[str, str | int]) -> None:
    """Print a message if the code is not that of a commit."""
    commit = str(made["commit"])
    if commit == "unknown" or commit.endswith("-dirty"):
        print(
            f"{name}: this code is not committed ({commit}); commit it and run again",
            file=sys.stderr,
        )


def _only_results_changed() -> bool:
    """Whether only files written by benchmarks and claims differ from the commit."""
    written = (":!benchmarks/results", ":!docs/claims", ":!docs/claims.md")
    changed = subprocess.run(
        ["git", "status", "--porcelain", "-uno", "--", ".", *written],
        cwd=README.parent, capture_output=True, text=True, timeout=5, check=True,
    )  # fmt: skip
    return not changed.stdout.strip()


# ------------------------------------------------------------------------------- numbers of README


def latest(name: str) -> list[dict]:
    """The rows of the last full run of `python -m benchmarks NAME`; empty if there is none."""
    file = RESULTS / f"{name}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    full = [row for row in rows if row["made"]["command"] == f"__main__.py {name}"]
    return [row for row in full if row["made"]["when"] == full[-1]["made"]["when"]]


def measured() -> str:
    """The table of README, as Markdown; a benchmark without a full run has no line."""
    rows = [*_speed_rows(), *_memory_rows(), *_spiral_rows(), *_checkerboard_rows()]
    headers = ["measured", "sdeflow", "elsewhere"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True) + "\n"


def _speed_rows() -> list[list[str]]:
    speed = {
        row["variant"]: f"{row['ratio']:.2f}"
        for row in latest("speed")
        if (row["question"], row["n"], row["threads"]) == ("x floor2", 65_536, 1)
    }
    if not speed:
        return []
    return [
        [
            f"{what}, 65,536 particles: time / the network's alone",
            speed[f"sdeflow, {ours}"],
            f"{plain}: {speed[plain]}; {other}: {speed[other]}",
        ]
        for what, ours, plain, other in (
            ("reverse SDE", "torchsde euler", "torchsde.sdeint, defaults", "diffusers DDPM loop"),
            ("flow", "torchdiffeq euler", "torchdiffeq.odeint, step_size", "diffusers DDIM loop"),
        )
    ]


def _memory_rows() -> list[list[str]]:
    memory = latest("memory")
    if not memory:
        return []
    most = max(row["growth MB"] for row in memory)
    steps = max(row["steps"] for row in memory)
    return [[f"memory for 1,000,000 particles, up to {steps} steps", f"{most:.0f} MB", ""]]


def _spiral_rows() -> list[list[str]]:
    trained = [
        [row for row in latest("spiral") if row["recipe"] == recipe]
        for recipe in ("ours", "lecture")
    ]
    if not all(trained):
        return []
    ours, theirs = (
        f"{_mean(rows, 'excess'):.3f} in {_mean(rows, 'cpu s'):.0f} CPU s" for rows in trained
    )
    return [["spiral: excess loss", ours, f"the lecture's training: {theirs}"]]


def _checkerboard_rows() -> list[list[str]]:
    squares = latest("checkerboard")
    if not squares:
        return []
    off = f"{100 * _mean(squares, 'off'):.1f} % in {_mean(squares, 'cpu s'):.0f} CPU s"
    theirs = "the lecture's training: 17.5 % in 300 CPU s ([N17](docs/sources.md))"
    return [["checkerboard: share off the squares", off, theirs]]


def _mean(rows: list[dict], key: str) -> float:
    return statistics.fmean(row[key] for row in rows)


def refresh(quick: bool) -> None:
    """Write the table into README, from the recorded results."""
    README.write_text(BLOCK.sub(lambda _: measured(), README.read_text()))
