"""Run a benchmark: print a table, and append its rows to benchmarks/results/NAME.jsonl.

`readme` and `page` measure nothing: they write the latest rows into README and docs/benchmarks.md.
`claims` lists or runs the claims of the lectures.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import (
    checkerboard,
    devices,
    digits,
    exact,
    fokker_planck,
    large,
    memory,
    record,
    speed,
    spiral,
    words,
)
from benchmarks.claims import command
from benchmarks.published import command as published
from benchmarks.solvers import command as solvers
from benchmarks.solvers import page
from sdeflow._wording import sentence
from sdeflow.command.termination import exit_code, terminable
from sdeflow.provenance import commit

QUESTIONS = {
    "speed": speed.main,
    "exact": exact.main,
    "memory": memory.main,
    "spiral": spiral.main,
    "checkerboard": checkerboard.main,
    "digits": digits.main,
    "fokker_planck": fokker_planck.main,
    "published": published.main,
    "readme": record.refresh,
    "page": page.main,
}


def main() -> None:
    """Run one benchmark, or the claims."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name in QUESTIONS:
        one = names.add_parser(name)
        one.add_argument("--quick", action="store_true", help="fewer rounds and seeds")
        one.set_defaults(run=lambda given: QUESTIONS[given.name](given.quick))
    command.add_parser(names)
    solvers.add_parser(names)
    words.add_parser(names)
    large.add_parser(names)
    devices.add_parser(names)
    given = parser.parse_args()
    commit()  # the commit of the code that runs, even if the working tree changes later
    try:
        with terminable():
            given.run(given)
    except KeyboardInterrupt as stop:
        print("benchmarks: stopped; the same command measures what is missing", file=sys.stderr)
        raise SystemExit(exit_code(stop)) from None
    except OSError as error:
        print(f"benchmarks: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
