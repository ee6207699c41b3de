"""`python -m benchmarks NAME [--quick]`: print a table, append its rows to results/NAME.jsonl.

`python -m benchmarks readme` measures nothing: it writes the latest rows into README's table.
"""

from __future__ import annotations

import argparse

from benchmarks import checkerboard, fokker_planck, memory, record, speed, spiral

QUESTIONS = {
    "speed": speed.main,
    "memory": memory.main,
    "spiral": spiral.main,
    "checkerboard": checkerboard.main,
    "fokker_planck": fokker_planck.main,
    "readme": record.refresh,
}


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=QUESTIONS)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer seeds")
    given = parser.parse_args()
    QUESTIONS[given.name](given.quick)


if __name__ == "__main__":
    main()
