"""More guidance makes the class surer and covers less of it; the distance W2 is best near w = 1.

Says: at an "alpha of around 2" a tiny tree appears, and it grows with alpha (000, 003).
Measured: five networks and the exact fields are guided with scales from w = 1, no guidance, to 11;
accuracy, coverage of the class's points and distance W2 to them show what guidance gains and what
it costs.
Correction: on the spiral more guidance soon makes the samples less varied: the distance to the
class's distribution is least below w = 2, and at large w it is worse than without guidance. With
the exact fields nothing beyond the sampling error is gained.
Control: guidance away from the class in the place of guidance towards it.
Source: docs/sources.md, N14; DDIM over 64 levels from sigma 10, best scale by W2 to the class's
points; the sampling error is four deviations of fresh data.
"""

from __future__ import annotations

import torch

from benchmarks.claims.claim import Check, Finding, Lab, above, below
from benchmarks.claims.guidance_sweep import SCALES, draw_sweep, swept
from benchmarks.claims.guided_classes import CLASSES, EACH, NAMES, fresh_distance
from benchmarks.claims.seed_intervals import mean_and_interval, with_interval
from benchmarks.claims.setting import SURE

SUBJECT, CONTROL = 1.0, -1.0  # the sign of what guidance adds
SLOW = True
TWO, LAST = SCALES.index(1.0), len(SCALES) - 1  # w = 2, w = 11


def measure(lab: Lab, push: float) -> Finding:
    """Accuracy, W2 and coverage over the scale, of five networks and of the exact fields."""
    scales, found, ideal = swept(lab, push)
    best = torch.tensor(scales)[found[..., 2].argmin(1)].double()
    pooled = found.mean(2)
    changes = {
        "rise of accuracy from w = 1 to 2": pooled[:, TWO, 0] - pooled[:, 0, 0],
        "fall of coverage from w = 1 to 11": pooled[:, 0, 3] - pooled[:, LAST, 3],
        "rise of W2 from w = 1 to 11": pooled[:, LAST, 2] - pooled[:, 0, 2],
    }
    mean, half = (float(v) for v in mean_and_interval(best.mean(1)))
    fresh, spread = zip(*(fresh_distance(k, EACH, lab.seed) for k in CLASSES), strict=True)
    nothing = ideal[0, :, 2] - ideal[:, :, 2].amin(0)  # what the exact fields gain at best
    checks = [
        Check(
            "best scale w by W2, mean of the classes and of five networks",
            mean,
            below(2 - half),
            "2, as in the lecture, less half of the 95 % interval",
        )
    ]
    for name, change in changes.items():
        gained, doubt = (float(v) for v in mean_and_interval(change))
        checks.append(Check(name, gained, above(doubt), "half of its 95 % interval"))
    for n, gain, sd in zip(NAMES, nothing.tolist(), spread, strict=True):
        name = f"exact field: largest fall of W2 by guidance, {n}"
        checks.append(Check(name, gain, below(SURE * sd), "four deviations of W2 of fresh data"))
    notes: dict[str, float] = {}
    for i, n in enumerate(NAMES):
        notes |= with_interval(f"best w of {n}", best[:, i])
        notes[f"exact field: W2 of {n} at w = 11"] = float(ideal[-1, i, 2])
        notes |= {
            f"W2 of fresh data, {n}": fresh[i],
            f"W2 of fresh data, {n}, standard deviation": spread[i],
        }
    return Finding(
        checks,
        draw=lambda fig: draw_sweep(fig, scales, found, ideal, fresh),
        size=(3.4, 4.4),
        notes=notes,
    )
