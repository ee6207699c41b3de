"""256 points that go through DDPM's 64 steps end as 256 fresh data points would.

Says: "absolute chaos, but does converge nicely" (000).
Measured: the distance W2 of the cloud to the data must be no larger than that of two samples of
the data, and larger clouds must have the spread, class shares and coverage that were found before.
Control: DDPM with 0.7 of its noise.
Source: docs/sources.md, N3, rows 1 and 2 with 2130 points.
"""

from __future__ import annotations

import math

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.setting import NARROW, chain, exact, noiseless
from benchmarks.claims.spiral_samplers import clouds, data, three_clouds
from sdeflow import diagnostics

SUBJECT, CONTROL = 1.0, 0.7  # the noise, as a multiple of DDPM's
FROM_1 = (0.954, 0.999, 1, 0.0069, 0.965, 0.33, 0.31, 0.36)  # rows of N3, by the first sigma
FROM_10 = (0.951, 0.997, 1, 0.0068, 0.966, 0.33, 0.32, 0.36)


def measure(lab: Lab, kept: float) -> Finding:
    """Distance of small clouds to the data, and large clouds compared with the table."""
    narrow, wide = noiseless(exact(NARROW), kept), noiseless(exact(), kept)
    few = [chain(narrow, 256, seed=lab.seed + i).x[-1] for i in range(3)]
    fresh = [data(256, lab.seed + 900 + i) for i in range(3)]
    far = sum(diagnostics.wasserstein(x, y) for x, y in zip(few, fresh, strict=True)) / 3
    sampling_floor, sd = diagnostics.sampling_floor(data, 256, repeats=20, seed=lab.seed)
    rows = {
        "sigma from 1": three_clouds(lab, narrow, FROM_1),
        "sigma from 10": three_clouds(lab, wide, FROM_10),
    }
    return Finding(
        [
            Check(
                "W2 of 256 particles to 256 data points, three seeds",
                far,
                at_most(sampling_floor + 4 * sd / math.sqrt(3)),
                f"two samples of the data, {sampling_floor:.4g}, and four standard errors",
            )
        ]
        + [row.agrees(name) for name, row in rows.items()]
        + [row.covers(name) for name, row in rows.items()],
        draw=lambda fig: clouds(
            fig, {"256 particles": few[0], "2130 particles": rows["sigma from 1"].clouds[0]}
        ),
        size=(3.4, 1.9),
    )
