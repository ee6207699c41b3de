"""The arrows turn from the centre to the spiral at t = 0.4 of the lecture's time.

Says: a "phase change" "as t approaches 0.4" (000).
Measured: the noise level at which the exact field's arrows turn fastest, and that at which they
point to the nearest data point as much as to the mean, are compared with the lecture's time; the
level at which arrows between two arms turn outwards is compared with a closed form.
Correction: 0.4 is a time of one noise schedule. It stands for a length, sigma = 0.14 to 0.16, at
which arms 0.4 apart stop blurring into one another: (d / pi) sqrt(ln(4 pi r / d) / 2). It is not
speciation, at sigma = 0.49, where the arrows still point at the mean.
Control: the time is read on another schedule, with sigma from 0.01 to 1.
Source: docs/sources.md, N6; `sdeflow.analysis.transitions`; Biroli et al. 2024.
"""

from __future__ import annotations

import torch

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, about, at_least
from benchmarks.claims.random_walk import lattice
from benchmarks.claims.setting import COVARIANCE, NARROW, POINTS, WIDE, exact
from sdeflow import analysis
from sdeflow.distributions import datasets
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import EDM, VP, Linear

SUBJECT, CONTROL = WIDE, NARROW  # whose t is read
SPIRALS = ((2.5, 100), (4.0, 200), (6.0, 400))  # turns, points


def measure(lab: Lab, process: Process) -> Finding:
    """Where the arrows turn fastest and where they leave the mean, as a time and as a length."""
    field = exact(process)
    rho = process(torch.linspace(0, 1, 256, dtype=torch.float64)).sigma
    turned = analysis.turning_rate(field, lattice(2.0), rho)
    middle, near = analysis.alignment(field, POINTS, lattice(1.5), rho)
    peak = turned.peak()
    cross = analysis.Curve(rho, near.value - middle.value).crossing(0.0)
    spectral = analysis.speciation(COVARIANCE)
    there = torch.tensor([1.0, 0.999], dtype=torch.float64) * spectral.rho
    still = float(analysis.alignment(field, POINTS, lattice(1.5), there)[0].value[0])
    n6 = "docs/sources.md, N6"
    return Finding(
        [
            Check("t at which the arrows turn fastest", peak.t(process), about(0.398, 0.008), n6),
            Check(
                "t at which arrows point to nearest point and mean alike",
                cross.t(process),
                about(0.382, 0.004),
                n6,
            ),
            *_arms(),
            Check("mean cosine to the mean at speciation", still, at_least(0.99), "asked for"),
        ],
        notes={
            "sigma at which the arrows turn fastest": peak.rho,
            "sigma at which arrows point to nearest point and mean alike": cross.rho,
            "t of the fastest turn, sigma from 0.01 to 1": peak.t(NARROW),
            "t of the fastest turn, VP": peak.t(VP()),
            "t of the fastest turn, straight flow": peak.t(Linear()),
            "sigma of speciation": spectral.rho,
        },
        draw=lambda fig: drawings.phase_change(fig, turned, middle, near),
        size=(3.4, 3.2),
    )


def _arms(radius: float = 0.7) -> list[Check]:
    """The noise level at which arrows between arms turn outwards, over the closed form."""
    checks = []
    for turns, count in SPIRALS:
        points = datasets.spiral(count, turns).distribution.points
        assert points is not None
        want = analysis.arm_resolution(radius, 1 / turns).rho
        rho = want * torch.linspace(2.0, 0.5, 31, dtype=torch.float64)
        field = ExactField(EDM(t_min=1e-4), PointSet(points))
        found = analysis.first_outward_level(field, radius, 1 / turns, rho, 48).mean()
        name = f"level at which arrows between arms turn outwards / closed form, {turns:g} turns"
        checks.append(Check(name, float(found) / want, about(1.0, 0.05), "closed form"))
    return checks
