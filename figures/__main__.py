"""`python -m figures list | NAME ... | all`: draw figures for a paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from figures import check, demo, drawing, film
from figures.drawing import QUICK, Setting
from figures.problems import PROBLEMS
from sdeflow.plot.style import VENUES
from sdeflow.provenance import commit

RUNS = {"demo": demo.main, "check": check.main, "film": film.main}
"""README's figures of a whole run, in PNG, and a film, in GIF."""


def main() -> None:
    """Draw some figures, or list them."""
    names = drawing.names()
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    parser.add_argument("name", nargs="+", choices=["list", "all", *names, *RUNS], metavar="NAME",
                        help="of a figure; `list` names them, `all` draws them")  # fmt: skip
    parser.add_argument("--venue", choices=list(VENUES), default="neurips",
                        help="whose text the figure is as wide as")  # fmt: skip
    parser.add_argument("--problem", choices=list(PROBLEMS), help="data; each figure has its own")
    parser.add_argument("--format", choices=["png", "pdf", "svg"], default="png")
    parser.add_argument("--quick", action="store_true", help="rough, in seconds, into runs/")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write them")
    given = parser.parse_args()
    commit()  # before the first picture makes the tree another
    if "list" in given.name:
        for name in names:
            print(f"{name:24s}{(drawing.module_of(name).__doc__ or '').splitlines()[0]}")
        return
    folder = given.out or (QUICK if given.quick else drawing.GALLERY)
    setting = Setting(given.venue, given.problem, given.format, given.quick, folder)
    every = [n for n in names if drawing.takes_problem(n) or given.problem is None]
    for name in [*every, *RUNS] if "all" in given.name else given.name:
        print(RUNS[name](given.quick) if name in RUNS else drawing.draw(name, setting))


if __name__ == "__main__":
    main()
