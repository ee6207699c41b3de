"""The fields of a class and of all agree at large noise, and part where the arms come apart.

Says: the two fields agree for large t and "diverge" as t approaches zero (000, 003).
Measured: the angle between the exact field of a class and that of all points is averaged over a
window, and their cosine over noised data; they show at which noise level the class begins to
matter.
Correction: on the window the angle stays finite, and for the cat it is largest half way: at small
noise the fields agree again wherever the nearest point is of the class. Where the particles are,
the fields end up opposed.
Control: the field of the next class.
Source: docs/sources.md, N13: angles to the last place printed, on 64 x 64 nodes of [-2, 2]^2;
cosines for 20,000 draws of x_t, to two places and within four standard errors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, above, below
from benchmarks.claims.class_angles import ANGLES, COSINES, angle, cosines, draw_angles
from benchmarks.claims.guided_classes import CLASSES, NAMES, Label, next_class, same_class
from benchmarks.claims.setting import CAT, SPIRAL, SURE, WIDE

SUBJECT, CONTROL = same_class, next_class  # the class whose field is taken


def _along_the_path(lab: Lab, told: Label) -> dict[float, Tensor]:
    """Cosines (20,000,) between the fields of cats and of all points at x_t, by sigma."""
    x0 = SPIRAL.sample(20_000, lab.seed, torch.float64)
    eps = WIDE.prior(len(x0), 2, lab.seed, torch.float64) / WIDE.sigma_max
    return {s: cosines(told(CAT), x0 + s * eps, WIDE.time_of(s)) for s in COSINES}


def _two_errors(x: Tensor) -> float:
    """Standard error of the difference between the mean of x (n,) and another such mean."""
    return float(x.std()) * math.sqrt(2 / len(x))


def measure(lab: Lab, told: Label) -> Finding:
    """Angles on a window and cosines where the particles are, against those of the lecture."""
    found = {t: [angle(told(k), t) for k in CLASSES] for t in ANGLES}
    off = [abs(a - b) for t in ANGLES for a, b in zip(found[t], ANGLES[t], strict=True)]
    along = _along_the_path(lab, told)
    return Finding(
        [
            Check(
                f"mean cosine between the fields of cats and of all, sigma {s:g}",
                float(along[s].mean()),
                about(said, within=0.005 + SURE * _two_errors(along[s])),
                "docs/sources.md, N13; to two places, and four standard errors",
            )
            for s, said in sorted(COSINES.items())
        ]
        + [
            Check(
                "largest deviation of an angle from N13 (degrees)",
                max(off),
                below(0.051),
                "docs/sources.md, N13; to the last place printed",
            ),
            Check(
                "smallest angle at t = 0.2 minus the largest at t = 1 (degrees)",
                min(found[0.2]) - max(found[1.0]),
                above(0.0),
                "they part",
            ),
        ],
        draw=lambda fig: draw_angles(fig, told, found),
        notes={f"angle of {n}, t = {t:g} (degrees)": a for t in (1.0, 0.2)
               for n, a in zip(NAMES, found[t], strict=True)},
    )  # fmt: skip
