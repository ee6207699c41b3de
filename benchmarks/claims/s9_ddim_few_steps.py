"""DDIM needs no other network, is deterministic, and is as good in 20 steps as DDPM in 63.

Says: "significantly fewer steps, completely deterministically" (000), with the same net.
Measured: with one trained network the distance W2 to the data is taken for DDIM in 20 steps and
DDPM in 63, and two runs of DDIM with different seeds must agree bit for bit; then our training is
compared with the lecture's in each sampler.
Control: DDPM's noise (eta = 1) in the place of DDIM's none (eta = 0).
Source: means over eight clouds from sigma 10, within four standard errors; in fewer steps DDIM is
better, and both clouds shrink to the mean. The two trainings: docs/sources.md, N5, and `fit`;
three networks each, compared with the exact field on the same start and noise.
"""

from __future__ import annotations

import math

from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.setting import WIDE, lecture_field, lecture_network, our_field
from benchmarks.claims.spiral_samplers import data
from benchmarks.claims.trained_samplers import distance_to_data, distance_to_exact
from sdeflow import diagnostics
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, CONTROL = 0.0, 1.0  # eta
SLOW = True
BELOW_1 = math.nextafter(1.0, 0.0)  # 1 itself is excluded: it is what eta 1 gives


def measure(lab: Lab, eta: float) -> Finding:
    """DDIM against DDPM with our network, then our network against the lecture's."""
    net = lab.trained("spiral-ours", our_field)
    x = [WIDE.prior(500, 2, lab.seed + i) for i in range(8)]
    few = {k: distance_to_data(net, eta, k, x) for k in (63, 20, 10, 5)}
    noisy = {k: distance_to_data(net, 1.0, k, x) for k in few}
    sampling_floor, sd = diagnostics.sampling_floor(data, 500, seed=lab.seed)
    theirs = distance_to_exact(lab, "spiral-lecture", lecture_field, lecture_network())
    ours = distance_to_exact(lab, "spiral-ours", our_field)
    return Finding(
        [
            Check(
                "W2 to the data of DDIM in 20 steps, our network",
                few[20],
                at_most(noisy[63] + 4 * sd * math.sqrt(2 / 8)),
                "DDPM in 63 steps, and four standard errors",
            ),
            Check(
                "share of coordinates that two seeds end in alike, bit for bit",
                _equal(net, eta, x[0]),
                at_least(1.0),
                "deterministic",
            ),
        ]
        + [
            Check(
                f"W2 of DDIM / of DDPM, {k} steps", few[k] / noisy[k], at_most(BELOW_1), "nearer"
            )
            for k in (20, 10, 5)
        ]
        + [
            Check(f"{k}, ours - the lecture's", ours[k] - theirs[k], at_most(0.0), "as near")
            for k in ours
        ],
        notes={"W2 of two samples of the data": sampling_floor, "its standard deviation": sd}
        | {f"W2 of DDIM in {k} steps": v for k, v in few.items()}
        | {f"W2 of DDPM in {k} steps": v for k, v in noisy.items()}
        | {f"{k}, the lecture's network": v for k, v in theirs.items()}
        | {f"{k}, our network": v for k, v in ours.items()},
        draw=lambda fig: drawings.distance_by_steps(fig, few, noisy, (sampling_floor, sd)),
    )


def _equal(net: Field, eta: float, x: Tensor) -> float:
    """Share of the coordinates that two runs with different seeds end in alike."""
    solvers = [SDESolver("euler", 63, seed=s) for s in (1, 2)]
    once, again = (solver.solve(ancestral(net, eta), x, 1).x[-1] for solver in solvers)
    return float((once == again).double().mean())
