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

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int, check_positive, in_words, shown
from sdeflow.random_streams import Stream, normals, uniform

Scalar = TypeVar("Scalar", Tensor, float)

SHORT = 0.1
"""The SNR at t_max above which `Process.prior` warns; VE has 0.01, DDPM's table 4e-5."""
APART = 2**32
"""Added to the seed of the data of a prior, so that they are not those of `data.sample(n, seed)`,
which the cloud will be compared with."""


class Samples(Protocol):
    """A distribution, as far as `Process.prior` needs it."""

    def sample(self, n: int, seed: int) -> Tensor:
        """n draws (n, d)."""


class Coefficients(NamedTuple, Generic[Scalar]):
    """alpha, sigma and their time derivatives, shaped like t; plain floats inside a solver."""

    alpha: Scalar
    sigma: Scalar
    alpha_dot: Scalar
    sigma_dot: Scalar

    def __repr__(self) -> str:  # type: ignore[misc]
        """In words: the values, or their ranges over the times."""
        return ", ".join(f"{k} {in_words(v)}" for k, v in self._asdict().items())

    @property
    def noise_rate(self) -> Scalar:
        """sigma_dot - f sigma = sigma d/dt ln(sigma / alpha), due to noise alone."""
        return self.sigma_dot - self.alpha_dot / self.alpha * self.sigma

    def along(self, x: Tensor) -> Coefficients[Tensor]:  # type: ignore[misc]
        """The same in the type of a cloud x (n, d), (n,) as (n, 1), so that they multiply x."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a cloud, a tensor (n, d), got {type(x).__name__}")
        row: list[Tensor] = [torch.as_tensor(c) for c in self]
        return Coefficients(*((c[:, None] if c.ndim else c).to(x) for c in row))


@dataclass(frozen=True, kw_only=True, repr=False)
class Process(ABC):
    """A noise schedule (alpha, sigma) on [t_min, t_max]; call it for its `Coefficients`.

    A subclass defines `_schedule` and `_time`.

    Raises:
        ValueError, TypeError: the interval is empty, or a constant is not a number in its range;
            when called, t leaves the interval.
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

    def __call__(self, t: Tensor | float | Sequence[float]) -> Coefficients[Tensor]:
        """Coefficients at t, () or (n,), in the dtype of t; differentiable in t.

        Plain numbers are times in float64.

        Raises:
            ValueError: t leaves [t_min, t_max] by more than the rounding of its type.
        """
        t = as_numbers(t, "t")
        if not t.numel():
            return self._schedule(t)
        if t.ndim:
            low, high = (end.item() for end in t.detach().aminmax())
        else:
            low = high = t.item()
        if self.t_min <= low and high <= self.t_max:
            return self._schedule(t)
        exact = self._schedule(self._pulled(t.double(), torch.finfo(t.dtype).eps))
        return Coefficients(*(c.to(t.dtype) for c in exact))

    def _pulled(self, t: Tensor, rounding: float) -> Tensor:
        """t in float64, moved into the interval where it has left it by rounding."""
        slack = (1e-12 if rounding < 1e-12 else max(rounding, 1e-6)) * self.t_max
        inside = t.detach().clamp(self.t_min, self.t_max)
        single = inside.float().double()  # an end that was float32 once
        off = torch.minimum((t - inside).abs(), (t - single).abs())
        if not (off <= slack).all():  # NaN is outside too
            low, high = float(t.min()), float(t.max())
            raise ValueError(
                f"t {f'runs from {low:g} to {high:g},' if low < high else f'= {low:g} lies'} "
                f"outside [{self.t_min:g}, {self.t_max:g}] where this {type(self).__name__} "
                "process is defined; give times inside it"
            )
        return t + (inside - t.detach())

    @abstractmethod
    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        """The coefficients at t, a floating-point tensor inside the interval."""

    def time(self, log_snr: Tensor | float) -> Tensor:
        """The time at which 2 ln(alpha / sigma) = log_snr, of its shape: inverse of `log_snr`."""
        return self._time(as_numbers(log_snr, "log_snr"))

    @abstractmethod
    def _time(self, log_snr: Tensor) -> Tensor:
        """`time` of a floating-point tensor."""

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

        Raises:
            ValueError: a level is negative or NaN.
        """
        level = as_numbers(noise_level, "noise_level")
        if not (level >= 0).all():
            raise ValueError(f"a noise level is zero or more, got {float(level.min()):g}")
        return self._time(-2 * torch.log(level)).clamp(self.t_min, self.t_max)

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
            TypeError, ValueError: x0 is no cloud, eps or t does not fit it, or t leaves
                [t_min, t_max].
        """
        check_cloud(x0, "x0")
        check_cloud(eps, "eps")
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
        t = as_numbers(t, "t")
        t = t.to(x.device, torch.promote_types(given, x.dtype))
        if t.ndim > 1 or (t.ndim == 1 and t.shape != x.shape[:1]):
            raise ValueError(f"t must be () or ({len(x)},) for this cloud, got {tuple(t.shape)}")
        low, high = t.detach().aminmax()
        if self.t_min <= low and high <= self.t_max:
            return t
        # The ends themselves may arrive rounded to x's dtype.
        rounding = torch.finfo(given).eps if given.is_floating_point else 0.0
        return self._pulled(t.double(), rounding).to(t.dtype)

    def prior(
        self,
        n: int,
        d: int,
        seed: int,
        dtype: torch.dtype | None = None,
        *,
        data: Samples | Tensor | None = None,
    ) -> Tensor:
        """n draws (n, d) from N(0, sigma(t_max)^2 I), the distribution that sampling starts from.

        It leaves out alpha(t_max) x_0, which moves it by W_2 <= alpha(t_max) sqrt(E|x_0|^2) from
        the distribution of x_{t_max} and falls with t_max. Where alpha^2 > 0.1 sigma^2 (5 % of the
        standard deviation, for data of unit variance) a warning says so. With `data` the draws are
        alpha x_0 + sigma eps, which is exact.

        Args:
            seed: of the draws; float64 has other numbers than narrower types.
            data: the distribution of x_0, or a cloud (m, d) from which x_0 is drawn.

        Raises:
            ValueError, TypeError: n, d or seed is not a whole number in its range; data is no
                distribution and no cloud, or has another dimension.
        """
        n, d, seed = check_int(n, "n"), check_int(d, "d"), check_int(seed, "seed", 0)
        if seed >= 2**64:
            raise ValueError(f"seed must be below 2^64, got {seed}")
        kind = torch.get_default_dtype() if dtype is None else dtype
        c = self(self.t_max)
        if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
            raise TypeError(f"dtype must be a floating-point type of torch, got {shown(dtype)}")
        noise = float(c.sigma) * normals(seed, Stream.PRIOR, n, d, kind)
        if data is not None:
            return float(c.alpha) * _drawn(data, n, d, seed).to(noise) + noise
        if c.alpha**2 > SHORT * c.sigma**2:
            warnings.warn(
                f"the prior N(0, {float(c.sigma):.3g}^2) leaves out alpha x_0, and alpha is "
                f"{float(c.alpha):.3g} at the end of this {type(self).__name__} process: data of "
                f"unit variance have standard deviation {math.hypot(*c[:2]):.3g} there; give "
                "prior(..., data=) the distribution of the data, or a process with a later t_max",
                stacklevel=2,
            )
        return noise


def _drawn(data: Samples | Tensor, n: int, d: int, seed: int) -> Tensor:
    """n draws (n, d) of x_0."""
    seed = (seed + APART) % 2**64
    if isinstance(data, Tensor):
        cloud = check_cloud(data, "data", d)
        return cloud[(uniform(seed, 0, n) * len(cloud)).long().to(cloud.device)]
    if isinstance(data, type) or not hasattr(data, "sample"):
        got = data if isinstance(data, type) else type(data)
        raise TypeError(
            f"data must be a distribution, such as a GaussianMixture, or a cloud (m, d), got "
            f"{got.__name__}"
        )
    x = data.sample(n, seed)
    if x.shape != (n, d):
        raise ValueError(f"data has dimension {x.shape[1]}, but d is {d}; give prior that d")
    return x


def check_process(value: object, name: str = "process") -> Process:
    """Return `value` if it is a process.

    Raises:
        TypeError: it is not.
    """
    if isinstance(value, Process):
        return value
    if not isinstance(value, type):
        raise TypeError(f"{name} must be a Process, such as sf.VP(), got {type(value).__name__}")
    cure = f"; make one, {value.__name__}(...)" if issubclass(value, Process) else ""
    raise TypeError(
        f"{name} must be a Process, such as sf.VP(), got the class {value.__name__}{cure}"
    )


def as_numbers(value: object, name: str) -> Tensor:
    """`value` as a floating-point tensor: float64 for plain numbers, its own type for a tensor.

    Raises:
        TypeError: not numbers.
    """
    if isinstance(value, Tensor):
        if value.is_floating_point():
            return value
        if not value.is_complex() and value.dtype != torch.bool:
            return value.to(torch.get_default_dtype())
    elif not isinstance(value, bool | str | bytes):
        try:
            return torch.as_tensor(value, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            pass
    kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
    raise TypeError(f"{name} must be a number or a tensor of numbers, got {kind}")
