r"""Write down transition kernels: x_t given x_s is N(scale x_s + shift, variance).

    noising_transition      dx = f x dt + g dW, the noising of any process
    relaxation_transition   dx = -rate x dt + noise dW, axis by axis
    gaussian_transition     the reverse SDE of a single Gaussian, at any eta

With such a `transition` of an SDE, `evolve` computes the density at any later time in one step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.processes.process import Process
from sdeflow.sdes.sde import Transition, TransitionKernel


def noising_transition(process: Process) -> Transition:
    r"""The transition of the noising SDE, s < t.

        scale = alpha_t / alpha_s,    variance = alpha_t^2 (rho_t^2 - rho_s^2),

    with rho = sigma / alpha. The variance is a product, which keeps its digits where t is near s.
    """

    def transition(s: float, t: float) -> TransitionKernel:
        before, after = process(s), process(t)
        low, high = before.sigma / before.alpha, after.sigma / after.alpha
        variance = after.alpha**2 * (high - low).clamp_min(0) * (high + low)
        return TransitionKernel(after.alpha / before.alpha, torch.zeros_like(variance), variance)

    return transition


def relaxation_transition(rate: Tensor, noise: Tensor) -> Transition:
    """The transition of dx = -rate x dt + noise dW, for rate > 0 and noise () or (d,).

    scale = e^{-rate (t - s)},    variance = noise^2 (1 - e^{-2 rate (t - s)}) / (2 rate).
    """

    def transition(s: float, t: float) -> TransitionKernel:
        variance = noise**2 * -torch.expm1(-2 * rate * (t - s)) / (2 * rate)
        return TransitionKernel(torch.exp(-rate * (t - s)), torch.zeros_like(rate), variance)

    return transition


def gaussian_transition(field: Field, eta: float) -> Transition | None:
    r"""The transition of `reverse(field, eta)`, t < s, for data N(m, diag(v)); else None.

        scale = alpha_t / alpha_s r^{(1 + eta^2) / 2},    r = (v + rho_t^2) / (v + rho_s^2),
        shift = (alpha_t - scale alpha_s) m,
        variance = alpha_t^2 (v + rho_t^2) (1 - r^{eta^2}),

    because the score of a Gaussian is linear in x, and the marginals do not depend on eta.
    """
    data = field.distribution if isinstance(field, ExactField) else None
    if not isinstance(data, GaussianMixture) or len(data.weights) > 1:
        return None
    mean, covariance = data.means[0].double(), data.covariances[0].double()
    v, process = covariance.diagonal(), field.process
    if (covariance != torch.diag(v)).any():
        return None

    def transition(s: float, t: float) -> TransitionKernel:
        before, after = process(s), process(t)
        wide, narrow = (v + (c.sigma / c.alpha) ** 2 for c in (before, after))
        log_ratio = torch.log(narrow / wide)
        scale = after.alpha / before.alpha * torch.exp((1 + eta**2) / 2 * log_ratio)
        shift = (after.alpha - scale * before.alpha) * mean
        variance = after.alpha**2 * narrow * -torch.expm1(eta**2 * log_ratio)
        return TransitionKernel(scale, shift, variance)

    return transition
