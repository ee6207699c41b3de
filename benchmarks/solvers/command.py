"""`python -m benchmarks solvers`: error against calls of the field, ours, peers', and your own.

Rows are kept in results/solvers.jsonl as soon as they are known; a stopped run goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks import record
from benchmarks.solvers import work
from benchmarks.solvers.contender import Contender
from benchmarks.solvers.contenders import FLOWS
from benchmarks.solvers.problems import PROBLEMS
from benchmarks.solvers.rows import Row, Rows
from benchmarks.solvers.yours import yours

FILE = record.RESULTS / "solvers.jsonl"


def add_parser(names: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`solvers` as a command of `python -m benchmarks`."""
    one = names.add_parser("solvers", help="error against calls: ours, peers', your own solver")
    one.add_argument("--quick", action="store_true", help="fewer problems, calls, grids and seeds")
    one.add_argument("--problem", nargs="+", choices=list(PROBLEMS), metavar="NAME",
                     help=f"some of: {', '.join(PROBLEMS)}")  # fmt: skip
    one.add_argument("--calls", nargs="+", type=int, metavar="K", help="calls of the field")
    one.add_argument("--with", dest="own", nargs="+", default=[], metavar="FILE",
                     help="files with a function solve(sde, x, times, seed) -> x")  # fmt: skip
    one.add_argument("--latex", action="store_true", help="print LaTeX tables")
    one.add_argument("--plot", type=Path, metavar="FILE", help="draw error against calls")
    one.add_argument("--out", type=Path, default=FILE, metavar="FILE", help="the rows")
    one.set_defaults(run=main)


def main(given: argparse.Namespace) -> None:
    """Measure what is missing, and print the comparison."""
    torch.set_num_threads(1)
    mine = [yours(file) for file in given.own]
    rows = measured(given, [*mine, *FLOWS])
    show(rows, mine, given.latex)


def measured(given: argparse.Namespace, contenders: list[Contender]) -> list[Row]:
    """The rows that were asked for."""
    quick = given.quick
    problems = given.problem or (work.QUICK_PROBLEMS if quick else tuple(PROBLEMS))
    calls = given.calls or (work.QUICK_CALLS if quick else work.CALLS)
    seeds, grids = (2, 2) if quick else (work.SEEDS, None)
    jobs = work.jobs(contenders, problems, calls, seeds, grids)
    return Rows(given.out, work.NAMES).collect(jobs)


def show(rows: list[Row], mine: list[Contender], latex: bool) -> None:
    """Errors by solver and calls for each problem, then ours and the user's over the peers'."""
    for problem in dict.fromkeys(str(row["problem"]) for row in rows):
        print(f"\n{problem}: error at the end, each solver on its own time grid\n")
        print(shown(work.errors(rows, problem), latex))
    ours = [one for one in FLOWS if one.ours]
    peers = [one for one in FLOWS if not one.ours]
    print("\nerror over that of the best peer, geometric means\n")
    print(shown(work.summary(rows, [*ours, *mine], peers), latex))


def shown(rows: list[Row], latex: bool) -> str:
    """Rows as Markdown, or as a LaTeX table."""
    if not rows:
        return "nothing to compare with"
    if not latex:
        return record.table(rows)
    cells = [[f"{v:.2g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    return tabulate(cells, list(rows[0]), tablefmt="latex_booktabs", disable_numparse=True)
