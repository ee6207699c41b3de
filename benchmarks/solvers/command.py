"""Measure error against calls of the field: our solvers, those of other packages, your own.

Rows are written to results/solvers.jsonl as soon as they are known; a stopped run continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from tabulate import tabulate

from benchmarks import record
from benchmarks.solvers import law, order_rows, pictures, total_variation, work
from benchmarks.solvers.contender import Contender
from benchmarks.solvers.contenders import FLOWS, NOISY, SKIPPED
from benchmarks.solvers.problems import PROBLEMS
from benchmarks.solvers.rows import Row, Rows
from benchmarks.solvers.yours import yours

FILE = record.RESULTS / "solvers.jsonl"
PARTS = "endpoint", "law", "total variation", "order"


def add_parser(names: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `solvers` to `python -m benchmarks`."""
    one = names.add_parser(
        "solvers", help="error against calls of the field, of our solvers, peers and your own"
    )
    one.add_argument("--quick", action="store_true", help="fewer problems, calls, grids and seeds")
    one.add_argument("--part", nargs="+", choices=PARTS, help="what to measure (all)")
    one.add_argument("--problem", nargs="+", choices=list(PROBLEMS), metavar="NAME",
                     help=f"some of: {', '.join(PROBLEMS)}")  # fmt: skip
    one.add_argument("--calls", nargs="+", type=int, metavar="K", help="calls of the field")
    one.add_argument("--with", dest="own", nargs="+", default=[], metavar="FILE",
                     help="files with a function solve(sde, x, times, seed) -> x")  # fmt: skip
    one.add_argument("--eta", type=float, default=0.0,
                     help="noise of your solver's SDE (0); needs --part law")  # fmt: skip
    one.add_argument("--latex", action="store_true", help="print LaTeX tables")
    one.add_argument("--plot", type=Path, metavar="FILE", help="draw error against calls")
    one.add_argument("--out", type=Path, default=FILE, metavar="FILE", help="the rows")
    one.set_defaults(run=main)


def main(given: argparse.Namespace) -> None:
    """Measure the missing rows, and print the comparison."""
    torch.set_num_threads(1)
    for package, reason in SKIPPED.items():
        print(f"{package} is left out: {reason}")
    _check(given)
    mine = [yours(file, given.eta) for file in given.own]
    kept = Rows(given.out)
    for part in given.part or PARTS:
        {"endpoint": endpoint, "law": in_law, "total variation": on_cells, "order": orders}[part](
            given, kept, mine
        )


def _check(given: argparse.Namespace) -> None:
    """Refuse options under which a user's solver, or the picture, would be left out."""
    parts = given.part or PARTS
    judged = "law" if given.eta else "endpoint"
    if given.own and judged not in parts:
        raise SystemExit(f"a solver with --eta {given.eta:g} is judged by --part {judged}; add it")
    if given.plot and "endpoint" not in parts:
        raise SystemExit("--plot draws endpoint errors; add --part endpoint, or leave it out")


def endpoint(given: argparse.Namespace, kept: Rows, mine: Sequence[Contender]) -> None:
    """Measure errors at the end of the flow."""
    mine = [] if given.eta else mine
    problems = given.problem or (work.QUICK_PROBLEMS if given.quick else tuple(PROBLEMS))
    calls = given.calls or (work.QUICK_CALLS if given.quick else work.CALLS)
    seeds, most = (2, 2) if given.quick else (work.SEEDS, None)
    rows = kept.collect(work.jobs([*mine, *FLOWS], problems, calls, seeds, most))
    for problem in problems:
        print(f"\n{problem}: median error at the end, each solver on its own time grid\n")
        print(shown(work.errors(rows, problem), given.latex))
    print("\nerror over that of the best peer, geometric means\n")
    print(shown(work.summary(rows, [one.name for one in mine]), given.latex))
    if given.plot:
        pictures.work_precision(rows, problems, [one.name for one in mine], given.plot)
        print(f"\n{given.plot}")


def in_law(given: argparse.Namespace, kept: Rows, mine: Sequence[Contender]) -> None:
    """Measure distances of the end cloud to exact data."""
    noisy = [*NOISY, *(mine if given.eta else [])]
    jobs = law.jobs(given.quick, noisy, given.problem, given.calls)
    rows = kept.collect(jobs)
    print("\nsliced W2 to exact data: ours, and the best stochastic peer on any time grid\n")
    print(shown(law.summary(rows), given.latex))
    if given.eta and mine:
        print("\nmean sliced W2 to exact data, each solver on its own time grid\n")
        print(shown(law.table(rows), given.latex))


def on_cells(given: argparse.Namespace, kept: Rows, mine: Sequence[Contender]) -> None:
    """Measure total variations to the exact density, without sampling noise."""
    rows = kept.collect(total_variation.jobs(given.quick, given.problem, given.calls))
    if rows:
        print("\ntotal variation to the exact density, on the best of its time grids\n")
        print(shown(total_variation.summary(rows), given.latex))


def orders(given: argparse.Namespace, kept: Rows, mine: Sequence[Contender]) -> None:
    """Measure orders of convergence."""
    rows = kept.collect(order_rows.jobs(given.quick))
    print("\norders of convergence, declared and fitted\n")
    print(shown(order_rows.lines(rows), given.latex))


def shown(rows: list[Row], latex: bool) -> str:
    """Write rows as a Markdown or a LaTeX table."""
    if not rows:
        return "nothing to compare with"
    if not latex:
        return record.table(rows)
    cells = [[f"{v:.2g}" if isinstance(v, float) else v for v in row.values()] for row in rows]
    return tabulate(cells, list(rows[0]), tablefmt="latex_booktabs", disable_numparse=True)
