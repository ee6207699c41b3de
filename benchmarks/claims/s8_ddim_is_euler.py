"""DDIM's step without noise is Euler's step of the flow in sigma, and it lands on the spiral.

Says: DDIM has no noise but a "new scaling for the sizes of steps" (000).
Measured: DDIM's path is compared with Euler's method for the flow in the variable sigma, the
length of its first step with a formula, and its clouds with those found before; DDIM is a solver
of the flow and not DDPM without noise.
Correction: DDIM's step is sigma - sigma', where the mean of DDPM moves by sigma - sigma'^2 /
sigma, about twice as far; so DDIM is not DDPM with its noise removed. From sigma 1 the cloud stays
narrow, because it starts from N(0, 1) and not from the noised data.
Control: DDPM with its noise removed.
Source: Song, Meng and Ermon 2021, eq. 13 and 14; docs/sources.md, N3.
tests/theorems/test_parity.py shows that the step is that of diffusers' DDIMScheduler.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.claims.claim import Check, Finding, Lab, about, at_most
from benchmarks.claims.setting import COVARIANCE, NARROW, WIDE, chain, exact, noiseless
from benchmarks.claims.spiral_samplers import clouds, ddim, three_clouds
from sdeflow import diagnostics
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import comoving
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, CONTROL = ddim, noiseless  # the sampler's step
EULER = "largest distance between DDIM and Euler's method for the flow in sigma"
FIRST = "length of DDIM's first step / of the step of DDPM's mean"
ROWS = {  # of N3
    "sigma from 1": (NARROW, 64, (0.949, 0.992, 1, 0.0068, 0.910, 0.36, 0.34, 0.30)),
    "sigma from 1, 256 levels": (NARROW, 256, (0.953, 0.998, 1, 0.0066, 0.919, 0.36, 0.33, 0.31)),
    "sigma from 10": (WIDE, 64, (0.941, 0.991, 1, 0.0072, 0.970, 0.32, 0.32, 0.36)),
}


def measure(lab: Lab, sde: Callable[[Field], SDE]) -> Finding:
    """DDIM against Euler's method, the length of its first step, and its clouds against N3."""
    off, ratio, scaling = _first_steps(sde, lab.seed)
    rows = {
        name: three_clouds(lab, sde(exact(process)), said, levels)
        for name, (process, levels, said) in ROWS.items()
    }
    fine = rows["sigma from 1, 256 levels"].clouds[0]
    mean = chain(noiseless(exact(NARROW)), seed=lab.seed).x[-1]
    return Finding(
        [
            Check(EULER, off, at_most(1e-9), "rounding of 63 steps"),
            Check(FIRST, ratio, about(scaling, 1e-9), "1 / (1 + sigma' / sigma), and rounding"),
        ]
        + [row.agrees(name) for name, row in rows.items()]
        + [row.covers(name) for name, row in rows.items()],
        notes={
            f"spread, {k}": diagnostics.spread(row.clouds[0], COVARIANCE)
            for k, row in rows.items()
        },
        draw=lambda fig: clouds(fig, {"DDIM": fine, "DDPM's mean": mean}),
        size=(3.4, 1.9),
    )


def _first_steps(sde: Callable[[Field], SDE], seed: int) -> tuple[float, float, float]:
    """Distance to Euler's run; first step over that of DDPM's mean, measured and by formula."""
    x = WIDE.prior(500, 2, seed, torch.float64)
    ours = SDESolver("euler", 63).solve(sde(exact()), x, 64)
    euler = ODESolver("euler", 63).solve(comoving(exact(), 0.0), x, 64)
    mean = noiseless(exact()).stepped(ours.t, x).drift(0, 0.0, x)
    ratio = ((ours.x[1] - x).norm(dim=1) / mean.norm(dim=1)).mean()
    sigma = WIDE(ours.t).sigma
    off = (ours.x - euler.x).abs().max()
    return float(off), float(ratio), float(1 / (1 + sigma[1] / sigma[0]))
