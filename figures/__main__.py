"""`python -m figures NAME|all [--quick]`: draw, and print where; --quick writes to runs/ only."""

from __future__ import annotations

import argparse

from figures import check, demo
from sdeflow.provenance import commit

FIGURES = {"demo": demo.main, "check": check.main}


def main() -> None:
    """Draw one figure, or every one."""
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    parser.add_argument("name", choices=[*FIGURES, "all"])
    parser.add_argument("--quick", action="store_true", help="a rough one, in seconds")
    given = parser.parse_args()
    commit()  # before the first picture makes the tree another
    for name in FIGURES if given.name == "all" else [given.name]:
        print(FIGURES[name](given.quick))


if __name__ == "__main__":
    main()
