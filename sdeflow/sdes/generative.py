r"""The SDEs of generative models: noising, its reverse, the Brownian frame, ancestral sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_positive
from sdeflow.fields.field import Evaluate, Field
from sdeflow.fields.prediction import mixing
from sdeflow.processes.process import Coefficients, Process
from sdeflow.processes.time_grids import ends, log_snr_times
from sdeflow.sdes.sde import SDE, Scale, SteppedSDE
from sdeflow.sdes.transition import gaussian_transition, noising_transition

Variance = Callable[[Tensor], Tensor]
"""times (K + 1,) -> (K,): what a chain's step adds per coordinate (length^2)."""


def forward(process: Process) -> SDE:
    """dx = f x dt + g dW, from t_min to t_max (Song et al. 2021, eq. 5 and 29).

    Raises:
        TypeError: this is no `Process`.
    """
    if not isinstance(process, Process):
        raise TypeError(f"forward needs a Process, got {type(process).__name__}")
    return SDE(
        lambda x, t: process.drift(t) * x,
        lambda x, t: process.diffusion(t),
        process.t_min,
        process.t_max,
        time_grid=lambda steps: log_snr_times(process, steps).flip(0),
        transition=noising_transition(process),
    )


class TimeCoefficients(NamedTuple):
    """At one clock reading: drift = state x + prediction field.evaluate(ruler x, t, c)."""

    t: Tensor
    c: Coefficients[Tensor]
    rescaling: Tensor
    state: Tensor
    prediction: Tensor
    diffusion: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class FieldSDE(SDE):
    """A law of motion that a `Field` drives: one evaluation of the field per drift."""

    field: Field
    read: Callable[[Tensor], TimeCoefficients]

    def steps(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """See `SDE`; everything that depends on time alone is worked out here, once."""
        return _FieldSteps(self, times, like)


class _FieldSteps(SteppedSDE):
    sde: FieldSDE

    def __init__(self, sde: FieldSDE, times: Tensor, like: Tensor) -> None:
        super().__init__(sde, times, check_cloud(like, dim=sde.field.dim))
        self._tabulate = sde.field.tabulator(like)
        self._tables: dict[float, tuple[Evaluate, np.ndarray]] = {}

    def _table(self, part: float) -> tuple[Evaluate, np.ndarray]:
        """The field and the rows (ruler, state, prediction, diffusion) at u = k + part, all k."""
        if part not in self._tables:
            gaps = torch.tensor([*self.gaps, 0.0], dtype=torch.float64)
            self._tables[part] = self._worked_out(self.sde.read(self.times + part * gaps))
        return self._tables[part]

    def _worked_out(self, r: TimeCoefficients) -> tuple[Evaluate, np.ndarray]:
        rows = torch.stack([r.rescaling, r.state, r.prediction, r.diffusion], 1).numpy()
        return self._tabulate(r.t, r.c), rows

    def drift(self, k: int, part: float, x: Tensor) -> Tensor:
        dt = self.gaps[k]
        if part == 1.0:
            k, part = k + 1, 0.0
        evaluate, rows = self._table(part)
        rescaling, state, prediction, _ = rows[k].tolist()
        out = evaluate(k, x if rescaling == 1.0 else rescaling * x)
        return torch.add(out * (prediction * dt), x, alpha=state * dt)

    def diffusion(self, k: int, part: float, x: Tensor) -> Scale:
        root = abs(self.gaps[k]) ** 0.5
        if part == 1.0:
            k, part = k + 1, 0.0
        return float(self._table(part)[1][k, 3]) * root or None


def _driven(
    field: Field,
    read: Callable[[Tensor], TimeCoefficients],
    span: tuple[float, float],
    clock: Callable[[int], Tensor],
    eta: float,
) -> FieldSDE:
    def drift(x: Tensor, t: Tensor) -> Tensor:
        r = read(t)
        state, prediction, rescaling = (v.to(x) for v in (r.state, r.prediction, r.rescaling))
        out = field.evaluate(rescaling * x, r.t.to(x.dtype), r.c.along(x))
        return state * x + prediction * out

    return FieldSDE(
        drift,
        (lambda x, t: read(t).diffusion) if eta else None,
        *span,
        time_grid=clock,
        field=field,
        read=read,
    )


def _process(field: Field) -> Process:
    if not isinstance(field, Field):
        raise TypeError(f"this law needs a Field, got {type(field).__name__}; see sf.ExactField")
    return field.process


def reverse(field: Field, eta: float = 1.0) -> FieldSDE:
    r"""The time-reversed law, from t_max down to t_min, with noise eta.

        dx = [alpha_dot x0_hat + (sigma_dot + eta^2 (sigma_dot - f sigma)) eps_hat] dt + eta g dW.

    eta = 0 is the probability-flow ODE, eta = 1 the reverse SDE; with the exact field the
    marginals do not depend on eta.

    Raises:
        TypeError: this is no `Field`.
        ValueError: eta negative or not finite.

    Source: Song et al. 2021, eq. 6 and 13; eta as in Zhang and Chen 2021.
    """
    process, eta = _process(field), check_positive(eta, "eta", zero=True)

    def read(t: Tensor) -> TimeCoefficients:
        c = process(t)
        target = c.alpha_dot, c.sigma_dot + eta**2 * c.stretch
        state, prediction = mixing(field.row(c), c, target)
        g = eta * torch.sqrt(2 * c.sigma * c.stretch)
        return TimeCoefficients(t, c, torch.ones_like(t), state, prediction, g)

    span = process.t_max, process.t_min
    sde = _driven(field, read, span, lambda steps: log_snr_times(process, steps), eta)
    return replace(sde, transition=gaussian_transition(field, eta))


def comoving(field: Field, eta: float = 0.0) -> FieldSDE:
    r"""The same law in the Brownian frame y = x / alpha, whose time is rho = sigma / alpha.

        dy = (1 + eta^2) eps_hat d rho + eta sqrt(2 rho) dW,    rho(t_max) down to rho(t_min).

    It starts from x / alpha(t_max) and ends in y = x / alpha(t_min). torchdiffeq's `euler` is DDIM
    here, and its `heun2` on Karras levels is EDM's Algorithm 1.

    Raises:
        TypeError: this is no `Field`.
        ValueError: eta negative or not finite.

    Source: Karras et al. 2022, eq. 4; Song, Meng and Ermon 2021, eq. 14.
    """
    process, eta = _process(field), check_positive(eta, "eta", zero=True)

    def read(rho: Tensor) -> TimeCoefficients:
        t = process.time_of(rho)
        c = process(t)
        state, prediction = mixing(field.row(c), c, (0.0, 1.0 + eta**2))
        g = eta * torch.sqrt(2 * rho)
        return TimeCoefficients(
            t, c, c.alpha, state * c.alpha, prediction * torch.ones_like(rho), g
        )

    first, last = process.noise_level(ends(process)).tolist()
    return _driven(
        field,
        read,
        (first, last),
        lambda steps: process.noise_level(log_snr_times(process, steps)),
        eta,
    )


def ancestral(field: Field, eta: float = 1.0, variance: Variance | None = None) -> AncestralSDE:
    r"""`reverse` in steps that keep x0_hat frozen: DDPM (eta = 1), DDIM (0), DDIM-eta between.

        x_s = alpha_s x0_hat + sqrt(sigma_s^2 - eta^2 kappa) eps_hat + eta sqrt(kappa) z,
        kappa = sigma_s^2 (1 - rho_s^2 / rho_t^2).

    At eta = 0 and 1 this is the frozen law's exact step, between to first order in the step. It
    suits the `euler` method only. DDPM's last step, to sigma = 0, has no noise: it is `field.data`
    at the last time.

    Args:
        variance: of the noise, if not eta^2 kappa (see `variational`); the mean stays DDPM's.
            Zeros leave the mean alone: the sampler without its noise line.

    Raises:
        TypeError: this is no `Field`, or the variance no function.
        ValueError: eta outside [0, 1], or a variance with eta below 1; when run, a variance that
            is negative, not finite or not (K,).

    Source: Ho et al. 2020, eq. 7; Song, Meng and Ermon 2021, eq. 12 and 16.
    """
    if check_positive(eta, "eta", zero=True) > 1:
        raise ValueError(f"a bridge needs eta between 0 (DDIM) and 1 (DDPM), got {eta}")
    if variance is not None and not callable(variance):
        raise TypeError(f"variance must be a function of the times, got {variance!r}")
    if variance is not None and eta != 1:
        raise ValueError(f"a variance of your own goes with DDPM's mean: use eta = 1, not {eta}")
    law = reverse(field, eta)
    return AncestralSDE(
        law.drift,
        law.diffusion,
        law.t_start,
        law.t_end,
        time_grid=law.time_grid,
        field=field,
        read=law.read,
        eta=eta,
        variance=variance,
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class AncestralSDE(FieldSDE):
    """The law that `bridge` makes: as a law it is `reverse`, but it brings its own step."""

    eta: float
    variance: Variance | None = None

    def steps(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """See `SDE`."""
        return _AncestralSteps(self, times, like)


class _AncestralSteps(_FieldSteps):
    sde: AncestralSDE

    def __init__(self, sde: AncestralSDE, times: Tensor, like: Tensor) -> None:
        super().__init__(sde, times, like)
        self.gaps = [1.0] * len(self.gaps)  # the step is whole: nothing is left to scale by dt

    def _worked_out(self, r: TimeCoefficients) -> tuple[Evaluate, np.ndarray]:
        process, eta = self.sde.field.process, self.sde.eta
        now, then = process(self.times[:-1]), process(self.times[1:])
        level = (then.sigma / then.alpha) / (now.sigma / now.alpha)
        variance = then.sigma**2 * (1 - level**2)
        target = then.alpha, torch.sqrt(then.sigma**2 - eta**2 * variance)
        state, prediction = mixing(self.sde.field.row(now), now, target)
        if self.sde.variance is not None:
            variance = _chosen(self.sde.variance, self.times)
        noise = eta * torch.sqrt(variance)
        one = torch.ones_like(noise)
        rows = torch.stack([one, state - 1, prediction * one, noise], 1).numpy()
        return self._tabulate(r.t, r.c), rows

    def drift(self, k: int, part: float, x: Tensor) -> Tensor:
        if part != 0.0:
            raise ValueError("a bridge is one whole step; use the method 'euler' with it")
        return super().drift(k, part, x)


def _chosen(variance: Variance, times: Tensor) -> Tensor:
    """The variances that the user chose, (K,) in float64."""
    v = torch.as_tensor(variance(times)).detach().to("cpu", torch.float64)
    if v.shape != (len(times) - 1,):
        raise ValueError(
            f"variance must give ({len(times) - 1},), one for each step, got {tuple(v.shape)}"
        )
    if not (torch.isfinite(v) & (v >= 0)).all():
        raise ValueError(f"variance must be finite and not negative, got {float(v.min())}")
    return v
