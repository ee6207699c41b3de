"""DDPM takes the particle from (-1.6, 1.8) to the spiral in 64 steps, and so each repeat of it.

Says: "x equals minus 1.6 and y equals 1.8" (000), step by step, and lands on the spiral.
Measured: the lecture's particle is replayed with its own random numbers and must end where the
lecture's did; 2130 repeats from the same start with other noise must end on the spiral too.
Control: DDPM with twice its noise.
Source: docs/sources.md, N2: the particle ends in (0.0187, 0.9040), and the noise steps fall from
0.343 to 0.0037. The normals are torch's own, seed 2, as in the lecture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.setting import NARROW, PARTICLES, SPIRAL, exact, noiseless
from benchmarks.claims.spiral_samplers import RESIDUE
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, CONTROL = 1.0, 2.0  # the noise, as a multiple of DDPM's
START, END = (-1.6036, 1.8493), (0.0187, 0.9040)  # of particle number 25 of torch's seed 2


def measure(lab: Lab, kept: float) -> Finding:
    """The lecture's own particle, and where repeats from its start end."""
    sde = noiseless(exact(NARROW), kept)
    walk, noise = _replayed(sde)
    missed = float((walk[[0, -1]] - torch.tensor([START, END])).abs().max())
    many = torch.tensor([START]).repeat(PARTICLES, 1)
    ends = SDESolver("euler", 63, seed=lab.seed).solve(sde, many, 1).x[-1]
    off = SPIRAL.distance(ends).double()
    near = float((off < 0.05).double().mean())
    falls = float((noise.diff() < 0).double().mean())
    return Finding(
        [
            Check(
                "largest difference from the lecture's start and end",
                missed,
                at_most(1e-4),
                "docs/sources.md, N2; its last digit",
            ),
            Check(
                "share of noise steps smaller than the one before",
                falls,
                at_least(1.0),
                "all of them",
            ),
            Check(
                "share of 2130 repeats within 0.05 of the curve", near, at_least(0.99), "asked for"
            ),
        ],
        notes={
            "median distance of 2130 repeats to the curve": float(off.median()),
            "median of the noise 0.01 that samples keep": RESIDUE * 0.6745,
            "x of the lecture's particle at the end": float(walk[-1][0]),
            "y of the lecture's particle at the end": float(walk[-1][1]),
            "first noise step": float(noise[0]),
            "last noise step": float(noise[-1]),
        },
        draw=lambda fig: drawings.walk(fig, walk),
        size=(3.4, 3.4),
    )


def _replayed(sde: SDE) -> tuple[Tensor, Tensor]:
    """Particle 25 after each model step and each noise step (127, 2), from torch's own normals.

    Also the size of the noise steps (63,).
    """
    torchs = torch.Generator().manual_seed(2)
    x = torch.randn(PARTICLES, 2, generator=torchs)
    steps, walk = sde.stepped(sde.times(63), x), [x[25]]
    noise = torch.tensor([float(steps.diffusion(k, 0.0, x) or 0.0) for k in range(63)])
    for k, size in enumerate(noise):
        mean = x + steps.drift(k, 0.0, x)
        x = mean + size * torch.randn(PARTICLES, 2, generator=torchs)
        walk += [mean[25], x[25]]
    return torch.stack(walk), noise
