r"""Make the SDEs of classical physics: Brownian motion, Langevin dynamics and their relatives.

    brownian            dx = sqrt(2 D) dW
    ornstein_uhlenbeck  dx = -A x dt + b dW                       A stable, symmetric or not
    langevin            dx = -mu grad U dt + sqrt(2 mu T) dW      or mu F(x, t), T(t)
    underdamped         dq = v dt,  dv = -(grad U / m + gamma v) dt + sqrt(2 gamma T / m) dW
    geometric_brownian  dx = growth x dt + volatility x dW        Ito or Stratonovich

Time runs from 0 to t_end. Boltzmann's constant is 1: a temperature is an energy. A potential is a
torch function of a cloud (n, d): the energy of each particle (n,), or the total energy () of
particles that interact; autograd computes the force. With a protocol lambda(t) the energy is
U(x, lambda(t)), and `sdeflow.analysis.work` measures the work done on the particles. The
stationary density of `langevin` is e^{-U/T}, that of `underdamped` e^{-U/T - m v^2 / 2T}.

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

from sdeflow._validation import as_numbers, check_finite, check_positive
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.sdes.drifts import (
    ConstantNoise,
    GivenForce,
    LinearDrift,
    Multiple,
    NoDrift,
    NoisePerAxis,
    OverdampedDrift,
    ThermalNoise,
    UnderdampedDrift,
    UnderdampedNoise,
)
from sdeflow.sdes.potentials import Force, Harmonic, Potential, Protocol
from sdeflow.sdes.sde import SDE, Diffusion, Drift, SteppedSDE, check_function
from sdeflow.sdes.transition import BrownianTransition, RelaxationTransition
from sdeflow.sdes.walls import Box


def brownian(diffusivity: float = 0.5, t_end: float = 1.0) -> SDE:
    """Brownian motion, dx = sqrt(2 D) dW; D = 1/2 is the Wiener process.

    Args:
        diffusivity: D, length^2 / time.
        t_end: last time; the first is 0.
    """
    variance = 2 * check_positive(diffusivity, "diffusivity")
    return SDE(
        NoDrift(),
        ConstantNoise(variance**0.5),
        0.0,
        check_positive(t_end, "t_end"),
        transition=BrownianTransition(variance),
        name=f"Brownian motion, diffusivity {diffusivity:g}",
    )


def langevin(
    potential: Potential | None = None,
    temperature: float | Callable[[Tensor], Tensor | float] = 1.0,
    mobility: float = 1.0,
    t_end: float = 1.0,
    protocol: Protocol | None = None,
    walls: Box | None = None,
    force: Drift | None = None,
) -> SDE:
    """Overdamped Langevin dynamics, dx = -mobility grad U dt + sqrt(2 mobility temperature) dW.

    Args:
        potential: U(x), an energy for each particle, (n, d) -> (n,), or the total energy () of
            particles that interact; with a protocol U(x, control).
        temperature: k_B T, an energy; or a function of t, () in float64, for annealing: the run
            then has no stationary density.
        mobility: velocity per force.
        t_end: last time; the first is 0.
        protocol: t -> control, for a potential that is changed in time.
        walls: a `Box` that the particles do not leave.
        force: (x, t) -> (n, d), in place of a potential: one that has none, or is known itself.

    Raises:
        TypeError, ValueError: there are both a potential and a force, or neither; in a run, the
            potential gives neither (n,) nor (), has no gradient, or gives (n,) energies that
            depend on other particles, or the temperature is negative.

    Source: Risken 1989, chapter 5.
    """
    mu = check_positive(mobility, "mobility")
    drift = _overdamped(potential, protocol, force, mu)
    transition, name = None, "a function of t"
    noise: Diffusion
    if callable(temperature):
        check_function(temperature, "temperature", "t")
        noise = ThermalNoise(temperature, mu)
    else:
        size = (2 * mu * check_positive(temperature, "temperature")) ** 0.5
        noise, name = ConstantNoise(size), f"{temperature:g}"
        if isinstance(potential, Harmonic) and protocol is None:
            rate = torch.tensor(mu * potential.stiffness, dtype=torch.float64)
            transition = RelaxationTransition(rate, torch.tensor(size, dtype=torch.float64))
    return LangevinSDE(
        drift, noise, 0.0, check_positive(t_end, "t_end"), transition=transition, walls=walls,
        name=f"overdamped Langevin dynamics, temperature {name}, mobility {mu:g}",
    )  # fmt: skip


def _overdamped(
    potential: Potential | None, protocol: Protocol | None, force: Drift | None, mobility: float
) -> Drift:
    """The drift of a potential, or of a force."""
    if force is None:
        if potential is None:
            raise TypeError("langevin needs a potential, or force=, a function of (x, t)")
        return OverdampedDrift(Force(potential, protocol), mobility)
    if potential is not None or protocol is not None:
        raise ValueError("a force takes the place of potential and protocol; leave those out")
    check_function(force, "force", "x", "t")
    return GivenForce(force, mobility)


def underdamped(
    potential: Potential,
    friction: float = 1.0,
    temperature: float = 1.0,
    mass: float = 1.0,
    t_end: float = 1.0,
    protocol: Protocol | None = None,
) -> SDE:
    """Underdamped Langevin dynamics of positions q and velocities v.

        dq = v dt,    dv = -(grad U / m + gamma v) dt + sqrt(2 gamma T / m) dW.

    The state is (q, v), (n, 2 k): k positions, then k velocities. The noise acts on v alone.

    Args:
        potential: U(q), (n, k) -> (n,), or the total energy (); with a protocol U(q, control).
        friction: gamma, the rate at which velocities relax, 1 / time.
        temperature: k_B T, an energy.
        mass: m.
        t_end: last time; the first is 0.
        protocol: t -> control, for a potential that is changed in time.

    Raises:
        TypeError, ValueError: as in `langevin`; in a run, the state has an odd number of columns.

    Source: Kramers 1940; Risken 1989, chapter 10.
    """
    force, gamma = Force(potential, protocol), check_positive(friction, "friction")
    m, temperature = check_positive(mass, "mass"), check_positive(temperature, "temperature")
    return LangevinSDE(
        UnderdampedDrift(force, m, gamma),
        UnderdampedNoise((2 * gamma * temperature / m) ** 0.5),
        0.0,
        check_positive(t_end, "t_end"),
        name=f"underdamped Langevin dynamics, friction {gamma:g}, temperature {temperature:g}, "
        f"mass {m:g}",
    )


class LangevinSDE(SDE):
    """The SDE of `langevin` and `underdamped`."""

    def _check_walls(self) -> None:
        """Check the walls; one that reflects positions alone would not turn the velocity."""
        super()._check_walls()
        assert self.walls is not None
        if isinstance(self.drift, UnderdampedDrift) and "reflecting" in self.walls.kinds():
            raise ValueError(
                "a reflecting wall does not turn the velocity of underdamped motion; take a steep "
                "potential, or langevin(..., walls=) for overdamped motion"
            )

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """This SDE on the step index; energies that depend on other particles are refused."""
        if isinstance(self.drift, OverdampedDrift | UnderdampedDrift):
            self.drift.check_pairs(like, times[0])
        return super().stepped(times, like)


def geometric_brownian(
    growth: float,
    volatility: float,
    t_end: float = 1.0,
    calculus: Literal["ito", "stratonovich"] = "ito",
) -> SDE:
    """Geometric Brownian motion, dx = growth x dt + volatility x dW in each coordinate.

    x is lognormal: the mean of ln x grows at the rate growth - volatility^2 / 2 after Ito, and at
    the rate growth after Stratonovich.

    Args:
        growth: 1 / time; it may be negative.
        volatility: 1 / sqrt(time).
        t_end: last time; the first is 0.
        calculus: interpretation of the noise, which depends on x.

    Source: Oksendal 2003, section 5.1.
    """
    rate, size = check_finite(growth, "growth"), check_positive(volatility, "volatility")
    return SDE(
        Multiple(rate),
        Multiple(size),
        0.0,
        check_positive(t_end, "t_end"),
        calculus=calculus,
        name=f"geometric Brownian motion, growth {rate:g}, volatility {size:g}",
    )


def ornstein_uhlenbeck(
    matrix: Tensor | Sequence[Sequence[float]],
    noise: Tensor | Sequence[float] | float = 1.0,
    t_end: float = 1.0,
) -> OrnsteinUhlenbeck:
    """The Ornstein-Uhlenbeck process, dx = -matrix x dt + noise dW.

    Args:
        matrix: (d, d), 1 / time; its eigenvalues have positive real parts. It may be asymmetric.
        noise: (d,) or one number for all axes, length / sqrt(time); it may be zero on some axes.
        t_end: last time; the first is 0.
    """
    a = as_numbers(matrix, "matrix").clone()
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"matrix must be square, (d, d), got {tuple(a.shape)}")
    slowest = float(torch.linalg.eigvals(a).real.min()) if torch.isfinite(a).all() else np.nan
    if not slowest > 0:
        raise ValueError(
            "matrix must have eigenvalues with positive real parts, so that dx = -matrix x dt "
            f"decays; the smallest real part is {slowest:.3g}; use SDE for an unstable drift"
        )
    b = as_numbers(noise, "noise")
    if b.shape not in ((), a.shape[:1]):
        raise ValueError(
            f"noise must be a number or one amplitude for each axis, ({len(a)},), got shape "
            f"{tuple(b.shape)}; rotate the axes so that a matrix of noise becomes diagonal"
        )
    if not (torch.isfinite(b).all() and (b >= 0).all() and b.any()):
        raise ValueError(f"noise must be finite, not negative and not all zero, got {b.tolist()}")
    b = b.expand(len(a)).clone()
    return OrnsteinUhlenbeck(
        LinearDrift(a),
        NoisePerAxis(b),
        0.0,
        check_positive(t_end, "t_end"),
        transition=RelaxationTransition(a.diagonal(), b) if a.equal(a.diagonal().diag()) else None,
        name=f"Ornstein-Uhlenbeck process in {len(a)} dimension{'s' * (len(a) > 1)}",
        matrix=a,
        noise=b,
    )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class OrnsteinUhlenbeck(SDE):
    """The SDE dx = -A x dt + b dW, with its Gaussian distributions in closed form, in float64.

    Attributes:
        matrix: A (d, d).
        noise: b (d,).
    """

    matrix: Tensor
    noise: Tensor

    def __post_init__(self) -> None:
        """Check that matrix and noise are those of drift and diffusion."""
        super().__post_init__()
        drift, noise = self.drift, self.diffusion
        if (isinstance(drift, LinearDrift) and drift.matrix is not self.matrix) or (
            isinstance(noise, NoisePerAxis) and noise.size is not self.noise
        ):
            raise ValueError(
                "matrix and noise belong to the drift and the diffusion of this SDE and cannot be "
                "replaced; make a new one with sf.sdes.ornstein_uhlenbeck(matrix, noise)"
            )

    def covariance(self, lag: float = 0.0) -> Tensor:
        """The stationary covariance at a time lag >= 0, (d, d).

            Cov(x_{t + lag}, x_t) = e^{-A lag} C,    A C + C A^T = diag(b^2).

        Source: Gardiner 2009, section 4.5.
        """
        if not self.as_made:
            raise ValueError(
                "the drift or the diffusion has been replaced, and closed forms hold only for "
                "those of the matrix and the noise; make a new process with ornstein_uhlenbeck"
            )
        spread = solve_continuous_lyapunov(self.matrix.numpy(), np.diag(self.noise.numpy() ** 2))
        fade = self._propagator(check_positive(lag, "lag", zero=True))
        return fade @ torch.from_numpy((spread + spread.T) / 2)

    def stationary(self) -> GaussianMixture:
        """The stationary distribution, N(0, C)."""
        zero = self.noise.new_zeros(1, len(self.noise))
        return GaussianMixture(self.noise.new_ones(1), zero, self.covariance()[None])

    def evolved(self, start: GaussianMixture, time: float) -> GaussianMixture:
        """The distribution of x_t if x_0 has the distribution `start`; again a Gaussian mixture.

        mu_k -> e^{-A t} mu_k,    C_k -> C + e^{-A t} (C_k - C) e^{-A^T t},    t = time >= 0.
        """
        if not isinstance(start, GaussianMixture):
            raise TypeError(f"start must be a GaussianMixture, got {type(start).__name__}")
        if start.dim != len(self.noise):
            raise ValueError(
                f"the mixture has dimension {start.dim}, the process {len(self.noise)}; give a "
                "mixture of the same dimension"
            )
        start, rest = start.to(torch.float64), self.covariance()
        fade = self._propagator(check_positive(time, "time", zero=True))
        spread = rest + fade @ (start.covariances - rest) @ fade.T
        return GaussianMixture(start.weights, start.means @ fade.T, (spread + spread.mT) / 2)

    def entropy_production(self) -> float:
        """The entropy production per unit of time in the stationary state; zero if reversible.

            tr(A^T D^{-1} A C) - tr A,    D = diag(b^2) / 2.

        Raises:
            ValueError: an axis has no noise.

        Source: Godreche and Luck 2019.
        """
        if not (self.noise > 0).all():
            raise ValueError(
                "entropy production needs noise on every axis; it is infinite if one has none"
            )
        each = self.matrix.T @ (2 / self.noise**2)[:, None].mul(self.matrix) @ self.covariance()
        return float(torch.trace(each - self.matrix))

    def _propagator(self, time: float) -> Tensor:
        return torch.from_numpy(expm(-self.matrix.numpy() * time))
