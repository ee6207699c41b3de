r"""Compute the evidence lower bound of a sampler, and choose the variances of its steps.

Ancestral sampling (eta = 1) in K steps, t_max = t_0 > ... > t_K = t_min, and a last step to
sigma = 0, is a Markov chain of Gaussian steps p(x_s | x_t) = N(mean, v I). Noising has the steps
x_s | x_t, x_0 ~ N(., kappa I), (4.4). By Jensen's inequality

    ln p(x_0) >= - KL(q(x_{t_0} | x_0), p(x_{t_0})) - sum_k E KL(q(x_s | x_t, x_0), p(x_s | x_t))
                 + E ln p(x_0 | x_{t_K}),
    KL of a step = d (kappa / v - 1 - ln(kappa / v)) / 2 + a^2 |x_0 - x0_hat|^2 / 2 v,

with a = alpha_s (1 - rho_s^2 / rho_t^2). The data must have a density, as a mixture has and a set
of points has not. (4.6) is the v of the highest bound; for K -> infinity all choices agree.

See docs/theory.md, (4.4) for the step and (4.6) for its variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sdeflow._validation import (
    check_cloud,
    check_int,
    check_kind,
    check_numbers,
    check_seed,
    check_times,
    shown,
)
from sdeflow._wording import markdown_table
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field, check_score
from sdeflow.processes.process import Process
from sdeflow.random_streams import Stream, normals_like


@dataclass(frozen=True, eq=False)
class KernelVariance:
    """The variance v of each step of a sampler, per coordinate.

        x_s | x_t ~ N(mean, v I)

    `ancestral(field, variance=this)` is the sampler with these variances.

    Attributes:
        times: (K + 1,), falling.
        value: (K + 1,) v of the step from each time to the next, the last one to sigma = 0.
    """

    times: Tensor
    value: Tensor

    def __post_init__(self) -> None:
        times = check_times(self.times)
        value = check_numbers(self.value, "value", (len(times),))
        if not (value >= 0).all():
            raise ValueError(f"every value must be zero or more, got {float(value.min()):g}")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "value", value)

    def __repr__(self) -> str:
        low, high = float(self.value.min()), float(self.value.max())
        return f"variances of a chain of {len(self.times)} steps, from {low:.2g} to {high:.2g}"

    def __call__(self, times: Tensor) -> Tensor:
        """v of the K steps between these times, which must be those of the variances, (K,)."""
        times = check_times(times)
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
    """An evidence lower bound on ln p(x_0) at n points, as a sum over steps (nats).

        ln p(x_0) >= total = - sum of `terms`

    Attributes:
        times: (K + 1,) of the chain.
        terms: (K + 2, n) of the prior, the K steps and the last step to sigma = 0.
    """

    times: Tensor
    terms: Tensor

    def __repr__(self) -> str:
        return (
            f"evidence lower bound of {self.terms.shape[1]} points in {len(self.times)} steps: "
            f"{self.mean:.6g} +- {self.error:.2g} nats"
        )

    def __str__(self) -> str:
        """A Markdown table: prior, steps and last step, as means over the points."""
        terms = -self.terms.detach().mean(1)
        rows = (
            ("prior", terms[0]), (f"{len(terms) - 2} steps", terms[1:-1].sum()),
            ("last step", terms[-1]),
        )  # fmt: skip
        values = [(name, f"{float(value):.4g}") for name, value in rows]
        return f"{markdown_table(('part', 'nats'), values)}\n\n{self!r}"

    _repr_markdown_ = __str__

    @property
    def total(self) -> Tensor:
        """An unbiased estimate of the bound on ln p(x_0) at each point, (n,)."""
        return -self.terms.sum(0)

    @property
    def mean(self) -> float:
        """The mean over the points."""
        return float(self.total.detach().mean())

    @property
    def error(self) -> float:
        """The standard error of `mean`, over points and noise together."""
        return float(self.total.detach().std()) / math.sqrt(self.terms.shape[1])


class _Step(NamedTuple):
    """Of the step from each time to the next, (K + 1,): a, kappa, beta, and rho at its start."""

    pull: Tensor
    small: Tensor
    large: Tensor
    level: Tensor


def _steps(process: Process, times: Tensor) -> _Step:
    """The steps (4.4) between successive times, and the step from the last to sigma = 0."""
    c = process(times)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    alpha, sigma = torch.cat([c.alpha[1:], one]), torch.cat([c.sigma[1:], zero])
    kept = 1 - (sigma / alpha * c.alpha / c.sigma) ** 2
    return _Step(
        pull=alpha * kept,
        small=sigma**2 * kept,
        large=c.sigma**2 - (c.alpha / alpha * sigma) ** 2,
        level=process.noise_level(times),
    )


def _falling(process: Process, times: Tensor) -> Tensor:
    check_kind(process, Process, "process")
    times = check_times(times, process.t_min, process.t_max)
    if times[0] < times[-1]:
        raise ValueError("times must fall, from noise to data; flip them")
    return times


def gaussian_kl(
    mean1: Tensor, variance1: Tensor | float, mean2: Tensor, variance2: Tensor | float
) -> Tensor:
    """The Kullback-Leibler divergence of two Gaussians with independent coordinates, (n,), nats.

        KL(N(m1, v1), N(m2, v2)) = sum_i [v1 / v2 - 1 - ln(v1 / v2) + (m1 - m2)^2 / v2] / 2

    Args:
        mean1, mean2: m1, m2 (n, d).
        variance1, variance2: v1, v2, positive; one number, or what is broadcast to (n, d).
    """
    shape = check_cloud(mean1, "mean1").shape
    if check_cloud(mean2, "mean2", shape[1]).shape != shape:
        raise ValueError(
            f"mean2 must have the shape of mean1, {tuple(shape)}, got {tuple(mean2.shape)}"
        )
    v1 = _variance(variance1, "variance1", mean1)
    v2 = _variance(variance2, "variance2", mean1)
    if not ((v1 > 0).all() and (v2 > 0).all()):
        raise ValueError("variances must be positive, since a point has no finite divergence")
    ratio = v1 / v2
    return ((ratio - 1 - torch.log(ratio)) + (mean1 - mean2) ** 2 / v2).sum(1) / 2


def _variance(value: Tensor | float, name: str, mean: Tensor) -> Tensor:
    try:
        found = torch.as_tensor(value)
        if found.is_complex():
            raise TypeError
        found = found.to(mean)
        return found if found.ndim == 0 else found.expand(mean.shape)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(
            f"{name} must be one number or numbers of the shape {tuple(mean.shape)}, got "
            f"{shown(value)}"
        ) from None


# ---- choices of v -------------------------------------------------------------------------------


def small_variance(process: Process, times: Tensor) -> KernelVariance:
    """The smallest variances of a sampler's steps, v = kappa: exact if x_0 is one point.

        kappa = sigma_s^2 (1 - rho_s^2 / rho_t^2)

    In the last step kappa is 0; there v is that of `large_variance`.

    Args:
        process: of the chain.
        times: (K + 1,), falling.

    Source: Ho et al. 2020, section 3.2 and eq. 7.
    """
    times = _falling(process, times)
    step = _steps(process, times)
    return KernelVariance(times, torch.cat([step.small[:-1], step.large[-1:]]))


def large_variance(process: Process, times: Tensor) -> KernelVariance:
    """The variances of the noising steps, v = beta, as those of a sampler's steps.

        beta = sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2

    They are exact if x_0 ~ N(0, I) under VP, and for a uniform density under VE.

    Args:
        process: of the chain.
        times: (K + 1,), falling.

    Source: Ho et al. 2020, section 3.2.
    """
    times = _falling(process, times)
    return KernelVariance(times, _steps(process, times).large)


def optimal_variance(
    field: ExactField, times: Tensor, n: int = 4000, seed: int = 0
) -> KernelVariance:
    """The variances with the highest bound for an exact field: means over the exact step (4.6).

        v = kappa + a^2 E tr Cov(x_0 | x_t) / d

    Args:
        field: exact.
        times: (K + 1,), falling.
        n: draws of the data for the expectation.
        seed: of the draws.

    Source: Bao, Li, Zhu and Zhang 2022 (Analytic-DPM), theorem 1.
    """
    if not isinstance(field, ExactField):
        raise TypeError("optimal_variance needs an exact field; use learned_variance")
    times = _falling(field.process, times)
    x0 = field.sample(check_int(n, "n"), check_seed(seed)).double()
    unknown = torch.zeros(len(times), dtype=torch.float64)
    with torch.no_grad():
        for k, t in enumerate(times):
            c = field.process(t)
            x = c.alpha * x0 + c.sigma * normals_like(x0, seed, Stream.PROBE, k)
            unknown[k] = field.posterior(x, c.along(x)).data_variance.mean() / x.shape[1]
    return _widened(field.process, times, unknown)


def learned_variance(field: Field, x0: Tensor, times: Tensor, seed: int = 0) -> KernelVariance:
    """The variances with the highest bound for the data x0 (n, d) and this field.

        v = kappa + a^2 E|x_0 - x0_hat|^2 / d

    solves d elbo / dv = 0, so nothing is trained. The means are over these points and one draw of
    the noise; evaluate `elbo` on other points.

    Source: Nichol and Dhariwal 2021, section 3.1, whose network gives v at each x as a geometric
    mean of kappa and beta (eq. 15); here v depends on time alone.
    """
    check_kind(field, Field, "field")
    check_score(field, "learned_variance")
    x0 = check_cloud(x0, "x0", field.dim).double()
    times = _falling(field.process, times)
    check_seed(seed)
    with torch.no_grad():
        square = torch.stack([(error**2).mean() for error in _errors(field, x0, times, seed)])
    return _widened(field.process, times, square.cpu())


def _widened(process: Process, times: Tensor, unknown: Tensor) -> KernelVariance:
    step = _steps(process, times)
    return KernelVariance(times, step.small + step.pull**2 * unknown)


# ---- the bound ----------------------------------------------------------------------------------


def _errors(field: Field, x0: Tensor, times: Tensor, seed: int) -> list[Tensor]:
    """x_0 - x0_hat(x_t, t), (n, d) in float64, at each time; eps is the same for every v."""
    out = []
    for k, t in enumerate(times):
        x = field.process.perturb(x0, t, normals_like(x0, seed, Stream.PROBE, k))
        out.append(x0 - field.data(x, t))
    return out


def elbo(
    field: Field, x0: Tensor, times: Tensor, variance: KernelVariance, seed: int = 0
) -> Bound:
    """The evidence lower bound of ancestral sampling on ln p(x_0) at x0 (n, d), step by step.

    Each point has one draw of the noise per time, so `Bound.total` is an unbiased estimate. Give a
    point several times to average over its noise. The bound is differentiable in the field's
    parameters.

    Args:
        field: gives the means of the steps.
        x0: the points.
        times: (K + 1,), falling, those of `variance`.
        variance: of the steps.
        seed: of the noise.

    Source: Ho et al. 2020, eq. 5 and 8; Sohl-Dickstein et al. 2015, eq. 14.
    """
    check_kind(field, Field, "field")
    check_kind(variance, KernelVariance, "variance", "such as small_variance(process, times)")
    check_score(field, "elbo")
    x0 = check_cloud(x0, "x0", field.dim).double()
    process = field.process
    times = _falling(process, times)
    check_seed(seed)
    step, v = _steps(process, times), torch.cat([variance(times), variance.value[-1:]])
    first = process(times[0])
    terms = [gaussian_kl(first.alpha * x0, first.sigma**2, torch.zeros_like(x0), first.sigma**2)]
    errors = _errors(field, x0, times, seed)
    zero = torch.zeros_like(x0)
    for k, error in enumerate(errors[:-1]):
        terms.append(gaussian_kl(step.pull[k] * error, step.small[k], zero, v[k]))
    square = (errors[-1] ** 2).sum(1) / v[-1]
    terms.append((square + x0.shape[1] * torch.log(2 * math.pi * v[-1])) / 2)
    return Bound(times, torch.stack(terms).cpu())


def elbo_weights(process: Process, variance: KernelVariance) -> Tensor:
    r"""The weight of each time in the bound, written as a loss of the predicted noise, (K + 1,).

        - elbo = sum_k w_k |eps - eps_hat(x_{t_k})|^2 + constant,    w_k = a_k^2 rho_k^2 / (2 v_k)

    The constant does not depend on the field. For v = kappa, w = rho_t^2 (SNR_s - SNR_t) / 2. The
    simple loss sets all w_k equal.

    Source: Ho et al. 2020, eq. 12 and 14.
    """
    check_kind(process, Process, "process")
    check_kind(variance, KernelVariance, "variance", "such as small_variance(process, times)")
    step = _steps(process, variance.times)
    return (step.pull * step.level) ** 2 / (2 * variance.value)
