"""Measure the error of a learned score at a noise level, and its relation to the loss (R8)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.claims.measures import relative
from benchmarks.claims.setting import COVARIANCE, POINTS, SPIRAL, WIDE, exact, points
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import Prediction, decode
from sdeflow.random_streams import KeyedNormals, Stream

LEVELS = torch.linspace(0, 1, 11, dtype=torch.float64)
ScoreOf = Callable[[Tensor, float], Tensor]
"""(eps, sigma) -> score."""


class ScoreErrors(NamedTuple):
    """Errors of a score at the noise level sigma.

    learned, linear: relative L2 error of the learned score, and of the best linear field.
    identity: relative difference between the score of the exact noise and grad ln p.
    predictions: relative difference between the four predictions, each converted to noise.
    balance: excess loss minus sigma^2 |error of the score|^2, in standard errors.
    """

    sigma: float
    learned: float
    linear: float
    identity: float
    predictions: float
    balance: float


def tweedie(eps: Tensor, sigma: float) -> Tensor:
    """The score -eps / sigma of a noise estimate."""
    return -eps / sigma


def unscaled(eps: Tensor, sigma: float) -> Tensor:
    """The score without the factor 1 / sigma: a mistake."""
    return -eps


def slope(data: GaussianMixture, x: Tensor) -> Tensor:
    """grad ln p (n, d), by autograd."""
    at = x.clone().requires_grad_()
    return torch.autograd.grad(data.log_prob(at).sum(), at)[0]


def best_linear() -> ExactField:
    """The exact field of a Gaussian with the spiral's mean and covariance: the best linear one."""
    one = torch.ones(1, dtype=torch.float64)
    return ExactField(
        WIDE, GaussianMixture(one, SPIRAL.mean[None].double(), COVARIANCE[None].double())
    )


def score_errors(field: LearnedField, score_of: ScoreOf, seed: int, k: int) -> ScoreErrors:
    """The errors at the k-th level, on 4000 noised points."""
    t, x0 = LEVELS[k], points(4000, seed)
    c, eps = WIDE(t), KeyedNormals(seed, Stream.PROBE, 4000, 2, torch.float64).draw(k)
    sigma, x = float(c.sigma), WIDE.perturb(x0, t, eps)
    score = slope(GaussianMixture.isotropic(POINTS.double(), 0.0).noised(1.0, sigma), x)
    with torch.no_grad():
        each = [decode(p.row(c), field.predict(p, x, t), x, c)[1] for p in Prediction]
        linear = relative(score_of(best_linear().noise(x, t), sigma), score)
    beyond = ((each[0] - eps) ** 2 - (sigma * score + eps) ** 2).sum(1)
    off = beyond - sigma**2 * ((score_of(each[0], sigma) - score) ** 2).sum(1)
    return ScoreErrors(
        sigma=sigma,
        learned=relative(score_of(each[0], sigma), score),
        linear=linear,
        identity=relative(score_of(exact().noise(x, t), sigma), score),
        predictions=max(relative(noise, each[0]) for noise in each),
        balance=abs(float(off.mean() / off.std())) * math.sqrt(len(off)),
    )
