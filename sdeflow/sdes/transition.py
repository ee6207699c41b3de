r"""Compute transition kernels of linear SDEs: x_t given x_s is N(scale x_s + shift, variance).

    NoisingTransition       dx = f x dt + g dW, the noising SDE of any process
    RelaxationTransition    dx = -rate x dt + noise dW, axis by axis
    BrownianTransition      dx = sqrt(rate) dW
    gaussian_transition     the reverse SDE at any eta, for data of one Gaussian

`evolve` computes the density of an SDE that has a `transition` at any later time in one step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.processes.process import Process
from sdeflow.sdes.sde import TransitionKernel


@dataclass(frozen=True)
class NoisingTransition:
    r"""The transition kernel of the noising SDE from s to t > s.

    scale = alpha_t / alpha_s,    variance = alpha_t^2 (rho_t^2 - rho_s^2),    rho = sigma / alpha.
    """

    process: Process

    def __call__(self, s: float, t: float) -> TransitionKernel:
        before, after = self.process(s), self.process(t)
        low, high = before.sigma / before.alpha, after.sigma / after.alpha
        # A product, so that no digits cancel where t is near s.
        variance = after.alpha**2 * (high - low).clamp_min(0) * (high + low)
        return TransitionKernel(after.alpha / before.alpha, torch.zeros_like(variance), variance)


@dataclass(frozen=True, eq=False)
class RelaxationTransition:
    """The transition kernel of dx = -rate x dt + noise dW, with rate > 0 and noise () or (d,).

    scale = e^{-rate (t - s)},    variance = noise^2 (1 - e^{-2 rate (t - s)}) / (2 rate).
    """

    rate: Tensor
    noise: Tensor

    def __call__(self, s: float, t: float) -> TransitionKernel:
        rate, gone = self.rate, self.rate * (t - s)
        variance = self.noise**2 * -torch.expm1(-2 * gone) / (2 * rate)
        return TransitionKernel(torch.exp(-gone), torch.zeros_like(rate), variance)


@dataclass(frozen=True)
class BrownianTransition:
    """The transition kernel of dx = sqrt(rate) dW: variance = rate (t - s)."""

    rate: float

    def __call__(self, s: float, t: float) -> TransitionKernel:
        one = torch.ones((), dtype=torch.float64)
        return TransitionKernel(one, 0 * one, self.rate * (t - s) * one)


@dataclass(frozen=True, eq=False)
class GaussianTransition:
    r"""The transition kernel of `reverse(field, eta)` from s to t < s, for data N(m, diag(v)).

        scale = alpha_t / alpha_s r^{(1 + eta^2) / 2},    r = (v + rho_t^2) / (v + rho_s^2),
        shift = (alpha_t - scale alpha_s) m,
        variance = alpha_t^2 (v + rho_t^2) (1 - r^{eta^2}),

    because the score of a Gaussian is linear in x, and the distribution of x_t does not depend on
    eta. m is `mean`, v is `variance`.
    """

    process: Process
    mean: Tensor
    variance: Tensor
    eta: float

    def __call__(self, s: float, t: float) -> TransitionKernel:
        before, after = self.process(s), self.process(t)
        wide, narrow = (self.variance + (c.sigma / c.alpha) ** 2 for c in (before, after))
        log_ratio = torch.log(narrow / wide)
        scale = after.alpha / before.alpha * torch.exp((1 + self.eta**2) / 2 * log_ratio)
        shift = (after.alpha - scale * before.alpha) * self.mean
        variance = after.alpha**2 * narrow * -torch.expm1(self.eta**2 * log_ratio)
        return TransitionKernel(scale, shift, variance)


def gaussian_transition(field: Field, eta: float) -> GaussianTransition | None:
    """The transition of `reverse(field, eta)` for data of one Gaussian with diagonal covariance.

    For other data it is None.
    """
    data = field.distribution if isinstance(field, ExactField) else None
    if not isinstance(data, GaussianMixture) or len(data.weights) > 1:
        return None
    mean, covariance = data.means[0].double(), data.covariances[0].double()
    v = covariance.diagonal()
    if (covariance != torch.diag(v)).any():
        return None
    return GaussianTransition(field.process, mean, v, eta)
