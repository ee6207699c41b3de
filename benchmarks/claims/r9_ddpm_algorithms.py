"""DDPM's two algorithms, training and sampling, are a loss and an SDE of this package.

Says: train on the total noise, algorithm 1, and sample with fresh noise in each step, algorithm 2
of "DDPM" (000, in our words).
Measured: both algorithms are written as in the paper, and the gradient of the first is compared
with that of `loss`, the samples of the second with those of `ancestral` on the same noise; they
agree to rounding.
Control: the sampler repeats one noise in every step instead of drawing it anew.
Source: Ho et al. 2020: T = 1000, beta from 1e-4 to 0.02. The samples of algorithm 2 must also be
as near to the data as other data are.
"""

from __future__ import annotations

import torch

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.ddpm_algorithms import algorithm_1, algorithm_2, renewed
from benchmarks.claims.measures import gradient, relative, sure
from benchmarks.claims.noising import BETAS, DDPM
from benchmarks.claims.setting import exact, points
from sdeflow import diagnostics
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver
from sdeflow.training.loss import loss, prediction_weighting

SUBJECT, CONTROL = 1.0, 0.0  # share of each step's noise that is new
N = 256


def sampled(seed: int, fresh: float) -> tuple[float, float]:
    """W2 of algorithm 2 to the data, and its largest difference from `ancestral`."""
    field, x = exact(DDPM), DDPM.prior(N, 2, seed, torch.float64)
    end = algorithm_2(field.noise, x, BETAS, renewed(seed, N, fresh))
    times = torch.arange(1000, 0, -1, dtype=torch.float64)
    ours = SDESolver(times=times, seed=seed).solve(ancestral(field), x, 1).x[-1]
    off = float((field.data(ours, 1.0) - end).abs().max())
    return diagnostics.wasserstein(end, points(N, seed + 900)), off


def trained(seed: int) -> float:
    """The relative difference between the gradients of algorithm 1 and of `loss`."""
    learned = LearnedField(DDPM, MLP(seed=seed).double())
    g = random_generator(seed, Stream.PROBE)
    t, x0 = torch.from_numpy(g.integers(1, 1001, N)), points(N, seed)
    eps = torch.from_numpy(g.standard_normal((N, 2)))
    theirs = gradient(learned.network, algorithm_1(learned.noise, x0, t, eps, BETAS))
    simple = loss(learned, x0, t.double(), eps, prediction_weighting(Prediction.NOISE))
    mine = gradient(learned.network, 2 * simple.mean())  # ours is per coordinate
    return relative(theirs, mine)


def measure(lab: Lab, fresh: float) -> Finding:
    """Both algorithms, compared with the package's loss and SDE."""
    far, off = zip(*(sampled(lab.seed + i, fresh) for i in range(3)), strict=True)
    sampling_floor, sd = diagnostics.sampling_floor(points, N, seed=lab.seed)
    return Finding(
        [
            Check(
                "largest difference between algorithm 2 and `ancestral` on the same noise",
                max(off),
                below(1e-10),
                "rounding of 1000 steps",
            ),
            Check(
                "relative difference between the gradients of algorithm 1 and `loss`",
                trained(lab.seed),
                below(1e-10),
                "rounding",
            ),
            Check(
                "W2 of three clouds of algorithm 2 to the data",
                sum(far) / 3,
                below(sampling_floor + sure(sd)),
                "two samples of the data, and four standard errors",
            ),
        ],
        notes={"W2 of two samples of the data": sampling_floor, "its standard deviation": sd},
    )
