r"""How matter is noised: x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).

A process is a choice of (alpha, sigma) with alpha(0) = 1 and log SNR = 2 ln(alpha / sigma) falling
from data (t = 0) to noise (t = t_max). Nothing else is free. The linear SDE with these marginals,

    dx = f x dt + g dW,    f = alpha_dot / alpha,    g^2 = 2 sigma (sigma_dot - f sigma),

follows (Song et al. 2021, eq. 29; Kingma et al. 2021, eq. 8), so every other formula of the
package is written once, in alpha and sigma. The flow-matching papers run time the other way (t = 1
is data): convert at the door, t_ours = 1 - t_theirs.

Each process owns the interval [t_min, t_max] on which its rates are finite. Rates are in closed
form; autograd is their judge in the tests.

See docs/theory.md, (1.1) and (2.2).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from sdeflow import _validation as door
from sdeflow.random_streams import Purpose, normals

Scalar = TypeVar("Scalar", Tensor, float)


class Coefficients(NamedTuple, Generic[Scalar]):
    """alpha, sigma and their rates, shaped like t; plain floats inside a solver's step."""

    alpha: Scalar
    sigma: Scalar
    alpha_dot: Scalar
    sigma_dot: Scalar

    @property
    def stretch(self) -> Scalar:
        """sigma_dot - f sigma = sigma d/dt ln(sigma / alpha): what drift leaves to noise."""
        return self.sigma_dot - self.alpha_dot / self.alpha * self.sigma

    def along(self, x: Tensor) -> Coefficients[Tensor]:  # type: ignore[misc]
        """The same, lined up with a cloud x (n, d): scalars stay, (n,) becomes (n, 1)."""
        row: list[Tensor] = [torch.as_tensor(c) for c in self]
        return Coefficients(*((c[:, None] if c.ndim else c).to(x) for c in row))


@dataclass(frozen=True, kw_only=True)
class Process(ABC):
    """A pair of schedules (alpha, sigma) on [t_min, t_max]; call it for its `Coefficients`.

    Raises:
        ValueError, TypeError: the interval is empty, or a constant is no number in its range.
    """

    t_min: float
    t_max: float

    def __post_init__(self) -> None:
        """Refuse an interval that is empty, starts before the data, or leaves the formula."""
        if not self._kept("t_min", zero=True) < self._kept("t_max"):
            raise ValueError(f"t_min must lie below t_max, got {self.t_min} and {self.t_max}")
        c = self(torch.tensor([self.t_min, self.t_max], dtype=torch.float64))
        (first, last), (clean, noisy) = c.alpha.tolist(), (c.sigma / c.alpha).tolist()
        if not (torch.isfinite(torch.stack(c)).all() and first > 0 < last and 0 <= clean < noisy):
            raise ValueError(
                f"no {type(self).__name__} process runs from t_min = {self.t_min:g} to t_max = "
                f"{self.t_max:g}: there alpha must be positive, sigma / alpha rise, and both have "
                "finite rates; move the ends inwards"
            )

    def _kept(self, name: str, *, zero: bool = False) -> float:
        """The constant of this name if it is positive, kept as a plain float, fit for a file."""
        value = door.positive(getattr(self, name), name, zero=zero)
        object.__setattr__(self, name, value)
        return value

    @abstractmethod
    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """Coefficients at t, shape () or (n,), in t's dtype; differentiable in t.

        A plain number is a time in float64.
        """

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which 2 ln(alpha / sigma) = log_snr, in its shape; undoes `log_snr`."""

    def log_snr(self, t: Tensor | float) -> Tensor:
        """2 ln(alpha / sigma) at t, of its shape; strictly falling."""
        c = self(t)
        return 2 * torch.log(c.alpha / c.sigma)

    def drift(self, t: Tensor | float) -> Tensor:
        """f = alpha_dot / alpha, the rate of the linear drift f x (1 / time)."""
        c = self(t)
        return c.alpha_dot / c.alpha

    def diffusion(self, t: Tensor | float) -> Tensor:
        """g = sqrt(2 sigma (sigma_dot - f sigma)) (length / sqrt(time))."""
        c = self(t)
        return torch.sqrt(2 * c.sigma * c.stretch)

    def perturb(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x0 + sigma eps, (n, d), from x0 and eps (n, d) and t () or (n,).

        Raises:
            ValueError: eps or t does not fit the cloud, or t leaves [t_min, t_max].
        """
        if eps.shape != x0.shape:
            raise ValueError(
                f"eps must have the shape of x0, {tuple(x0.shape)}, got {tuple(eps.shape)}"
            )
        c = self(self.at(t, x0)).along(x0)
        return c.alpha * x0 + c.sigma * eps

    def at(self, t: Tensor | float, x: Tensor) -> Tensor:
        """t, one time () or one per particle (n,), on x's device and in x's dtype or finer.

        Raises:
            ValueError: t is neither () nor (n,), or leaves [t_min, t_max].
        """
        given = t.dtype if isinstance(t, Tensor) else torch.promote_types(x.dtype, torch.float32)
        t = torch.as_tensor(t, dtype=torch.promote_types(given, x.dtype), device=x.device)
        if t.ndim > 1 or (t.ndim == 1 and t.shape != x.shape[:1]):
            raise ValueError(f"t must be () or ({len(x)},) for this cloud, got {tuple(t.shape)}")
        low, high = t.detach().aminmax()
        # The ends themselves may arrive rounded to x's dtype.
        slack = 1e-6 * self.t_max if given != torch.float64 else 1e-12 * self.t_max
        if not (self.t_min - slack <= low and high <= self.t_max + slack):
            raise ValueError(
                f"t runs from {low:g} to {high:g}, outside [{self.t_min:g}, {self.t_max:g}] where "
                f"this {type(self).__name__} process is defined"
            )
        return t

    def prior(self, n: int, d: int, seed: int, dtype: torch.dtype | None = None) -> Tensor:
        """n draws (n, d) from N(0, sigma(t_max)^2 I), the law that the reverse run starts from.

        It differs from the law of x_{t_max} by alpha(t_max) x_0: the prior error, which the time
        interval sets.

        Raises:
            ValueError, TypeError: n, d or seed is not a whole number in its range.
        """
        door.whole(n, "n")
        door.whole(d, "d")
        door.whole(seed, "seed", 0)
        sigma = float(self(torch.tensor(self.t_max, dtype=torch.float64)).sigma)
        return sigma * normals(seed, Purpose.PRIOR, n, d, dtype or torch.get_default_dtype())


def _real(t: Tensor | float) -> Tensor:
    """t as a floating-point tensor: float64 for a plain number, a tensor's own type if it can."""
    if not isinstance(t, Tensor):
        return torch.as_tensor(t, dtype=torch.float64)
    return t if t.is_floating_point() else t.to(torch.get_default_dtype())


class _VariancePreserving(Process):
    """alpha^2 + sigma^2 = 1: sigma = sqrt(1 - alpha^2), given ln alpha and its rate."""

    @staticmethod
    def _from_log_alpha(log_alpha: Tensor, rate: Tensor) -> Coefficients[Tensor]:
        alpha = torch.exp(log_alpha)
        sigma = torch.sqrt(-torch.expm1(2 * log_alpha))
        return Coefficients(alpha, sigma, rate * alpha, -rate * alpha**2 / sigma)


@dataclass(frozen=True, kw_only=True)
class VP(_VariancePreserving):
    r"""Variance preserving: alpha^2 + sigma^2 = 1, the continuous limit of DDPM.

        ln alpha = -(1/2) int_0^t beta,    beta = beta_min + t (beta_max - beta_min),

    beta in units of 1 / time.

    Raises:
        ValueError: beta_min is not positive, or exceeds beta_max.

    Source: Song et al. 2021, eq. 11 and 32.
    """

    t_min: float = 1e-4
    t_max: float = 1.0
    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        """Refuse rates that are not positive and rising."""
        if self._kept("beta_min") > self._kept("beta_max"):
            raise ValueError(f"beta_min {self.beta_min} must not exceed beta_max {self.beta_max}")
        super().__post_init__()

    def _log_alpha(self, t: Tensor) -> tuple[Tensor, Tensor]:
        slope = self.beta_max - self.beta_min
        return -t * (self.beta_min + slope * t / 2) / 2, -(self.beta_min + slope * t) / 2

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        return self._from_log_alpha(*self._log_alpha(_real(t)))

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`: solve the quadratic int beta = ln(1 + 1 / SNR)."""
        return self._time_of_integral(torch.nn.functional.softplus(-log_snr))

    def _time_of_integral(self, b: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * b))


@dataclass(frozen=True, kw_only=True)
class SubVP(VP):
    r"""Sub-variance preserving: VP's alpha with sigma = 1 - alpha^2.

    Source: Song et al. 2021, eq. 12.
    """

    t_min: float = 1e-3

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        log_alpha, rate = self._log_alpha(_real(t))
        alpha = torch.exp(log_alpha)
        return Coefficients(alpha, -torch.expm1(2 * log_alpha), rate * alpha, -2 * rate * alpha**2)

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`: sigma / alpha = 2 sinh(-ln alpha)."""
        return self._time_of_integral(2 * torch.asinh(torch.exp(-log_snr / 2) / 2))


@dataclass(frozen=True, kw_only=True)
class VE(Process):
    r"""Variance exploding: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t.

    At t = 0 the data carry sigma_min already. The defaults are the lecture's 10^(3t - 2).

    Raises:
        ValueError: sigma_min is not positive, or not below sigma_max.

    Source: Song et al. 2021, eq. 9 and 30.
    """

    t_min: float = 0.0
    t_max: float = 1.0
    sigma_min: float = 0.01
    sigma_max: float = 10.0

    def __post_init__(self) -> None:
        """Refuse noise levels that are not positive and rising."""
        if not self._kept("sigma_min") < self._kept("sigma_max"):
            raise ValueError(
                f"sigma_min {self.sigma_min} must lie below sigma_max {self.sigma_max}"
            )
        super().__post_init__()

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        t, rate = _real(t), math.log(self.sigma_max / self.sigma_min)
        sigma = self.sigma_min * torch.exp(rate * t)
        return Coefficients(torch.ones_like(t), sigma, torch.zeros_like(t), rate * sigma)

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`."""
        rate = math.log(self.sigma_max / self.sigma_min)
        return (-log_snr / 2 - math.log(self.sigma_min)) / rate


@dataclass(frozen=True, kw_only=True)
class EDM(Process):
    """alpha = 1, sigma = t: time is the noise level. Source: Karras et al. 2022, table 1."""

    t_min: float = 0.002
    t_max: float = 80.0

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        t = _real(t)
        return Coefficients(torch.ones_like(t), t, torch.zeros_like(t), torch.ones_like(t))

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`."""
        return torch.exp(-log_snr / 2)


@dataclass(frozen=True, kw_only=True)
class Linear(Process):
    """alpha = 1 - t, sigma = t: the straight path of flow matching, rectified flow, SD3.

    At t = 1 the drift rate f is infinite though the flow is not, so the interval stops just short.

    Source: Lipman et al. 2023, eq. 20 (sigma_min = 0, time reversed); Liu et al. 2023, eq. 1.
    """

    t_min: float = 1e-3
    t_max: float = 0.999

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        t = _real(t)
        return Coefficients(1 - t, t, -torch.ones_like(t), torch.ones_like(t))

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`."""
        return torch.sigmoid(-log_snr / 2)


@dataclass(frozen=True, kw_only=True)
class Cosine(Process):
    """alpha = cos u / cos u_0, sigma = sqrt(1 - alpha^2), u = (pi / 2) (t + s) / (1 + s).

    The offset s = 0.008 keeps the first steps from being too small.

    Raises:
        ValueError: s is negative.

    Source: Nichol and Dhariwal 2021, eq. 17.
    """

    t_min: float = 1e-3
    t_max: float = 0.999
    s: float = 0.008

    def __post_init__(self) -> None:
        """Refuse a negative offset."""
        self._kept("s", zero=True)
        super().__post_init__()

    def _angles(self) -> tuple[float, float]:
        rate = math.pi / 2 / (1 + self.s)
        return rate, rate * self.s

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        t, (rate, start) = _real(t), self._angles()
        u, ruler = start + rate * t, math.cos(start)
        alpha, alpha_dot = torch.cos(u) / ruler, -rate * torch.sin(u) / ruler
        # 1 - alpha^2 without cancellation: a product of sines.
        sigma = torch.sqrt(torch.sin(rate * t) * torch.sin(u + start)) / ruler
        return Coefficients(alpha, sigma, alpha_dot, -alpha * alpha_dot / sigma)

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`."""
        rate, start = self._angles()
        # sigma^2 = sin(u - u_0) sin(u + u_0) / cos(u_0)^2 = (sin(u)^2 - sin(u_0)^2) / cos(u_0)^2.
        square = torch.sigmoid(-log_snr) * math.cos(start) ** 2 + math.sin(start) ** 2
        return (torch.asin(torch.sqrt(square)) - start) / rate


@dataclass(frozen=True, kw_only=True)
class Tabulated(_VariancePreserving):
    r"""A table of alpha-bar, alpha(k)^2 = alpha_bar[k - 1] at t = k = 1 ... T, as DDPM counts.

    Between the entries the log SNR is a monotone cubic of t (PCHIP), so that the table is an
    ordinary process with continuous rates, and exact at its own times. `diffusers` counts from 0:
    its timestep k is our t = k + 1.

    Raises:
        ValueError: the table does not fall strictly inside (0, 1), or does not hold all of
            [t_min, t_max].

    Source: Ho et al. 2020, section 4 (T = 1000, beta 1e-4 to 0.02);
    Rombach et al. 2022 (scaled linear).
    """

    alpha_bar: tuple[float, ...] = field(kw_only=False, repr=False)
    t_min: float = 1.0
    t_max: float = 0.0  # 0: the length of the table

    def __post_init__(self) -> None:
        """Refuse a table that does not fall strictly inside (0, 1)."""
        table = np.asarray(self.alpha_bar, dtype=np.float64)
        if table.ndim != 1 or len(table) < 2:
            raise ValueError(f"alpha_bar must be a row of at least two numbers, got {table.shape}")
        if not (np.all(table > 0) and np.all(table < 1) and np.all(np.diff(table) < 0)):
            raise ValueError("alpha_bar must fall strictly and lie between 0 and 1")
        object.__setattr__(self, "alpha_bar", tuple(table.tolist()))
        if self.t_max == 0.0:
            object.__setattr__(self, "t_max", float(len(table)))
        if self._kept("t_min") < 1 or self._kept("t_max") > len(table):
            raise ValueError(
                f"the table holds times 1 to {len(table)}, not all of {self.t_min} to {self.t_max}"
            )
        knots = np.log(table) - np.log1p(-table)
        cubic = PchipInterpolator(np.arange(1, len(table) + 1), knots)
        object.__setattr__(self, "_cubic", torch.from_numpy(cubic.c.copy()))
        object.__setattr__(self, "_knots", torch.from_numpy(knots))
        super().__post_init__()

    @staticmethod
    def ddpm(steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> Tabulated:
        """beta linear from beta_min to beta_max in `steps` entries (Ho et al. 2020)."""
        return Tabulated.from_betas(torch.linspace(beta_min, beta_max, steps, dtype=torch.float64))

    @staticmethod
    def stable_diffusion(steps: int = 1000) -> Tabulated:
        """sqrt(beta) linear from 0.00085 to 0.012 (Rombach et al. 2022, 'scaled linear')."""
        root = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64)
        return Tabulated.from_betas(root**2)

    @staticmethod
    def from_betas(betas: Tensor) -> Tabulated:
        """alpha_bar[k] = prod_{j <= k} (1 - beta_j), betas (T,) (Ho et al. 2020, eq. 4)."""
        return Tabulated(tuple(torch.cumprod(1 - betas.double(), 0).tolist()))

    def _log_snr_and_rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        c: Tensor = self._cubic.to(t)  # type: ignore[attr-defined]
        k = (t.detach().floor().long() - 1).clamp(0, c.shape[1] - 1)
        u = t - (k + 1)
        value = ((c[0, k] * u + c[1, k]) * u + c[2, k]) * u + c[3, k]
        return value, (3 * c[0, k] * u + 2 * c[1, k]) * u + c[2, k]

    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """See `Process`."""
        snr, rate = self._log_snr_and_rate(_real(t))
        # alpha^2 = sigmoid(log SNR), so d ln alpha / dt = (rate / 2) sigma^2.
        return self._from_log_alpha(
            torch.nn.functional.logsigmoid(snr) / 2, rate * torch.sigmoid(-snr) / 2
        )

    def time(self, log_snr: Tensor) -> Tensor:
        """See `Process`: find the interval, then bisect the cubic to rounding."""
        knots = self._knots.to(log_snr)  # type: ignore[attr-defined]
        k = torch.searchsorted(-knots, -log_snr.contiguous()).clamp(1, len(knots) - 1)
        low, high = k.to(log_snr), (k + 1).to(log_snr)
        for _ in range(60):
            middle = (low + high) / 2
            above = self._log_snr_and_rate(middle)[0] > log_snr
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        return (low + high) / 2
