"""Sampling: with noise, without it, and by the flow (S1 to S10, S13, S14)."""

from __future__ import annotations

import math

import torch

from sdeflow import order, plot
from sdeflow.claims.ledger import Finding, Lab, claim
from sdeflow.claims.setting import SPIRAL, WIDE, chain, exact, muted


@claim(broken=1.0)
def s3(lab: Lab, kept: float = 0.0) -> Finding:
    """Without its noise DDPM sends every point to one inside edge of the spiral.

    Says: "all go to the centre, then to a single inside edge of the spiral" (000, 003).
    Correction: this is wrong physics and no error of the step: it is unchanged at 256 levels, and
    the distance to the curve does not see it. Spread and coverage do.
    Source: EXPERIMENTS.md, section 8; the law of the collapse in section 6.
    """
    sampler = muted(exact(), kept)
    x = chain(sampler, seed=lab.seed).x[-1]
    fine = chain(sampler, levels=256, seed=lab.seed).x[-1]
    assert SPIRAL.points is not None
    covariance = torch.cov(SPIRAL.points.T, correction=0)
    ends = order.NoiseLevel(WIDE.sigma_max), order.NoiseLevel(WIDE.sigma_min)
    law = order.noiseless_law(SPIRAL.mean, covariance, *ends)[1]
    spread = order.spread(x, covariance)
    return Finding(
        "spread of the cloud / spread of the data",
        spread,
        math.sqrt(float(law.trace() / covariance.trace())),
        "law of a Gaussian of the same covariance",
        holds=spread < 0.1 and order.coverage(x, SPIRAL.points) < 0.2,
        also={
            "spread at 256 levels": order.spread(fine, covariance),
            "share of data points covered": order.coverage(x, SPIRAL.points),
            "share within 0.05 of the curve": float((SPIRAL.distance(x) < 0.05).double().mean()),
        },
        draw=lambda fig: plot.cloud(fig.subplots(), x),
    )
