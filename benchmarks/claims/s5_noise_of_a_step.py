"""A reverse step draws from a Gaussian of which the network has learned only the mean.

Says: adding noise is sampling from the "Gaussian" whose mean the model has learned (000).
Measured: the variance of a cloud after one long reverse step is compared with that of the exact
distribution, for three choices of the step's noise; with the mean alone the step loses the
posterior variance of x_0.
Correction: with the mean alone a step loses the variance that x_0 still has when x_t is known.
DDPM's noise (the small variance) gives back only the part for a known x_0; `optimal_variance`
gives back all, and so keeps the variance of the distribution in a long step.
Control: the mean alone, without noise.
Source: law of total variance; docs/theory.md, (4.6). One step of sigma from 0.32 to 0.16.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about
from benchmarks.claims.setting import SPIRAL, WIDE, exact
from sdeflow.analysis.elbo import KernelVariance, optimal_variance, small_variance
from sdeflow.fields.exact import ExactField
from sdeflow.sdes.generative import Variance, ancestral
from sdeflow.solvers.sde_solver import SDESolver


def no_variance(field: ExactField, times: Tensor) -> KernelVariance:
    """The mean alone."""
    return KernelVariance(times, torch.zeros_like(times))


SUBJECT, CONTROL = optimal_variance, no_variance  # the variance of the step's noise


def measure(lab: Lab, variance: Callable[[ExactField, Tensor], KernelVariance]) -> Finding:
    """Variance after one step with three choices of its noise."""
    n, field = 40_000, exact()
    times = torch.tensor([0.5, 0.4], dtype=torch.float64)
    z = torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(lab.seed))
    x = WIDE.perturb(SPIRAL.sample(n, lab.seed, torch.float64), times[0], z)

    def after(v: Variance) -> tuple[float, float]:
        """Variance per coordinate after the step, and its standard error."""
        solver = SDESolver("euler", times=times, seed=lab.seed)
        y = solver.solve(ancestral(field, variance=v), x, 1).x[-1]
        square = ((y - y.mean(0)) ** 2).mean(1)
        return float(square.mean()), float(square.std()) / math.sqrt(n)

    want = SPIRAL.std**2 + float(WIDE(times[1]).sigma) ** 2
    got, error = after(variance(field, times))
    mean, _ = after(no_variance(field, times))
    small, _ = after(small_variance(WIDE, times))
    lost = float(optimal_variance(field, times)(times))
    return Finding(
        [
            Check(
                "variance after one step - that of the distribution (per coordinate)",
                got - want,
                about(0.0, 4 * error),
                "four standard errors",
            ),
            Check(
                "variance lost by the mean alone",
                want - mean,
                about(lost, 4 * error),
                "exact posterior variance; within four standard errors",
            ),
        ],
        notes={
            "variance of the distribution": want,
            "exact posterior variance": lost,
            "variance lost with DDPM's noise": want - small,
        },
    )
