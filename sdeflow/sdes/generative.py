r"""Make the SDEs of generative models: noising data, its time reversal, ancestral sampling.

    forward    dx = f x dt + g dW                                            data -> noise
    reverse    dx = [alpha_dot x0_hat + (sigma_dot + eta^2 (sigma_dot - f sigma)) eps_hat] dt
                    + eta g dW                                               noise -> data
    comoving   dy = (1 + eta^2) eps_hat d rho + eta sqrt(2 rho) dW,
               y = x / alpha, rho = sigma / alpha                            reverse, rescaled
    ancestral  x_s = alpha_s x0_hat + sqrt(sigma_s^2 - eta^2 kappa) eps_hat + eta sqrt(kappa) z,
               kappa = sigma_s^2 (1 - rho_s^2 / rho_t^2)                     one step t -> s

With the exact field, the distribution of x_t under `reverse` and `comoving` is the same for every
eta: eta = 0 is the probability flow, eta = 1 the time-reversed diffusion (Anderson 1982).

See docs/theory.md, (4.2) reverse, (4.3) comoving, (4.4) ancestral.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from sdeflow._validation import as_numbers, check_positive
from sdeflow.fields.field import Field, check_score
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.prediction import mixing
from sdeflow.processes.process import Process, check_process
from sdeflow.processes.time_grids import LogSNRTimes, NoiseLevels, ends
from sdeflow.sdes.field_sde import (
    FieldCoefficients,
    FieldSDE,
    TimeCoefficients,
    _Stage,
    _SteppedFieldSDE,
    driven,
)
from sdeflow.sdes.sde import SDE, SteppedSDE, check_function
from sdeflow.sdes.transition import NoisingTransition, gaussian_transition

Variance = Callable[[Tensor], Tensor]
"""Times (K + 1,) -> (K,), the variance that each step adds per coordinate (length^2)."""


def forward(process: Process) -> SDE:
    """The noising SDE dx = f x dt + g dW of a process, from t_min to t_max.

    Source: Song et al. 2021, eq. 5 and 29.
    """
    check_process(process)
    return SDE(
        NoisingDrift(process),
        Noising(process),
        process.t_min,
        process.t_max,
        time_grid=LogSNRTimes(process.t_min, process.t_max, process),
        name=f"forward SDE of {type(process).__name__}",
        transition=NoisingTransition(process),
    )


@dataclass(frozen=True)
class NoisingDrift:
    """The drift (x, t) -> f x of the noising SDE."""

    process: Process

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.process.drift(t) * x


@dataclass(frozen=True)
class Noising:
    """The diffusion (x, t) -> g of the noising SDE."""

    process: Process

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.process.diffusion(t)


def checked(field: Field, eta: float) -> tuple[Process, float]:
    """The process of a field, and eta as a float, if the field has the score that noise needs."""
    if not isinstance(field, Field):
        got = f"the class {field.__name__}" if isinstance(field, type) else type(field).__name__
        raise TypeError(f"this SDE needs a Field, got {got}; pass sf.ExactField(process, data)")
    eta = check_positive(eta, "eta", zero=True)
    if eta:
        check_score(field, f"noise (eta = {eta:g})")
    return field.process, eta


def check_one_label(field: Field) -> None:
    """Refuse one label for each particle where steps are fitted: a fit runs clouds of any size."""
    if isinstance(field, GuidedField):
        check_one_label(field.conditional)
        check_one_label(field.against)
    elif isinstance(field, LearnedField) and field.label is not None and field.label.ndim:
        raise ValueError(
            "steps are fitted to one distribution, but this field has one label for each "
            "particle; give all particles one label, as field.given(k) does, and calibrate for "
            "each label k, or use multistep(field)"
        )


def reverse(field: Field, eta: float = 1.0) -> FieldSDE:
    r"""The reverse SDE, from t_max down to t_min, with noise eta.

        dx = [alpha_dot x0_hat + (sigma_dot + eta^2 (sigma_dot - f sigma)) eps_hat] dt + eta g dW.

    eta = 0 is the probability-flow ODE, eta = 1 the time reversal of the noising SDE; with the
    exact field the distribution of x_t does not depend on eta.

    A run starts from x_{t_max}; `Process.prior` draws it. To start from x_t at another time t, use
    `replace(sde, t_start=t)` and `replace(process, t_max=t).prior(n, d, seed, data=...)`.

    Args:
        field: gives x0_hat and eps_hat.
        eta: size of the noise, zero or more.

    Source: Song et al. 2021, eq. 6 and 13; eta as in Zhang and Chen 2021.
    """
    process, eta = checked(field, eta)
    grid = LogSNRTimes(process.t_max, process.t_min, process)
    name = "reverse SDE" if eta else "probability flow"
    sde = driven(ReverseCoefficients(field, eta), grid, name, FieldSDE)
    return replace(sde, transition=gaussian_transition(field, eta))


class ReverseCoefficients(FieldCoefficients):
    """The coefficients of `reverse`."""

    def __call__(self, t: Tensor) -> TimeCoefficients:
        c = self.field.process(t)
        target = c.alpha_dot, c.sigma_dot + self.eta**2 * c.noise_rate
        state, prediction = mixing(self.field.row(c), c, target)
        g = self.eta * torch.sqrt(2 * c.sigma * c.noise_rate)
        return TimeCoefficients(t, c, torch.ones_like(t), state, prediction, g)


def comoving(field: Field, eta: float = 0.0) -> FieldSDE:
    r"""The reverse SDE for y = x / alpha, with the noise level rho = sigma / alpha as its time.

        dy = (1 + eta^2) eps_hat d rho + eta sqrt(2 rho) dW,    rho(t_max) down to rho(t_min).

    A run starts from x / alpha(t_max) and ends at x / alpha(t_min). At eta = 0, Euler's method is
    DDIM, and Heun's method on Karras' noise levels is EDM's Algorithm 1. The coordinates (y, rho)
    are called the Brownian frame: in them, noising is Brownian motion.

    Args:
        field: gives eps_hat.
        eta: size of the noise, zero or more.

    Source: Karras et al. 2022, eq. 4; Song, Meng and Ermon 2021, eq. 14.
    """
    process, eta = checked(field, eta)
    first, last = process.noise_level(ends(process)).tolist()
    levels = NoiseLevels(first, last)
    return driven(ComovingCoefficients(field, eta), levels, "Brownian frame", FieldSDE)


class ComovingCoefficients(FieldCoefficients):
    """The coefficients of `comoving`, whose time is rho."""

    def __call__(self, t: Tensor) -> TimeCoefficients:
        process, rho = self.field.process, t
        t = process.time_of(rho)
        c = process(t)
        state, prediction = mixing(self.field.row(c), c, (0.0, 1.0 + self.eta**2))
        g = self.eta * torch.sqrt(2 * rho)
        return TimeCoefficients(
            t, c, c.alpha, state * c.alpha, prediction * torch.ones_like(rho), g
        )


def ancestral(field: Field, eta: float = 1.0, variance: Variance | None = None) -> AncestralSDE:
    r"""Ancestral sampling: DDPM at eta = 1, DDIM at eta = 0, DDIM with noise in between.

        x_s = alpha_s x0_hat + sqrt(sigma_s^2 - eta^2 kappa) eps_hat + eta sqrt(kappa) z,
        kappa = sigma_s^2 (1 - rho_s^2 / rho_t^2),    rho = sigma / alpha,

    from t to s < t. For eta = 0 and 1 a step is the exact solution of `reverse` with x0_hat held
    constant, for other eta to first order in the step. Solve it with the method `euler`. DDPM's
    last step, to sigma = 0, has no noise: it is `field.data` at the last time.

    Args:
        field: gives x0_hat and eps_hat.
        eta: size of the noise, 0 to 1.
        variance: times (K + 1,) -> (K,), the variance of the noise of each step in place of
            kappa, at eta = 1 (see `analysis.elbo`); the mean remains that of DDPM.

    Source: Ho et al. 2020, eq. 7; Song, Meng and Ermon 2021, eq. 12 and 16.
    """
    process, eta = checked(field, eta)
    grid = LogSNRTimes(process.t_max, process.t_min, process)
    sde = driven(ReverseCoefficients(field, eta), grid, "ancestral sampling", AncestralSDE)
    return sde if variance is None else replace(sde, variance=variance)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class AncestralSDE(FieldSDE):
    """The SDE that `ancestral` makes: `reverse`, solved in the steps given there."""

    variance: Variance | None = None

    whole_step: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eta > 1:
            raise ValueError(
                f"ancestral sampling needs eta between 0 (DDIM) and 1 (DDPM), got {self.eta}"
            )
        if self.variance is None:
            return
        check_function(self.variance, "variance", "times")
        if self.eta != 1:
            raise ValueError(
                f"a variance of your own belongs to the mean of DDPM; use eta = 1, not {self.eta}"
            )

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        if not self.as_made:
            raise ValueError(
                "the steps of ancestral sampling are made of its field and cannot have another "
                "drift or diffusion; replace the drift of reverse(field) instead"
            )
        return _SteppedAncestralSDE(self, times, like)


class _SteppedAncestralSDE(_SteppedFieldSDE):
    sde: AncestralSDE

    def _stage(self, fraction: float) -> _Stage:
        if fraction != 0.0:
            raise ValueError(
                "ancestral sampling takes whole steps; use the method 'euler' with it"
            )
        if not self._stages:
            process, field, eta = self.sde.field.process, self.sde.field, self.sde.eta
            start, end = process(self.times[:-1]), process(self.times[1:])
            level = (end.sigma / end.alpha) / (start.sigma / start.alpha)
            variance = end.sigma**2 * (1 - level**2)
            target = end.alpha, torch.sqrt(end.sigma**2 - eta**2 * variance)
            state, prediction = mixing(field.row(start), start, target)
            if self.sde.variance is not None:
                variance = _chosen(self.sde.variance, self.times)
            one, noise = torch.ones_like(variance), eta * torch.sqrt(variance)
            table = field.table(self.times[:-1], start, self.like)
            # Euler's method adds the drift to x, so the drift is x_s - x.
            self._stages[0.0] = _Stage.of(
                table, one, state - one, prediction * one, noise, self.like
            )
        return self._stages[0.0]


def _chosen(variance: Variance, times: Tensor) -> Tensor:
    """The variances (K,) that a user's function gives, checked, in float64."""
    v = as_numbers(variance(times), "variance")
    if v.shape != (len(times) - 1,):
        raise ValueError(
            f"variance must give ({len(times) - 1},), one for each step, got {tuple(v.shape)}"
        )
    if not (torch.isfinite(v) & (v >= 0)).all():
        raise ValueError(f"variance must be finite and not negative, got {float(v.min())}")
    return v
