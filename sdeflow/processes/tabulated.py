r"""Make a process from a table of alpha-bar, such as those of DDPM and Stable Diffusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from sdeflow._validation import as_numbers, check_int, check_positive
from sdeflow.processes.process import Coefficients
from sdeflow.processes.schedules import _VariancePreserving


@dataclass(frozen=True, kw_only=True, repr=False)
class Tabulated(_VariancePreserving):
    r"""The process of a table of alpha-bar: alpha(t)^2 = alpha_bar[t - 1] at t = 1, ..., T.

    DDPM counts time in this way; `diffusers` counts from 0, and its timestep k is our t = k + 1.
    Between the entries the log signal-to-noise ratio is a monotone cubic of t (PCHIP), so that
    the rates are continuous. If t_min < 1, then sigma(t) = t sigma(1) for t < 1: clean data are at
    t = 0, where the last step of most samplers of a table ends.

    Args:
        alpha_bar: (T,) numbers in (0, 1), falling strictly.
        t_min, t_max: the interval, by default [1, T].

    Source: Ho et al. 2020, section 4 (T = 1000, beta 1e-4 to 0.02);
    Rombach et al. 2022 (scaled linear).
    """

    alpha_bar: tuple[float, ...] = field(kw_only=False, repr=False)
    t_min: float = 1.0
    t_max: float = 0.0  # 0: the length of the table

    def __post_init__(self) -> None:
        table = as_numbers(self.alpha_bar, "alpha_bar").numpy()
        if table.ndim != 1 or len(table) < 2:
            raise ValueError(f"alpha_bar must be a row of at least two numbers, got {table.shape}")
        if not (np.all(table > 0) and np.all(table < 1) and np.all(np.diff(table) < 0)):
            raise ValueError(
                "alpha_bar must fall strictly and lie between 0 and 1; for betas use from_betas"
            )
        object.__setattr__(self, "alpha_bar", tuple(table.tolist()))
        if isinstance(self.t_max, int | float) and self.t_max == 0.0:
            object.__setattr__(self, "t_max", float(len(table)))
        if self._kept("t_max") > len(table):
            raise ValueError(
                f"the table holds times up to {len(table)}, not to t_max = {self.t_max:g}; leave "
                "out t_max"
            )
        super().__post_init__()

    @cached_property
    def _knots(self) -> Tensor:
        """The log signal-to-noise ratio at the entries, (T,)."""
        table = np.asarray(self.alpha_bar)
        return torch.from_numpy(np.log(table) - np.log1p(-table))

    @property
    def _first_sigma(self) -> float:
        """sigma(1), that of the first entry."""
        return math.sqrt(1 - self.alpha_bar[0])

    @cached_property
    def _cubic(self) -> Tensor:
        """Coefficients (4, T - 1) of the cubics between the entries, highest power first."""
        times = np.arange(1, len(self.alpha_bar) + 1)
        return torch.from_numpy(PchipInterpolator(times, self._knots.numpy()).c.copy())

    def _constants(self) -> str:
        first, last = self.alpha_bar[0], self.alpha_bar[-1]
        return f"alpha-bar {first:.4g} to {last:.4g} in {len(self.alpha_bar)} entries"

    @staticmethod
    def ddpm(steps: int = 1000, beta_min: float = 1e-4, beta_max: float = 0.02) -> Tabulated:
        """DDPM's table: beta rises linearly from beta_min to beta_max (Ho et al. 2020)."""
        first, last = check_positive(beta_min, "beta_min"), check_positive(beta_max, "beta_max")
        steps = check_int(steps, "steps", 2)
        return Tabulated.from_betas(torch.linspace(first, last, steps, dtype=torch.float64))

    @staticmethod
    def stable_diffusion(steps: int = 1000) -> Tabulated:
        """Stable Diffusion's table: beta^(1/2) rises linearly, beta from 0.00085 to 0.012.

        `diffusers` calls it "scaled_linear".

        Source: Rombach et al. 2022.
        """
        steps = check_int(steps, "steps", 2)
        root = torch.linspace(0.00085**0.5, 0.012**0.5, steps, dtype=torch.float64)
        return Tabulated.from_betas(root**2)

    @staticmethod
    def from_betas(betas: Tensor | np.ndarray | Sequence[float]) -> Tabulated:
        """The table alpha_bar[k] = prod_{j <= k} (1 - beta_j) of betas (T,).

        Source: Ho et al. 2020, eq. 4.
        """
        betas = as_numbers(betas, "betas")
        if betas.ndim != 1:
            raise ValueError(f"betas must be a row of numbers (T,), got {tuple(betas.shape)}")
        return Tabulated(tuple(torch.cumprod(1 - betas, 0).tolist()))

    def _log_snr_and_rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        c = self._cubic.to(t)
        k = (t.detach().floor().long() - 1).clamp(0, c.shape[1] - 1)
        u = t - (k + 1)
        value = ((c[0, k] * u + c[1, k]) * u + c[2, k]) * u + c[3, k]
        return value, (3 * c[0, k] * u + 2 * c[1, k]) * u + c[2, k]

    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        snr, rate = self._log_snr_and_rate(t)
        # alpha^2 = sigmoid(log SNR), so d ln alpha / dt = (rate / 2) sigma^2.
        inside = self._from_log_alpha(
            torch.nn.functional.logsigmoid(snr) / 2, rate * torch.sigmoid(-snr) / 2
        )
        if self.t_min >= 1:
            return inside
        slope = self._first_sigma
        sigma = slope * t.clamp(max=1.0)
        alpha = torch.sqrt(1 - sigma**2)
        below = alpha, sigma, -slope * sigma / alpha, slope * torch.ones_like(t)
        return Coefficients(*(torch.where(t < 1, *c) for c in zip(below, inside, strict=True)))

    def _time(self, log_snr: Tensor) -> Tensor:
        # Find the cubic, then bisect it to rounding.
        knots = self._knots.to(log_snr)
        k = torch.searchsorted(-knots, -log_snr.contiguous()).clamp(1, len(knots) - 1)
        low, high = k.to(log_snr), (k + 1).to(log_snr)
        for _ in range(60):
            middle = (low + high) / 2
            above = self._log_snr_and_rate(middle)[0] > log_snr
            low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        inside = (low + high) / 2
        if self.t_min >= 1:
            return inside
        below = torch.sqrt(torch.sigmoid(-log_snr)) / self._first_sigma
        return torch.where(log_snr > knots[0], below, inside)
