"""Without its noise DDPM sends every point to one inside edge of the spiral.

Says: "all go to the centre, then to a single inside edge of the spiral" (000, 003).
Measured: the spread of the cloud and the number of data points that it covers, of 100, show
whether the sampler still makes the whole distribution or only a part of it.
Correction: the cause is the missing noise and not the step size: 256 levels give the same. The
distance to the curve does not show it; spread and coverage do. From sigma 1 the collapse is milder
than from sigma 10.
Control: DDPM with all of its noise.
Source: docs/sources.md, N3; the closed form of the collapse in N4.
"""

from __future__ import annotations

import math

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.setting import COVARIANCE, NARROW, SPIRAL, WIDE, chain, exact, noiseless
from benchmarks.claims.spiral_samplers import clouds, three_clouds
from sdeflow import analysis, diagnostics

SUBJECT, CONTROL = 0.0, 1.0  # share of the noise that is kept
FROM_10 = (1, 1, 1, 0.0027, 0.044, 1, 0, 0)  # rows of N3, by the first sigma
FROM_1 = (1, 1, 1, 0.0016, 0.436, 0.83, 0.17, 0.005)


def measure(lab: Lab, kept: float) -> Finding:
    """Spread and coverage of the clouds, and both compared with the table."""
    wide = three_clouds(lab, noiseless(exact(), kept), FROM_10)
    mild = three_clouds(lab, noiseless(exact(NARROW), kept), FROM_1)
    fine = chain(noiseless(exact(), kept), levels=256, seed=lab.seed).x[-1]
    x = wide.clouds[0]
    ends = analysis.NoiseLevel(WIDE.sigma_max), analysis.NoiseLevel(WIDE.sigma_min)
    collapsed = analysis.noiseless_law(SPIRAL.mean, COVARIANCE, *ends)[1]
    return Finding(
        [
            Check(
                "spread of the cloud / spread of the data",
                diagnostics.spread(x, COVARIANCE),
                at_most(0.1),
                "asked for; the closed form of a Gaussian is in the notes",
            ),
            Check(
                "data points covered, of 100, mean of three clouds",
                wide.covered,
                at_most(19.9),  # below 20: such a mean is a multiple of 1/3
                "asked for: fewer than 20",
            ),
            wide.agrees("sigma from 10"),
            mild.agrees("sigma from 1"),
        ],
        notes={
            "spread of a Gaussian of the same covariance, closed form": math.sqrt(
                float(collapsed.trace() / COVARIANCE.trace())
            ),
            "spread at 256 levels": diagnostics.spread(fine, COVARIANCE),
            "spread from sigma 1": diagnostics.spread(mild.clouds[0], COVARIANCE),
            "share within 0.05 of the curve": float((SPIRAL.distance(x) < 0.05).double().mean()),
        },
        draw=lambda fig: clouds(
            fig,
            {r"no noise, from $\sigma = 10$": x, r"no noise, from $\sigma = 1$": mild.clouds[0]},
        ),
        size=(3.4, 1.9),
    )
