"""Draw the figures of this package, for the text of a venue and for one of several data sets.

`page` writes docs/figures.md, and `readme` the small pictures in README, from docs/figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from figures import check, demo, drawing, film, gallery
from figures.drawing import QUICK, Setting
from figures.problems import PROBLEMS
from sdeflow.plot.style import VENUES
from sdeflow.provenance import commit

RUNS = {"demo": demo.main, "check": check.main, "film": film.main}
"""Figures of a whole run, in PNG, and a film, in GIF; each has one size."""
PAGES = {"page": gallery.write_page, "readme": gallery.write_readme}


def main() -> None:
    """Draw figures, list them, or write the pages that show them."""
    names = drawing.names()
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    parser.add_argument("name", nargs="+", metavar="NAME",
                        choices=["list", "all", *PAGES, *names, *RUNS],
                        help="a figure; list prints all names, all draws all")  # fmt: skip
    parser.add_argument(
        "--venue", choices=list(VENUES), help="the venue whose text width the figure has"
    )
    parser.add_argument(
        "--problem", choices=list(PROBLEMS), help="the data, instead of those of each figure"
    )
    parser.add_argument("--format", nargs="+", choices=["png", "pdf", "svg"],
                        help="one format or several (png)")  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="a rough draft of each, in seconds, in runs/figures"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the folder to write to")
    given = parser.parse_args()
    commit()  # before the first picture changes the working tree
    every = [name for name in names if drawing.takes_problem(name) or given.problem is None]
    asked = [*every, *RUNS] if "all" in given.name else given.name
    if given.venue or given.problem or given.format or given.out:
        if "all" not in given.name and not RUNS.keys().isdisjoint(asked):
            parser.error(f"{', '.join(RUNS)} have one size and format; give no option but --quick")
        asked = [name for name in asked if name not in RUNS]
    folder = given.out or (QUICK if given.quick else drawing.GALLERY)
    formats = tuple(given.format or ["png"])
    setting = Setting(given.venue or "neurips", given.problem, formats, given.quick, folder)
    for name in asked:
        if name == "list":
            width = max(map(len, names)) + 2
            for each in names:
                print(f"{each:{width}s}{drawing.caption(each).splitlines()[0]}")
        elif name in PAGES:
            print(PAGES[name]())
        elif name in RUNS:
            print(RUNS[name](given.quick))
        else:
            print(*drawing.draw(name, setting), sep="\n")


if __name__ == "__main__":
    main()
