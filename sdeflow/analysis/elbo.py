r"""The chain as a model with a likelihood: the evidence lower bound and the variance it asks for.

A sampler in K steps, t_max = t_0 > ... > t_K = t_min, is a chain of Gaussians, and the step to
sigma = 0 that ends it is one more of them:

    p(x_0, x_{t_K}, ..., x_{t_0}) = p(x_{t_0}) prod_k p(x_s | x_t) p(x_0 | x_{t_K}),
    p(x_{t_0}) = N(0, sigma^2 I),    p(x_s | x_t) = N(mean of `bridge` at eta = 1, v I).

The noising run gives the same chain the other way, with x_s | x_t, x_0 ~ N(., kappa I) (4.4). By
Jensen's inequality, whatever the field and whatever v,

    ln p(x_0) >= - KL(q(x_{t_0} | x_0), p(x_{t_0}))                                prior
                 - sum_k E KL(q(x_s | x_t, x_0), p(x_s | x_t))                     steps
                 + E ln p(x_0 | x_{t_K})                                           last step,

    KL of a step = d (kappa / v - 1 - ln(kappa / v)) / 2 + a^2 |x_0 - x0_hat|^2 / 2 v,
    a = alpha_s (1 - rho_s^2 / rho_t^2).

What is bounded is the density of the *data*, x_0 at sigma = 0: they must have one (a mixture has,
bare points do not). Pointwise the bound is on the model's own density; its mean over the data is
below their mean log density too (Gibbs), and the difference is the divergence of the two chains.

The mean carries all the learning; v is what is left to choose. kappa ("small") is right for a
point and beta ("large"), the variance of the forward step, for N(0, I) under VP (Ho et al. 2020,
section 3.2); (4.6) gives the truth between them, and the bound is highest there. All of them
agree as steps go to zero.

See docs/theory.md, (4.4) the step, (4.6) its variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_times
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.processes.process import Process
from sdeflow.random_streams import Stream, random_generator


@dataclass(frozen=True, eq=False)
class KernelVariance:
    """The variances of a chain's Gaussians, per coordinate; call it for those of its steps.

    Attributes:
        times: (K + 1,), falling.
        value: (K + 1,) v of the step from each time to the next, the last one to sigma = 0.

    `bridge(field, variance=this)` is the sampler with these variances.

    Raises (when called):
        ValueError: for other times than its own.
    """

    times: Tensor
    value: Tensor

    def __call__(self, times: Tensor) -> Tensor:
        """v of the K steps between these times, (K,)."""
        if times.shape != self.times.shape or not torch.allclose(
            times.to(self.times), self.times, rtol=1e-9, atol=0.0
        ):
            raise ValueError(
                f"these variances belong to {len(self.times)} times from {float(self.times[0]):g} "
                f"to {float(self.times[-1]):g}; give the solver times= with the same ones"
            )
        return self.value[:-1]


@dataclass(frozen=True, eq=False)
class Bound:
    """An evidence lower bound, term by term (nats).

    Attributes:
        times: (K + 1,) the chain's.
        terms: (K + 2, n) what each point loses: the prior, the K steps, the last step.
    """

    times: Tensor
    terms: Tensor

    @property
    def total(self) -> Tensor:
        """The bound on ln p(x_0), (n,): minus the sum of the terms, unbiased for each point."""
        return -self.terms.sum(0)

    @property
    def mean(self) -> float:
        """The mean over the points."""
        return float(self.total.detach().mean())

    @property
    def error(self) -> float:
        """Standard error of `mean`, of points and noise together."""
        return float(self.total.detach().std()) / math.sqrt(self.terms.shape[1])


class _Step(NamedTuple):
    """Per time, (K + 1,): how the step from there to the next uses x0_hat, kappa and beta."""

    pull: Tensor
    small: Tensor
    large: Tensor
    level: Tensor


def _steps(process: Process, times: Tensor) -> _Step:
    """(4.4) for each pair of times, and for the step from the last of them to sigma = 0."""
    c = process(times)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    alpha, sigma = torch.cat([c.alpha[1:], one]), torch.cat([c.sigma[1:], zero])
    kept = 1 - (sigma / alpha * c.alpha / c.sigma) ** 2
    return _Step(
        pull=alpha * kept,
        small=sigma**2 * kept,
        large=c.sigma**2 - (c.alpha / alpha * sigma) ** 2,
        level=c.sigma / c.alpha,
    )


def _falling(process: Process, times: Tensor) -> Tensor:
    times = check_times(times, process.t_min, process.t_max)
    if times[0] < times[-1]:
        raise ValueError("times must fall, from noise to data; flip them")
    return times


def gaussian_kl(
    mean1: Tensor, variance1: Tensor | float, mean2: Tensor, variance2: Tensor | float
) -> Tensor:
    """KL(N(mean1, variance1), N(mean2, variance2)) in nats, (n,), coordinates independent.

        sum_i [v1 / v2 - 1 - ln(v1 / v2) + (m1 - m2)^2 / v2] / 2.

    Args:
        mean1, mean2: (n, d). variance1, variance2: anything that broadcasts to it.

    Raises:
        ValueError: a variance is not positive.
    """
    v1, v2 = (torch.as_tensor(v, dtype=mean1.dtype) for v in (variance1, variance2))
    if not ((v1 > 0).all() and (v2 > 0).all()):
        raise ValueError("variances must be positive; a point has no divergence from a Gaussian")
    share = v1 / v2
    return ((share - 1 - torch.log(share)) + (mean1 - mean2) ** 2 / v2).sum(1) / 2


# ---- choices of v -------------------------------------------------------------------------------


def small_variance(process: Process, times: Tensor) -> KernelVariance:
    """v = kappa: right if x_0 is one point, and so the least that any data ask for.

    The last step's kappa is 0 and leaves no density: there it is `large_variance`'s.

    Raises:
        TypeError, ValueError: times do not fall, or leave the process's span.

    Source: Ho et al. 2020, section 3.2 and eq. 7.
    """
    times = _falling(process, times)
    step = _steps(process, times)
    return KernelVariance(times, torch.cat([step.small[:-1], step.large[-1:]]))


def large_variance(process: Process, times: Tensor) -> KernelVariance:
    """v = beta = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2, the variance of the forward step.

    Right if x_0 ~ N(0, I) under VP, and for a flat law under VE.

    Raises:
        TypeError, ValueError: as `small_variance`.

    Source: Ho et al. 2020, section 3.2.
    """
    times = _falling(process, times)
    return KernelVariance(times, _steps(process, times).large)


def optimal_variance(
    field: ExactField, times: Tensor, n: int = 4000, seed: int = 0
) -> KernelVariance:
    """v = kappa + a^2 E tr Cov(x_0 | x_t) / d: the true step's variance, averaged (4.6).

    The expectation is over n draws of the field's own law at each time.

    Raises:
        TypeError, ValueError: as `small_variance`; the field does not know its own uncertainty.

    Source: Bao, Li, Zhu and Zhang 2022 (Analytic-DPM), theorem 1.
    """
    if not isinstance(field, ExactField):
        raise TypeError("optimal_variance needs an exact field; use learned_variance")
    times = _falling(field.process, times)
    x0 = field.sample(n, seed).double()
    unsure = torch.zeros(len(times), dtype=torch.float64)
    with torch.no_grad():
        for k, t in enumerate(times):
            c = field.process(t)
            x = c.alpha * x0 + c.sigma * _noise(x0, seed, k)
            unsure[k] = field.posterior(x, c.along(x)).data_variance.mean() / x.shape[1]
    return _widened(field.process, times, unsure)


def learned_variance(field: Field, x0: Tensor, times: Tensor, seed: int = 0) -> KernelVariance:
    """One v for each step, fitted to data x0 (n, d): that with the highest bound, the mean frozen.

        v = kappa + a^2 E|x_0 - x0_hat|^2 / d

    solves dL / dv = 0 for any field: no descent is needed. A field that is wrong gets a wider
    step. It is fitted to these points and this noise; judge it by `elbo` on others.

    Raises:
        TypeError, ValueError: as `small_variance`; x0 is no finite cloud.

    Source: Nichol and Dhariwal 2021, section 3.1, whose network gives v at each x as a geometric
    mean of kappa and beta (eq. 15); here v depends on time alone.
    """
    x0 = check_cloud(x0, "x0").double()
    times = _falling(field.process, times)
    with torch.no_grad():
        missed = torch.stack([(off**2).mean() for off in _errors(field, x0, times, seed)])
    return _widened(field.process, times, missed)


def _widened(process: Process, times: Tensor, unsure: Tensor) -> KernelVariance:
    step = _steps(process, times)
    return KernelVariance(times, step.small + step.pull**2 * unsure)


# ---- the bound ----------------------------------------------------------------------------------


def _noise(x0: Tensor, seed: int, k: int) -> Tensor:
    """eps (n, d) of time k: the same for every choice of v, so that their bounds compare."""
    return torch.from_numpy(
        random_generator(seed, Stream.PROBE, k).standard_normal(tuple(x0.shape))
    )


def _errors(field: Field, x0: Tensor, times: Tensor, seed: int) -> list[Tensor]:
    """x_0 - x0_hat(x_t, t), (n, d) in float64, at each time."""
    out = []
    for k, t in enumerate(times):
        x = field.process.perturb(x0, t, _noise(x0, seed, k))
        out.append(x0 - field.data(x, t))
    return out


def elbo(
    field: Field, x0: Tensor, times: Tensor, variance: KernelVariance, seed: int = 0
) -> Bound:
    """The evidence lower bound of the chain on ln p(x_0) at x0 (n, d), term by term.

    One draw of the noise for each point and time; divergences in closed form. Repeat a point to
    average over its noise. Differentiable in the field's parameters.

    Raises:
        TypeError, ValueError: x0 is no finite cloud; times do not fall, leave the process's span,
            or are not those of the variance.

    Source: Ho et al. 2020, eq. 5 and 8; Sohl-Dickstein et al. 2015, eq. 14.
    """
    x0 = check_cloud(x0, "x0").double()
    process = field.process
    times = _falling(process, times)
    step, v = _steps(process, times), torch.cat([variance(times), variance.value[-1:]])
    first = process(times[0])
    terms = [gaussian_kl(first.alpha * x0, first.sigma**2, torch.zeros_like(x0), first.sigma**2)]
    errors = _errors(field, x0, times, seed)
    for k, off in enumerate(errors[:-1]):
        terms.append(gaussian_kl(step.pull[k] * off, step.small[k], torch.zeros_like(off), v[k]))
    missed = (errors[-1] ** 2).sum(1) / v[-1]
    terms.append((missed + x0.shape[1] * torch.log(2 * math.pi * v[-1])) / 2)
    return Bound(times, torch.stack(terms))


def elbo_weights(process: Process, variance: KernelVariance) -> Tensor:
    r"""w (K + 1,) such that minus the bound is sum_k w_k |eps - eps_hat(x_{t_k})|^2 + constant.

        w_k = a_k^2 rho_k^2 / (2 v_k)

    The constant does not depend on the field: the simple loss is the bound with every w_k put to
    one number (Ho et al. 2020, eq. 12 and 14). With v = kappa it is rho_t^2 (SNR_s - SNR_t) / 2.
    """
    step = _steps(process, variance.times)
    return (step.pull * step.level) ** 2 / (2 * variance.value)
