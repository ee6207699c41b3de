"""List the claims of the lectures, or run some of them (S3 G7) or all.

    python -m benchmarks claims list
    python -m benchmarks claims S3 G7
    python -m benchmarks claims all --out docs/claims

Records and figures go to the folder --out, and the page beside it: runs/claims.md for runs/claims.
A claim whose record is in the folder is not run again, unless its file or the seed has changed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.claims import CLAIMS
from benchmarks.claims import records as kept
from benchmarks.claims.claim import Claim, Lab
from benchmarks.claims.page import markdown
from benchmarks.record import signed, tell_if_no_commit
from sdeflow._validation import SdeflowError, check_int
from sdeflow._wording import sentence
from sdeflow.provenance import write_text


def add_parser(commands: Any) -> None:
    """Add `claims` to an argument parser's sub-commands."""
    parser = commands.add_parser(
        "claims", help="measure what the lectures say", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("which", nargs="+", help="list, all, or the ids of claims: S3 G7")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/claims"),
        help="folder of the records and figures (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: 0)"
    )
    parser.add_argument("--format", choices=["png", "pdf", "svg"], default="png",
                        help="file format of the figures (default: png)")  # fmt: skip
    parser.set_defaults(run=main)


def main(given: argparse.Namespace) -> None:
    """List or run the claims; a mistake prints one sentence and exits with code 2."""
    listed = given.which[0].lower() == "list"
    try:
        wanted = kept.chosen(CLAIMS, given.which[listed:] or ["all"])
        if listed:
            return _show(wanted)
        check_int(given.seed, "seed", 0)
        given.out.mkdir(parents=True, exist_ok=True)  # fail now rather than after the first claim
        kept.read(given.out / kept.FILE)
    except (ValueError, SdeflowError, OSError) as error:
        print(f"claims: {sentence(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    _run(wanted, Lab(given.seed, given.out, given.format), given.out)


def _show(claims: list[Claim]) -> None:
    """Print each claim and the lecture's words; a closed pipe is not an error."""
    try:
        for c in claims:
            print(f"{c.id:4} {c.title}\n     {c.part('Says')}")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(claims: list[Claim], lab: Lab, out: Path) -> None:
    """Run the claims, print a line for each, and write the page of all records in the folder."""
    tell_if_no_commit("claims", signed())
    for missing in filter(None, (c.missing for c in claims)):
        print(f"claims: skipped: {missing}", file=sys.stderr)
    claims = [c for c in claims if not c.missing]
    for r in kept.measured(claims, lab, progress=True):
        holding = sum(check.holds for check in r.checks)
        tqdm.write(f"{r.id:4} {r.verdict}: {holding} of {len(r.checks)} checks hold")
        for check in r.checks:
            if not check.holds:
                tqdm.write(f"     {check.name}: {check.value:.4g}, expected {check.expected}")
    order = {c.id: k for k, c in enumerate(CLAIMS)}
    found = [r for r in kept.read(out / kept.FILE) if r.id in order]
    page = out.with_name(f"{out.name}.md")
    write_text(page, markdown(sorted(found, key=lambda r: order[r.id]), f"{out.name}/"))
    print(f"page: {page}")
