"""A claim about arithmetic, to test how claims are run."""

import textwrap

from benchmarks.claims import Check, Claim, Finding, Lab
from benchmarks.claims.claim import about, at_most


def toy(answer: float, doc: str = 'Two and two are four.\n\nSays: "four" (000).') -> Claim:
    """A claim that two and two are four; the second check depends on the seed."""

    def measure(lab: Lab, two: float) -> Finding:
        total = 2 + two
        return Finding(
            [
                Check("2 + 2", total, about(answer, 0.0), "arithmetic"),
                Check("2 + 2 + seed", total + lab.seed, at_most(5.0), "arithmetic, too"),
            ],
            notes={"seed": float(lab.seed)},
        )

    parts = """
    Measured: two and two are added.
    Control: three in the place of two.
    Source: arithmetic.
    """
    doc += "\n" + textwrap.dedent(parts)
    return Claim("F1", doc, measure, 2.0, 3.0, False, "text")
