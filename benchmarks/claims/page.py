"""Write the claims' records as a Markdown page: a table of all, then each with its checks."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from benchmarks.claims.claim import Verdict
from benchmarks.claims.records import Record

HEAD = """# The claims

Every statement of the lectures, run and measured by `python -m benchmarks claims all`; pictures
are handwritten digits, and what draws or reads them is trained here. The lectures are (000), a
guest video on image and video models; (001), fast.ai's lesson 9B; (002), a video on flow matching;
(003), an edited copy of (000). What they cover, and the numbers N1, N2, ... that some claims
compare with, are in [sources.md](sources.md). "In our words" marks a summary where the rest is
quoted.

A claim is judged by all its checks. Each check is a number, where it is expected, and what that
bound comes from; "a +- b" means between a - b and a + b. If all hold, the claim **holds**, or
**holds with a correction** where the sentence is true only as corrected. If one fails, the claim
**does not hold as said**. Further numbers, which decide nothing, are listed below the checks.
"""


def markdown(records: Sequence[Record], figures: str = "") -> str:
    """The page.

    Args:
        records: in the order of the page.
        figures: where the figures are, as a prefix of their names.
    """
    number = {v: sum(r.verdict is v for r in records) for v in Verdict}
    sentence = "; ".join(f"{verdict}: {n}" for verdict, n in number.items()) + "."
    rows = [
        (f"[{r.id}](#{r.id.lower()})", r.title, r.verdict, f"{_holding(r)} of {len(r.checks)}")
        for r in records
    ]
    summary = _table(["id", "claim", "verdict", "checks that hold"], rows)
    sections = [_section(r, figures) for r in records]
    return "\n\n".join([HEAD.rstrip(), sentence.capitalize(), summary, *sections]) + "\n"


def _holding(record: Record) -> int:
    return sum(check.holds for check in record.checks)


def _section(r: Record, figures: str) -> str:
    """What was said, what was measured, and what made the record."""
    checks = [
        (c.name, f"{c.value:.4g}", c.expected, c.against, "yes" if c.holds else "**no**")
        for c in r.checks
    ]
    notes = [f"- {name}: {value:.4g}" for name, value in r.notes.items()]
    said = [f"- said: {r.says}"] if r.says else []
    said += [f"- correction: {r.correction}"] if r.correction else []
    end = [f"- source: {r.source}"] if r.source else []
    end += [f"- figure: [{r.figure}]({figures}{r.figure})"] if r.figure else []
    end += [f"- made by: {r.made['commit']}, seed {r.seed}"]
    parts = [
        f"## {r.id}",
        f"{r.title} **{r.verdict.capitalize()}.**",
        "\n".join(said),
        _table(["check", "measured", "expected", "against", "holds"], checks),
        "\n".join(["Also measured:", "", *notes]) if notes else "",
        "\n".join(end),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(head: list[str], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; a bar within a cell does not end it."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(cells, head, tablefmt="pipe", disable_numparse=True)
