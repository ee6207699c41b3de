r"""Noise data: x_t = alpha(t) x_0 + sigma(t) eps, eps ~ N(0, I).

A process is a choice of two functions of time, alpha and sigma, with alpha(0) = 1 and a log
signal-to-noise ratio 2 ln(alpha / sigma) that falls from data (t = 0) to noise (t = t_max). They
determine the linear SDE with these marginals,

    dx = f x dt + g dW,    f = alpha_dot / alpha,    g^2 = 2 sigma (sigma_dot - f sigma)

(Song et al. 2021, eq. 29; Kingma et al. 2021, eq. 8).

A process is defined on an interval [t_min, t_max] on which alpha, sigma and their rates are
finite. Flow-matching papers count time the other way, with data at t = 1: t_ours = 1 - t_theirs,
and our velocity is minus theirs (`integrations.FlowMatching`).

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

from sdeflow._validation import (
    as_floating,
    check_cloud,
    check_device,
    check_dtype,
    check_int,
    check_kind,
    check_positive,
    check_seed,
)
from sdeflow._wording import in_words
from sdeflow.random_streams import KeyedNormals, Stream, uniform

Scalar = TypeVar("Scalar", Tensor, float)

SHORT = 0.1
"""The signal-to-noise ratio at t_max above which `Process.prior` warns."""
APART = 2**32
"""Added to the seed with which `Process.prior` draws data, so that they are independent of
`data.sample(n, seed)`, with which a user compares the result."""


class Samples(Protocol):
    """Anything with a method `sample(n, seed)`, such as a distribution."""

    def sample(self, n: int, seed: int) -> Tensor:
        """Draw n points (n, d)."""


class Coefficients(NamedTuple, Generic[Scalar]):
    """alpha, sigma and their time derivatives at a time t, each of the shape of t."""

    alpha: Scalar
    sigma: Scalar
    alpha_dot: Scalar
    sigma_dot: Scalar

    def __repr__(self) -> str:  # type: ignore[misc]
        """In words: the values, or their ranges over the times."""
        return ", ".join(f"{k} {in_words(v)}" for k, v in self._asdict().items())

    @property
    def noise_rate(self) -> Scalar:
        """sigma_dot - f sigma = sigma d/dt ln(sigma / alpha): the rate of sigma due to noise."""
        return self.sigma_dot - self.alpha_dot / self.alpha * self.sigma

    def along(self, x: Tensor) -> Coefficients[Tensor]:  # type: ignore[misc]
        """The coefficients in the type of a cloud x (n, d), shaped () or (n, 1) to multiply x."""
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a cloud, a tensor (n, d), got {type(x).__name__}")
        row: list[Tensor] = [torch.as_tensor(c) for c in self]
        return Coefficients(*((c[:, None] if c.ndim else c).to(x) for c in row))


CHECKED = 65  # number of times at which a schedule is checked


@dataclass(frozen=True, kw_only=True, repr=False)
class Process(ABC):
    """A noise schedule (alpha, sigma) on [t_min, t_max]; process(t) gives its `Coefficients`.

    A subclass defines `_schedule` and `_time`.
    """

    t_min: float
    t_max: float

    def __post_init__(self) -> None:
        if not self._kept("t_min", zero=True) < self._kept("t_max"):
            raise ValueError(f"t_min must lie below t_max, got {self.t_min} and {self.t_max}")
        c = self(torch.linspace(self.t_min, self.t_max, CHECKED, dtype=torch.float64))
        level = c.sigma / c.alpha
        rises = 0 <= level[0] < level[-1] and bool((level.diff() >= -1e-9 * level[1:]).all())
        if not (torch.isfinite(torch.stack(c)).all() and (c.alpha > 0).all() and rises):
            raise ValueError(
                f"a {type(self).__name__} process is not defined from t_min = {self.t_min:g} to "
                f"t_max = {self.t_max:g}: alpha must be positive, sigma / alpha must rise with t, "
                "and the rates must be finite; move the ends inwards"
            )

    def _kept(self, name: str, *, zero: bool = False) -> float:
        """Check that the constant of this name is positive, and store it as a plain float."""
        value = check_positive(getattr(self, name), name, zero=zero)
        object.__setattr__(self, name, value)
        return value

    def __repr__(self) -> str:
        words = [
            type(self).__name__,
            self._constants(),
            f"t from {self.t_min:g} to {self.t_max:g}",
        ]
        return ", ".join(filter(None, words))

    def _constants(self) -> str:
        """The constants of the schedule, for `repr`."""
        return ""

    def __call__(self, t: Tensor | float | Sequence[float]) -> Coefficients[Tensor]:
        """The coefficients at times t, () or (n,); differentiable in t.

        They have the floating-point type of t, and float64 for plain numbers. A time that lies
        outside [t_min, t_max] by more than rounding raises a ValueError.
        """
        t = as_floating(t, "t")
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
        """t in float64; a time outside the interval by rounding alone becomes the nearer end."""
        slack = (1e-12 if rounding < 1e-12 else max(rounding, 1e-6)) * self.t_max
        inside = t.detach().clamp(self.t_min, self.t_max)
        single = inside.float().double()  # the end, if it was rounded to float32
        off = torch.minimum((t - inside).abs(), (t - single).abs())
        if not (off <= slack).all():  # true for NaN
            low, high = float(t.min()), float(t.max())
            raise ValueError(
                f"t {f'runs from {low:g} to {high:g},' if low < high else f'= {low:g} lies'} "
                f"outside [{self.t_min:g}, {self.t_max:g}] where this {type(self).__name__} "
                "process is defined; give times inside it"
            )
        return t + (inside - t.detach())

    @abstractmethod
    def _schedule(self, t: Tensor) -> Coefficients[Tensor]:
        """The coefficients at t, a floating-point tensor of times in the interval."""

    def time(self, log_snr: Tensor | float) -> Tensor:
        """The time at which 2 ln(alpha / sigma) = log_snr, of its shape; the inverse of `log_snr`.

        It may lie outside [t_min, t_max]; `time_of` stays inside.
        """
        return self._time(as_floating(log_snr, "log_snr"))

    @abstractmethod
    def _time(self, log_snr: Tensor) -> Tensor:
        """The time at which 2 ln(alpha / sigma) = log_snr, a floating-point tensor."""

    def log_snr(self, t: Tensor | float) -> Tensor:
        """The log signal-to-noise ratio 2 ln(alpha / sigma) at t, of its shape; it falls."""
        c = self(t)
        return 2 * torch.log(c.alpha / c.sigma)

    def noise_level(self, t: Tensor | float) -> Tensor:
        """The noise level rho = sigma / alpha at t, of its shape (length); it rises."""
        c = self(t)
        return c.sigma / c.alpha

    def time_of(self, noise_level: Tensor | float) -> Tensor:
        """The time in [t_min, t_max] at which sigma / alpha = noise_level, of its shape.

        It is the inverse of `noise_level`. A level beyond an end of the interval gives that end.
        """
        level = as_floating(noise_level, "noise_level")
        if not (level >= 0).all():
            raise ValueError(f"noise_level must be zero or more, got {float(level.min()):g}")
        return self._time(-2 * torch.log(level)).clamp(self.t_min, self.t_max)

    def drift(self, t: Tensor | float) -> Tensor:
        """f = alpha_dot / alpha at t, the rate of the linear drift f x (1 / time)."""
        c = self(t)
        return c.alpha_dot / c.alpha

    def diffusion(self, t: Tensor | float) -> Tensor:
        """g = sqrt(2 sigma (sigma_dot - f sigma)) at t (length / sqrt(time))."""
        c = self(t)
        return torch.sqrt(2 * c.sigma * c.noise_rate)

    def perturb(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """x_t = alpha x0 + sigma eps, (n, d), from x0 and eps (n, d) and t () or (n,)."""
        check_cloud(x0, "x0")
        check_cloud(eps, "eps")
        if eps.shape != x0.shape:
            raise ValueError(
                f"eps must have the shape of x0, {tuple(x0.shape)}, got {tuple(eps.shape)}"
            )
        c = self(self.at(t, x0)).along(x0)
        return c.alpha * x0 + c.sigma * eps

    def at(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Return t, one time () or one per particle (n,), as a tensor for a cloud x (n, d).

        It is on the device of x, in a type at least as precise as that of x.
        """
        given = t.dtype if isinstance(t, Tensor) else torch.promote_types(x.dtype, torch.float32)
        t = as_floating(t, "t")
        t = t.to(x.device, torch.promote_types(given, x.dtype))
        if t.ndim > 1 or (t.ndim == 1 and t.shape != x.shape[:1]):
            raise ValueError(
                f"t must be () or ({len(x)},), one time per particle, got {tuple(t.shape)}"
            )
        low, high = t.detach().aminmax()
        if self.t_min <= low and high <= self.t_max:
            return t
        # An end may have been rounded to the type of x.
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
        first: int = 0,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """n draws (n, d) from N(0, sigma(t_max)^2 I), the distribution in which sampling starts.

        It neglects alpha(t_max) x_0. Its Wasserstein distance to the distribution of x_{t_max} is
        W_2 <= alpha(t_max) sqrt(E|x_0|^2). If alpha^2 > 0.1 sigma^2, which is 5 % of the standard
        deviation for data of unit variance, a warning says so. With `data` the draws are
        alpha x_0 + sigma eps, which is exact.

        Args:
            n, d: numbers of particles and of coordinates.
            seed: a whole number from 0 on; float64 has other draws than float32.
            dtype: by default torch's default type.
            data: the distribution of x_0, or a cloud (m, d) from which x_0 is drawn.
            first: number of the first particle, for a cloud that is drawn in parts with one seed.
            device: where the draws shall lie; by default on that of `data`, or on the CPU. They
                are made on the CPU, so that every device has the same.
        """
        n, d, seed = check_int(n, "n"), check_int(d, "d"), check_seed(seed)
        kind = check_dtype(torch.get_default_dtype() if dtype is None else dtype)
        place = None if device is None else check_device(device)
        c = self(self.t_max)
        first = check_int(first, "first", 0)
        noise = float(c.sigma) * KeyedNormals(seed, Stream.PRIOR, n, d, kind, first).draw(0)
        if data is not None:
            x0 = _drawn(data, first + n, d, seed)[first:]
            noise = noise.to(place or x0.device)
            return float(c.alpha) * x0.to(noise) + noise
        if c.alpha**2 > SHORT * c.sigma**2:
            warnings.warn(
                f"the prior N(0, {float(c.sigma):.3g}^2) neglects alpha x_0, and alpha is "
                f"{float(c.alpha):.3g} at the end of this {type(self).__name__} process: data of "
                f"unit variance have standard deviation {math.hypot(*c[:2]):.3g} there; pass "
                "their distribution, prior(..., data=), or take a process with a later t_max",
                stacklevel=2,
            )
        return noise if place is None else noise.to(place)


def _drawn(data: Samples | Tensor, n: int, d: int, seed: int) -> Tensor:
    """n draws (n, d) of x_0."""
    seed = (seed + APART) % 2**64
    if isinstance(data, Tensor):
        cloud = check_cloud(data, "data", d)
        return cloud[(uniform(seed, 0, n) * len(cloud)).long().to(cloud.device)]
    if isinstance(data, type) or not hasattr(data, "sample"):
        got = data if isinstance(data, type) else type(data)
        raise TypeError(
            "data must be a distribution, such as a GaussianMixture, or a cloud (m, d), got "
            f"{got.__name__}"
        )
    x = data.sample(n, seed)
    if x.shape != (n, d):
        raise ValueError(f"data has dimension {x.shape[1]}, but d is {d}; pass that dimension")
    return x


def check_process(value: object, name: str = "process") -> Process:
    """Return `value` if it is a process."""
    return check_kind(value, Process, name, "make one, such as sf.VP()")
