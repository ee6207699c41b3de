"""Take images to noise and bring them back by DDPM (R7)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.claims.setting import noiseless
from benchmarks.claims.smooth_spiral import PRESERVING, ROUND
from sdeflow import diagnostics
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.random_streams import KeyedNormals, Stream
from sdeflow.solvers.sde_solver import SDESolver

UNUSED_STEP = 10**6  # no chain has a step of this number, so its noise is independent of theirs


class Returned(NamedTuple):
    """Images that came back from noise, and their distances.

    x: the images that came back, (n, 2).
    own, other: squared distance (n,) to the original image, and to another image.
    distance: W2 to fresh data.
    """

    x: Tensor
    own: Tensor
    other: Tensor
    distance: float


def noised_and_back(data: GaussianMixture, n: int, kept: float, seed: int) -> Returned:
    """Noise n images of `data` to t_max, and bring them back with a part `kept` of the noise."""
    x0, fresh = data.sample(n, seed), data.sample(n, seed + 900)
    noise = KeyedNormals(seed, Stream.MOTION, n, 2, torch.float64).draw(UNUSED_STEP)
    up = PRESERVING.perturb(x0, torch.tensor(PRESERVING.t_max, dtype=torch.float64), noise)
    x = SDESolver("euler", 100, seed=seed).solve(noiseless(ROUND, kept), up, 1).x[-1]
    own, other = ((x - x0) ** 2).sum(1), ((x - x0.flip(0)) ** 2).sum(1)
    return Returned(x, own, other, diagnostics.wasserstein(x, fresh))
