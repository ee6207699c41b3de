"""Compare fixed and learned variances of DDPM's reverse step on the spiral (R5)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.claims.setting import exact, points
from benchmarks.claims.smooth_spiral import PRESERVING, ROUND
from sdeflow import diagnostics
from sdeflow.analysis.elbo import (
    KernelVariance,
    elbo,
    large_variance,
    learned_variance,
    optimal_variance,
    small_variance,
)
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.processes.time_grids import uniform_times
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

Choice = Callable[[Field, Tensor, Tensor], KernelVariance]
"""(field, x0, times) -> v, where x0 are data to fit it to."""
BARE = exact(PRESERVING)
COUNTS = (5, 20, 200)  # steps


def small(field: Field, x0: Tensor, times: Tensor) -> KernelVariance:
    """DDPM's small fixed variance."""
    return small_variance(field.process, times)


def large(field: Field, x0: Tensor, times: Tensor) -> KernelVariance:
    """DDPM's large fixed variance."""
    return large_variance(field.process, times)


def rooted(field: Field, x0: Tensor, times: Tensor) -> KernelVariance:
    """The standard deviation in the place of the variance: a mistake."""
    v = learned_variance(field, x0, times)
    return KernelVariance(times, v.value.sqrt())


@functools.lru_cache(maxsize=32)
def fitted(choose: Choice, field: ExactField, steps: int) -> KernelVariance:
    """The variances of a chain over times uniform in t, fitted to 2000 data."""
    times = uniform_times(PRESERVING.t_max, PRESERVING.t_min, steps)
    return choose(field, field.sample(2000, 77).double(), times)


def ends(v: KernelVariance, seed: int) -> Tensor:
    """1000 particles after the chain's last noise step."""
    x = PRESERVING.prior(1000, 2, seed, torch.float64)
    return SDESolver(times=v.times, seed=seed).solve(ancestral(BARE, variance=v), x, 1).x[-1]


@functools.lru_cache(maxsize=32)
def distance_and_bound(choose: Choice, steps: int, seed: int) -> tuple[float, float]:
    """Mean W2 of three clouds to the spiral, and the mean bound on the spiral of width 0.05."""
    v = fitted(choose, BARE, steps)
    three = range(seed, seed + 3)
    far = [diagnostics.wasserstein(ends(v, k), points(1000, k + 100)) for k in three]
    v = fitted(choose, ROUND, steps)
    return sum(far) / 3, elbo(ROUND, ROUND.sample(1000, seed), v.times, v, seed).mean


def further(learned: Choice, seed: int) -> dict[str, float]:
    """W2 after one more step from the large variance; the learned over the optimal variance."""
    once = fitted(large, BARE, 5)
    clean = BARE.data(ends(once, seed), once.times[-1])
    fits = [fitted(learned, BARE, k) for k in COUNTS]
    ratio = torch.cat([v.value / optimal_variance(BARE, v.times).value for v in fits])
    far = diagnostics.wasserstein(clean, points(1000, seed + 100))
    return {
        "W2, large, 5 steps and one more to sigma = 0": far,
        "learned / optimal variance, where it is farthest from 1": float(
            ratio[(ratio - 1).abs().argmax()]
        ),
    }
