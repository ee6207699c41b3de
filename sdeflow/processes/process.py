r"""Noise data: x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).

A process is a choice of (alpha, sigma) with alpha(0) = 1 and log SNR = 2 ln(alpha / sigma) falling
from data (t = 0) to noise (t = t_max). Nothing else is free. The linear SDE with these marginals,

    dx = f x dt + g dW,    f = alpha_dot / alpha,    g^2 = 2 sigma (sigma_dot - f sigma),

follows (Song et al. 2021, eq. 29; Kingma et al. 2021, eq. 8), so every other formula of the
package is written once, in alpha and sigma. Flow-matching papers count time the other way (t = 1
is data): t_ours = 1 - t_theirs, and our velocity is minus theirs (`integrations.FlowMatching`).

A process is defined on the interval [t_min, t_max], on which its rates are finite.

See docs/theory.md, (1.1) and (2.2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from sdeflow._validation import check_int, check_positive
from sdeflow.random_streams import Stream, normals

Scalar = TypeVar("Scalar", Tensor, float)


class Coefficients(NamedTuple, Generic[Scalar]):
    """alpha, sigma and their time derivatives, shaped like t; plain floats inside a solver."""

    alpha: Scalar
    sigma: Scalar
    alpha_dot: Scalar
    sigma_dot: Scalar

    @property
    def noise_rate(self) -> Scalar:
        """sigma_dot - f sigma = sigma d/dt ln(sigma / alpha), due to noise alone."""
        return self.sigma_dot - self.alpha_dot / self.alpha * self.sigma

    def along(self, x: Tensor) -> Coefficients[Tensor]:  # type: ignore[misc]
        """The same in the type of a cloud x (n, d), (n,) as (n, 1), so that they multiply x."""
        row: list[Tensor] = [torch.as_tensor(c) for c in self]
        return Coefficients(*((c[:, None] if c.ndim else c).to(x) for c in row))


@dataclass(frozen=True, kw_only=True, repr=False)
class Process(ABC):
    """A noise schedule (alpha, sigma) on [t_min, t_max]; call it for its `Coefficients`.

    Raises:
        ValueError, TypeError: the interval is empty, or a constant is not a number in its range.
    """

    t_min: float
    t_max: float

    def __post_init__(self) -> None:
        """Check that alpha, sigma and their rates are finite on the interval."""
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
        """The constant of this name if it is positive; stored as a plain float, as JSON needs."""
        value = check_positive(getattr(self, name), name, zero=zero)
        object.__setattr__(self, name, value)
        return value

    def __repr__(self) -> str:
        """In words: the schedule, its constants, its interval."""
        words = [
            type(self).__name__,
            self._constants(),
            f"t from {self.t_min:g} to {self.t_max:g}",
        ]
        return ", ".join(filter(None, words))

    def _constants(self) -> str:
        """The constants of the schedule, in words."""
        return ""

    @abstractmethod
    def __call__(self, t: Tensor | float) -> Coefficients[Tensor]:
        """Coefficients at t, () or (n,), in the dtype of t; differentiable in t.

        A plain number is a time in float64.
        """

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which 2 ln(alpha / sigma) = log_snr, of its shape: inverse of `log_snr`."""

    def log_snr(self, t: Tensor | float) -> Tensor:
        """The log signal-to-noise ratio 2 ln(alpha / sigma) at t, of its shape; it falls."""
        c = self(t)
        return 2 * torch.log(c.alpha / c.sigma)

    def noise_level(self, t: Tensor | float) -> Tensor:
        """rho = sigma / alpha at t, of its shape (in units of length); strictly rising."""
        c = self(t)
        return c.sigma / c.alpha

    def time_of(self, noise_level: Tensor | float) -> Tensor:
        """The time in [t_min, t_max] at which sigma / alpha = noise_level, of its shape.

        The inverse of `noise_level`. A level beyond an end of the interval gives that end.
        """
        return self.time(-2 * torch.log(_real(noise_level))).clamp(self.t_min, self.t_max)

    def drift(self, t: Tensor | float) -> Tensor:
        """f = alpha_dot / alpha, the rate of the linear drift f x (in units of 1 / time)."""
        c = self(t)
        return c.alpha_dot / c.alpha

    def diffusion(self, t: Tensor | float) -> Tensor:
        """g = sqrt(2 sigma (sigma_dot - f sigma)) (in units of length / sqrt(time))."""
        c = self(t)
        return torch.sqrt(2 * c.sigma * c.noise_rate)

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
        """Return t, one time () or one per particle (n,), on the device of x, at least as precise.

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
        """n draws (n, d) from N(0, sigma(t_max)^2 I), the distribution that sampling starts from.

        It differs from the distribution of x_{t_max} by alpha(t_max) x_0: the prior error, which
        falls with t_max.

        Raises:
            ValueError, TypeError: n, d or seed is not a whole number in its range.
        """
        check_int(n, "n")
        check_int(d, "d")
        check_int(seed, "seed", 0)
        sigma = float(self(torch.tensor(self.t_max, dtype=torch.float64)).sigma)
        return sigma * normals(seed, Stream.PRIOR, n, d, dtype or torch.get_default_dtype())


def _real(t: Tensor | float) -> Tensor:
    """t as a floating-point tensor: float64 for a plain number, the type of a floating tensor."""
    if not isinstance(t, Tensor):
        return torch.as_tensor(t, dtype=torch.float64)
    return t if t.is_floating_point() else t.to(torch.get_default_dtype())
