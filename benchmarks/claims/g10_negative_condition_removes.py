"""A negative condition removes what it names, and drives what remains off the data.

Says: "extra fingers and walking backwards" in place of the empty prompt (000, 003).
Measured: samples asked for "dog or cat", and not dog, are counted at four scales: how many dogs
are left, and how far the samples are from the spiral; removal and damage grow together.
Correction: removal is bought with damage: at w = 4 almost no dog is left, and no cat lies anywhere
near the spiral.
Control: the negative condition names the cat in the place of the dog.
Source: docs/sources.md, N15: 2130 particles, exact fields; within four standard errors of the two
runs. On the lecture's network: a negative condition that says nothing is plain guidance, and a
step asks the network twice about each particle.
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

SUBJECT, CONTROL = DOG, CAT  # the class that is named by the negative condition
QUANTITIES = ("fraction of dogs", "distance to the curve")


def measure(lab: Lab, unwanted: int) -> Finding:
    """Dogs left and distance to the spiral at four scales, and the calls of the network."""
    found = {w: removed(w, unwanted, lab.seed) for w in REMOVED}
    dogs, damage = zip(*(left.value for left in found.values()), strict=True)
    calls, rows = calls_and_rows(lab.seed, unwanted)
    plain, apart = off_plain_guidance(lab.seed, unwanted)
    return Finding(
        [
            Check(f"w = {w:g}: {name}", left.value[i],
                  about(REMOVED[w][i], within=left.printed[i] + SURE * left.error[i]),
                  "docs/sources.md, N15; to the last place printed, and four standard errors")
            for i, name in enumerate(QUANTITIES)
            for w, left in reversed(found.items())
        ]
        + [
            Check("smallest fall of the fraction of dogs from scale to scale",
                  min(a - b for a, b in pairwise(dogs)), above(0.0), "it falls"),
            Check("smallest rise of the distance from scale to scale",
                  min(b - a for a, b in pairwise(damage)), above(0.0), "it rises"),
            Check("network calls per evaluation", calls, about(2.0, within=0), "counted"),
            Check("rows of input per particle", rows, about(2.0, within=0), "counted"),
            Check("negative condition that says nothing: difference from plain guidance",
                  plain, below(1e-12), "rounding"),
            Check("negative condition that names a class: difference from plain guidance",
                  apart, above(1e-6), "more than rounding"),
        ],
        draw=lambda fig: draw_removal(fig, [*found], dogs, damage),
    )  # fmt: skip
