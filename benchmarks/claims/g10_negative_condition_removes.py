"""A negative condition removes what it names, and drives what stays off the data.

Says: "extra fingers and walking backwards" in place of the empty prompt (000, 003).
Correction: removal is bought with damage: at w = 4 next to no dog is left, and no cat lies
anywhere near the spiral.
Source: docs/sources.md, N15: asked for dog or cat, not dog, 2130 particles, exact fields;
within four standard errors of the two runs. That a negative which says nothing is plain
guidance, and that a step asks the network twice about each particle, is counted on the
lecture's network.
"""

from __future__ import annotations

from itertools import pairwise

from benchmarks.claims.claim import Check, Finding, Lab, about, above, below
from benchmarks.claims.negative_condition import (
    REMOVED,
    calls_and_rows,
    draw_removal,
    off_plain_guidance,
    removed,
)
from benchmarks.claims.setting import CAT, DOG, SURE

SUBJECT, BROKEN = DOG, CAT  # the class that is named by the negative condition
QUANTITIES = ("fraction of dogs", "distance to the curve")


def measure(lab: Lab, unwanted: int) -> Finding:
    """Dogs left and distance to the spiral at four scales, and the calls of the network."""
    found = {w: removed(w, unwanted, lab.seed) for w in REMOVED}
    dogs, damage = zip(*(seen.value for seen in found.values()), strict=True)
    calls, rows = calls_and_rows(lab.seed, unwanted)
    plain, apart = off_plain_guidance(lab.seed, unwanted)
    return Finding(
        [
            Check(f"w = {w:g}: {name}", seen.value[i],
                  about(REMOVED[w][i], within=seen.printed[i] + SURE * seen.error[i]),
                  "docs/sources.md, N15; to the last place printed, and four standard errors")
            for i, name in enumerate(QUANTITIES)
            for w, seen in reversed(found.items())
        ]
        + [
            Check("smallest fall of the fraction of dogs, scale by scale",
                  min(a - b for a, b in pairwise(dogs)), above(0.0), "ever fewer are left"),
            Check("smallest rise of the distance, scale by scale",
                  min(b - a for a, b in pairwise(damage)), above(0.0), "ever farther off"),
            Check("network calls per evaluation", calls, about(2.0, within=0), "counted"),
            Check("rows per particle", rows, about(2.0, within=0), "counted"),
            Check("a negative that says nothing, off plain guidance", plain, below(1e-12),
                  "rounding, allowed"),
            Check("a negative that says something, off plain guidance", apart, above(1e-6),
                  "more than rounding"),
        ],
        draw=lambda fig: draw_removal(fig, [*found], dogs, damage),
    )  # fmt: skip
