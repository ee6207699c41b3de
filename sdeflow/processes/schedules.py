r"""Choose a noise schedule (alpha, sigma): VP, sub-VP, VE, EDM, the straight path, cosine.

The rates of each are in closed form; the tests compare them with automatic differentiation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow.processes.process import Coefficients, Process


class _VariancePreserving(Process):
    """A process with alpha^2 + sigma^2 = 1."""

    @staticmethod
    def _from_log_alpha(log_alpha: Tensor, rate: Tensor) -> Coefficients[Tensor]:
        """The coefficients, given ln alpha and its rate."""
        alpha = torch.exp(log_alpha)
        sigma = torch.sqrt(-torch.expm1(2 * log_alpha))
        return Coefficients(alpha, sigma, rate * alpha, -rate * alpha**2 / sigma)


@dataclass(frozen=True, kw_only=True, repr=False)
class VP(_VariancePreserving):
    r"""The variance-preserving process, alpha^2 + sigma^2 = 1: the continuous limit of DDPM.

        ln alpha = -(1/2) int_0^t beta,    beta(t) = beta_min + t (beta_max - beta_min),

    with beta in units of 1 / time and 0 < beta_min <= beta_max.

    Source: Song et al. 2021, eq. 11 and 32.
    """

    t_min: float = 1e-4
    t_max: float = 1.0
    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if self._kept("beta_min") > self._kept("beta_max"):
            raise ValueError(f"beta_min {self.beta_min} must not exceed beta_max {self.beta_max}")
        super().__post_init__()

    def _constants(self) -> str:
        return f"beta {self.beta_min:g} to {self.beta_max:g}"

    def _log_alpha(self, t: Tensor) -> tuple[Tensor, Tensor]:
        slope = self.beta_max - self.beta_min
        return -t * (self.beta_min + slope * t / 2) / 2, -(self.beta_min + slope * t) / 2

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        return self._from_log_alpha(*self._log_alpha(t))

    def _time(self, log_snr: Tensor) -> Tensor:
        # int_0^t beta = ln(1 + 1 / SNR) is quadratic in t.
        return self._time_of_integral(torch.nn.functional.softplus(-log_snr))

    def _time_of_integral(self, b: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return 2 * b / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * slope * b))


@dataclass(frozen=True, kw_only=True, repr=False)
class SubVP(VP):
    r"""The sub-variance-preserving process: the alpha of `VP`, with sigma = 1 - alpha^2.

    Source: Song et al. 2021, eq. 12.
    """

    t_min: float = 1e-3

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        log_alpha, rate = self._log_alpha(t)
        alpha = torch.exp(log_alpha)
        return Coefficients(alpha, -torch.expm1(2 * log_alpha), rate * alpha, -2 * rate * alpha**2)

    def _time(self, log_snr: Tensor) -> Tensor:
        # sigma / alpha = 2 sinh(-ln alpha).
        return self._time_of_integral(2 * torch.asinh(torch.exp(-log_snr / 2) / 2))


@dataclass(frozen=True, kw_only=True, repr=False)
class VE(Process):
    r"""The variance-exploding process: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t.

    0 < sigma_min < sigma_max (length); by default sigma = 10^(3 t - 2). The data have noise of
    standard deviation sigma_min even at t = 0.

    Source: Song et al. 2021, eq. 9 and 30.
    """

    t_min: float = 0.0
    t_max: float = 1.0
    sigma_min: float = 0.01
    sigma_max: float = 10.0

    def __post_init__(self) -> None:
        if not self._kept("sigma_min") < self._kept("sigma_max"):
            raise ValueError(
                f"sigma_min {self.sigma_min} must lie below sigma_max {self.sigma_max}"
            )
        super().__post_init__()

    def _constants(self) -> str:
        return f"sigma {self.sigma_min:g} to {self.sigma_max:g}"

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        rate = math.log(self.sigma_max / self.sigma_min)
        sigma = self.sigma_min * torch.exp(rate * t)
        return Coefficients(torch.ones_like(t), sigma, torch.zeros_like(t), rate * sigma)

    def _time(self, log_snr: Tensor) -> Tensor:
        rate = math.log(self.sigma_max / self.sigma_min)
        return (-log_snr / 2 - math.log(self.sigma_min)) / rate


@dataclass(frozen=True, kw_only=True, repr=False)
class EDM(Process):
    """The process of EDM: alpha = 1, sigma = t, so that time is the noise level.

    Source: Karras et al. 2022, table 1.
    """

    t_min: float = 0.002
    t_max: float = 80.0

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        return Coefficients(torch.ones_like(t), t, torch.zeros_like(t), torch.ones_like(t))

    def _time(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2)


@dataclass(frozen=True, kw_only=True, repr=False)
class Linear(Process):
    """The straight path of flow matching: alpha = 1 - t, sigma = t.

    Rectified flow and Stable Diffusion 3 use it too. The rate f is infinite at t = 1, so the
    interval ends at 0.999.

    Source: Lipman et al. 2023, eq. 20 (sigma_min = 0, time reversed); Liu et al. 2023, eq. 1.
    """

    t_min: float = 1e-3
    t_max: float = 0.999

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        return Coefficients(1 - t, t, -torch.ones_like(t), torch.ones_like(t))

    def _time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


@dataclass(frozen=True, kw_only=True, repr=False)
class Cosine(Process):
    """The cosine schedule: alpha = cos u / cos u_0, sigma = sqrt(1 - alpha^2).

    u = (pi / 2) (t + s) / (1 + s), and u_0 is u at t = 0. The offset s >= 0 makes the noise of the
    first steps of a uniform time grid larger.

    Source: Nichol and Dhariwal 2021, eq. 17.
    """

    t_min: float = 1e-3
    t_max: float = 0.999
    s: float = 0.008

    def __post_init__(self) -> None:
        if self._kept("s", zero=True) > 1e3:
            raise ValueError(f"s must be at most 1000, got {self.s:g}; the usual offset is 0.008")
        super().__post_init__()

    def _constants(self) -> str:
        return f"s {self.s:g}"

    def _angles(self) -> tuple[float, float]:
        rate = math.pi / 2 / (1 + self.s)
        return rate, rate * self.s

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        rate, start = self._angles()
        u, rescaling = start + rate * t, math.cos(start)
        # cos(u) as sin(pi / 2 - u) = sin(rate (1 - t)), which keeps its digits near t = 1.
        alpha = torch.sin(rate * (1 - t)) / rescaling
        alpha_dot = -rate * torch.sin(u) / rescaling
        # 1 - alpha^2 without cancellation: a product of sines.
        sigma = torch.sqrt(torch.sin(rate * t) * torch.sin(u + start)) / rescaling
        return Coefficients(alpha, sigma, alpha_dot, -alpha * alpha_dot / sigma)

    def _time(self, log_snr: Tensor) -> Tensor:
        rate, start = self._angles()
        # sigma^2 = sin(u - u_0) sin(u + u_0) / cos(u_0)^2 = (sin(u)^2 - sin(u_0)^2) / cos(u_0)^2,
        # and alpha = cos(u) / cos(u_0); the arc tangent keeps its digits near t = 1.
        sine = torch.sigmoid(-log_snr) * math.cos(start) ** 2 + math.sin(start) ** 2
        cosine = torch.sigmoid(log_snr) * math.cos(start) ** 2
        return (torch.atan2(torch.sqrt(sine), torch.sqrt(cosine)) - start) / rate
