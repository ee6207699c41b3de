r"""Laws of motion that physicists bring; each is an `SDE` from t = 0 to t_end.

    brownian            dx = sqrt(2 D) dW
    ornstein_uhlenbeck  dx = -A x dt + b dW                       A stable, not always symmetric
    langevin            dx = -mu grad U dt + sqrt(2 mu T) dW
    underdamped         dq = v dt,  dv = -(grad U / m + gamma v) dt + sqrt(2 gamma T / m) dW
    geometric_brownian  dx = growth x dt + volatility x dW        Ito or Stratonovich

They run in every solver, and `evolve`, `current` and `generator` move their densities. Boltzmann's
constant is 1: a temperature is an energy. A potential is any torch function of a cloud that gives
one energy per particle, (n, d) -> (n,); autograd makes the force. A protocol drives it: then the
energy is U(x, lambda(t)), and `observe.work` is what the driving costs.

At rest `langevin` has the law e^{-U/T}, and `underdamped` e^{-U/T - m v^2 / 2T}. The linear law is
the one known in full: `OrnsteinUhlenbeck` holds its transition, its stationary covariance C,
A C + C A^T = diag(b^2), and the entropy it produces where its drift is no gradient.

Any other law is SDE(drift, diffusion, t_start, t_end, calculus): noise that depends on the state
is diagonal, and the calculus says how it is read.

Source: Risken 1989, chapters 3, 5 and 10; Sekimoto 2010, chapter 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.linalg import expm, solve_continuous_lyapunov
from torch import Tensor

from sdeflow._validation import check_finite, check_positive
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.sdes.sde import SDE, Drift

Potential = Callable[..., Tensor]  # (x) -> (n,), or with a protocol (x, control) -> (n,)
Protocol = Callable[[Tensor], Tensor | float]  # t -> control

# -------------------------------------------------------------------------------------- potentials


def harmonic(stiffness: float = 1.0) -> Potential:
    """U = stiffness |x|^2 / 2.

    Raises:
        TypeError, ValueError: stiffness is not positive.
    """
    k = check_positive(stiffness, "stiffness")
    return lambda x: k / 2 * (x**2).sum(1)


def double_well(barrier: float = 1.0, stiffness: float = 1.0) -> Potential:
    """U = barrier (x_1^2 - 1)^2 + stiffness (x_2^2 + ... + x_d^2) / 2: wells at x_1 = -1 and 1.

    Raises:
        TypeError, ValueError: barrier or stiffness is not positive.
    """
    height, k = check_positive(barrier, "barrier"), check_positive(stiffness, "stiffness")
    return lambda x: height * (x[:, 0] ** 2 - 1) ** 2 + k / 2 * (x[:, 1:] ** 2).sum(1)


def mexican_hat(barrier: float = 1.0) -> Potential:
    """U = barrier (|x|^2 - 1)^2: a valley along the unit circle, or the unit sphere.

    Raises:
        TypeError, ValueError: barrier is not positive.
    """
    height = check_positive(barrier, "barrier")
    return lambda x: height * ((x**2).sum(1) - 1) ** 2


def scalar(function: Potential, x: Tensor, control: Tensor | float | None = None) -> Tensor:
    """U(x), or U(x, control): one number for each particle of x (n, d), (n,).

    Raises:
        ValueError: the function returned something else.
    """
    u = function(x) if control is None else function(x, control)
    if not isinstance(u, Tensor) or u.shape != x.shape[:1]:
        got = tuple(u.shape) if isinstance(u, Tensor) else type(u).__name__
        raise ValueError(
            f"a function of a cloud {tuple(x.shape)}, such as a potential, must return one number "
            f"per particle, {tuple(x.shape[:1])}, got {got}; sum over the coordinates"
        )
    return u


def gradient(function: Potential, x: Tensor, control: Tensor | float | None = None) -> Tensor:
    """grad U (n, d) at x (n, d), by autograd, also where it is switched off outside.

    Raises:
        ValueError: as `scalar`, or U is no differentiable function of x.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        u = scalar(function, at, control)
        if not u.requires_grad:
            raise ValueError(
                "a function of a cloud, such as a potential, has no gradient; write it with torch"
            )
        return torch.autograd.grad(u.sum(), at)[0]


def _force(potential: Potential, protocol: Protocol | None) -> Drift:
    if not callable(potential):
        raise TypeError(f"potential must be a function of the cloud, got {potential!r}")
    if protocol is None:
        return lambda x, t: -gradient(potential, x)
    return lambda x, t: -gradient(potential, x, protocol(t))


# -------------------------------------------------------------------------------------------- laws


def brownian(diffusivity: float = 0.5, t_end: float = 1.0) -> SDE:
    """dx = sqrt(2 D) dW; D = 1/2 is Wiener's process.

    Raises:
        TypeError, ValueError: diffusivity or t_end is not positive.
    """
    size = (2 * check_positive(diffusivity, "diffusivity")) ** 0.5
    return SDE(
        lambda x, t: torch.zeros_like(x),
        lambda x, t: x.new_tensor(size),
        0.0,
        check_positive(t_end, "t_end"),
    )


def langevin(
    potential: Potential,
    temperature: float = 1.0,
    mobility: float = 1.0,
    t_end: float = 1.0,
    protocol: Protocol | None = None,
) -> SDE:
    """dx = -mobility grad U dt + sqrt(2 mobility temperature) dW: friction without inertia.

    Args:
        potential: U(x), (n, d) -> (n,), in units of energy; with a protocol U(x, control).
        temperature: kT, an energy.
        mobility: velocity per force.
        protocol: t -> control, for a potential that is driven.

    Raises:
        TypeError, ValueError: here, if a number is not positive or the potential no function; in
            a run, as `gradient`.

    Source: Risken 1989, chapter 5.
    """
    force, mu = _force(potential, protocol), check_positive(mobility, "mobility")
    size = (2 * mu * check_positive(temperature, "temperature")) ** 0.5
    return SDE(
        lambda x, t: mu * force(x, t),
        lambda x, t: x.new_tensor(size),
        0.0,
        check_positive(t_end, "t_end"),
    )


def underdamped(
    potential: Potential,
    friction: float = 1.0,
    temperature: float = 1.0,
    mass: float = 1.0,
    t_end: float = 1.0,
    protocol: Protocol | None = None,
) -> SDE:
    """dq = v dt, dv = -(grad U / m + friction v) dt + sqrt(2 friction temperature / m) dW.

    The state is (q, v), (n, 2 k): k positions, then k velocities. The noise acts on v alone.

    Args:
        potential: U(q), (n, k) -> (n,); with a protocol U(q, control).
        friction: the rate at which velocities forget, 1 / time.
        temperature: kT. mass: m. protocol: t -> control.

    Raises:
        TypeError, ValueError: as `langevin`; in a run, if the state has an odd number of columns.

    Source: Kramers 1940; Risken 1989, chapter 10.
    """
    force, gamma = _force(potential, protocol), check_positive(friction, "friction")
    m = check_positive(mass, "mass")
    size = (2 * gamma * check_positive(temperature, "temperature") / m) ** 0.5

    def drift(x: Tensor, t: Tensor) -> Tensor:
        q, v = _halves(x)
        return torch.cat([v, force(q, t) / m - gamma * v], 1)

    def diffusion(x: Tensor, t: Tensor) -> Tensor:
        q, v = _halves(x[0])
        return torch.cat([torch.zeros_like(q), torch.full_like(v, size)])

    return SDE(drift, diffusion, 0.0, check_positive(t_end, "t_end"))


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """q and v."""
    if x.shape[-1] % 2:
        raise ValueError(
            f"underdamped motion has a velocity for every position, got {x.shape[-1]} columns; "
            "give (q, v)"
        )
    q, v = x.chunk(2, -1)
    return q, v


def geometric_brownian(
    growth: float,
    volatility: float,
    t_end: float = 1.0,
    calculus: Literal["ito", "stratonovich"] = "ito",
) -> SDE:
    """dx = growth x dt + volatility x dW, in each coordinate: x stays lognormal.

    ln x grows by (growth - volatility^2 / 2) t after Ito, by growth t after Stratonovich.

    Raises:
        TypeError, ValueError: growth is not finite, volatility or t_end not positive, or an
            unknown calculus.

    Source: Oksendal 2003, section 5.1.
    """
    rate, size = check_finite(growth, "growth"), check_positive(volatility, "volatility")
    return SDE(
        lambda x, t: rate * x,
        lambda x, t: size * x,
        0.0,
        check_positive(t_end, "t_end"),
        calculus=calculus,
    )


# ---------------------------------------------------------------------------------- the linear law


def ornstein_uhlenbeck(
    matrix: Tensor | Sequence[Sequence[float]],
    noise: Tensor | Sequence[float] | float = 1.0,
    t_end: float = 1.0,
) -> OrnsteinUhlenbeck:
    """dx = -matrix x dt + noise dW.

    Args:
        matrix: (d, d), every eigenvalue with a positive real part; symmetric or not.
        noise: (d,), one amplitude for each axis, or one number for all; zero on some, not on all.

    Raises:
        TypeError, ValueError: shapes that do not fit, an unstable matrix, negative noise or a
            matrix for it.
    """
    a = torch.as_tensor(matrix, dtype=torch.float64)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"matrix must be square, (d, d), got {tuple(a.shape)}")
    slowest = float(torch.linalg.eigvals(a).real.min()) if torch.isfinite(a).all() else np.nan
    if not slowest > 0:
        raise ValueError(
            "matrix must have eigenvalues with positive real parts, so that dx = -matrix x dt "
            f"relaxes; the smallest real part is {slowest:.3g}; use SDE for a law that does not"
        )
    b = torch.as_tensor(noise, dtype=torch.float64)
    if b.shape not in ((), a.shape[:1]):
        raise ValueError(
            f"noise must be a number or one amplitude for each axis, ({len(a)},), got shape "
            f"{tuple(b.shape)}; turn the axes so that a matrix of noise becomes diagonal"
        )
    if not (torch.isfinite(b).all() and (b >= 0).all() and b.any()):
        raise ValueError(f"noise must be finite, not negative and not all zero, got {b.tolist()}")
    return OrnsteinUhlenbeck(
        lambda x, t: -x @ a.to(x).T,
        lambda x, t: b.to(x),
        0.0,
        check_positive(t_end, "t_end"),
        matrix=a,
        noise=b.expand(len(a)),
    )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class OrnsteinUhlenbeck(SDE):
    """The law that `ornstein_uhlenbeck` makes, with all that is known of it, in float64.

    Attributes:
        matrix: A (d, d). noise: b (d,).
    """

    matrix: Tensor
    noise: Tensor

    def covariance(self, lag: float = 0.0) -> Tensor:
        """Cov(x_{t + lag}, x_t) = e^{-A lag} C at rest, (d, d); C solves A C + C A^T = diag(b^2).

        Raises:
            TypeError, ValueError: lag is negative.

        Source: Gardiner 2009, section 4.5.
        """
        spread = solve_continuous_lyapunov(self.matrix.numpy(), np.diag(self.noise.numpy() ** 2))
        fade = self._propagator(check_positive(lag, "lag", zero=True))
        return fade @ torch.from_numpy((spread + spread.T) / 2)

    def stationary(self) -> GaussianMixture:
        """The law at rest, N(0, C)."""
        zero = self.noise.new_zeros(1, len(self.noise))
        return GaussianMixture(self.noise.new_ones(1), zero, self.covariance()[None])

    def evolved(self, law: GaussianMixture, time: float) -> GaussianMixture:
        """The law of x_time if x_0 has this one: mu -> e^{-A t} mu, C_k - C -> e^{-A t} (C_k - C)
        e^{-A^T t}, again a mixture.

        Raises:
            TypeError, ValueError: time is negative, or the dimensions differ.
        """
        if law.dim != len(self.noise):
            raise ValueError(f"the law has dimension {law.dim}, the motion {len(self.noise)}")
        law, rest = law.to(torch.float64), self.covariance()
        fade = self._propagator(check_positive(time, "time", zero=True))
        spread = rest + fade @ (law.covariances - rest) @ fade.T
        return GaussianMixture(law.weights, law.means @ fade.T, (spread + spread.mT) / 2)

    def entropy_production(self) -> float:
        """tr(A^T D^{-1} A C) - tr A per unit of time at rest, D = diag(b^2) / 2; 0 if reversible.

        Raises:
            ValueError: an axis has no noise.

        Source: Godreche and Luck 2019.
        """
        if not (self.noise > 0).all():
            raise ValueError("entropy production needs noise on every axis; one of them has none")
        each = self.matrix.T @ (2 / self.noise**2)[:, None].mul(self.matrix) @ self.covariance()
        return float(torch.trace(each - self.matrix))

    def _propagator(self, time: float) -> Tensor:
        return torch.from_numpy(expm(-self.matrix.numpy() * time))
