r"""Potentials of classical physics, and their forces by automatic differentiation.

    harmonic       U = k |x|^2 / 2
    double_well    U = b (x_1^2 - 1)^2 + k (x_2^2 + ... + x_d^2) / 2
    mexican_hat    U = b (|x|^2 - 1)^2

A potential is any torch function of a cloud (n, d). It gives the energy of each particle, (n,), or
the total energy of particles that interact, (): a force is minus the gradient of the total, in
which each pair counts once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_positive
from sdeflow.sdes.sde import check_function

Potential = Callable[..., Tensor]  # (x) -> (n,) or (), or with a protocol (x, control) -> the same
Protocol = Callable[[Tensor], Tensor | float]  # t -> control


@dataclass(frozen=True)
class Harmonic:
    """U = stiffness |x|^2 / 2; `langevin` knows the transition kernel of its linear force."""

    stiffness: float = 1.0

    def __post_init__(self) -> None:
        """Check the stiffness."""
        check_positive(self.stiffness, "stiffness")

    def __repr__(self) -> str:
        """In words."""
        return f"harmonic potential, stiffness {self.stiffness:g}"

    def __call__(self, x: Tensor) -> Tensor:
        return self.stiffness / 2 * (_rows(x) ** 2).sum(1)


@dataclass(frozen=True)
class DoubleWell:
    """U = barrier (x_1^2 - 1)^2 + stiffness (x_2^2 + ... + x_d^2) / 2."""

    barrier: float = 1.0
    stiffness: float = 1.0

    def __post_init__(self) -> None:
        """Check the constants."""
        check_positive(self.barrier, "barrier")
        check_positive(self.stiffness, "stiffness")

    def __repr__(self) -> str:
        """In words."""
        return f"double well, barrier {self.barrier:g}, stiffness {self.stiffness:g}"

    def __call__(self, x: Tensor) -> Tensor:
        along, across = _rows(x)[:, 0], x[:, 1:]
        return self.barrier * (along**2 - 1) ** 2 + self.stiffness / 2 * (across**2).sum(1)


@dataclass(frozen=True)
class MexicanHat:
    """U = barrier (|x|^2 - 1)^2."""

    barrier: float = 1.0

    def __post_init__(self) -> None:
        """Check the barrier."""
        check_positive(self.barrier, "barrier")

    def __repr__(self) -> str:
        """In words."""
        return f"Mexican hat, barrier {self.barrier:g}"

    def __call__(self, x: Tensor) -> Tensor:
        return self.barrier * ((_rows(x) ** 2).sum(1) - 1) ** 2


def harmonic(stiffness: float = 1.0) -> Harmonic:
    """U = stiffness |x|^2 / 2.

    Raises:
        TypeError, ValueError: stiffness is not positive.
    """
    return Harmonic(check_positive(stiffness, "stiffness"))


def double_well(barrier: float = 1.0, stiffness: float = 1.0) -> DoubleWell:
    """U = barrier (x_1^2 - 1)^2 + stiffness (x_2^2 + ... + x_d^2) / 2: wells at x_1 = -1 and 1.

    Raises:
        TypeError, ValueError: barrier or stiffness is not positive.
    """
    return DoubleWell(check_positive(barrier, "barrier"), check_positive(stiffness, "stiffness"))


def mexican_hat(barrier: float = 1.0) -> MexicanHat:
    """U = barrier (|x|^2 - 1)^2: its minima are the unit sphere.

    Raises:
        TypeError, ValueError: barrier is not positive.
    """
    return MexicanHat(check_positive(barrier, "barrier"))


def _rows(x: Tensor) -> Tensor:
    """Refuse what is no cloud (n, d); anything more would cost at every step."""
    if not isinstance(x, Tensor) or x.ndim != 2:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"a potential takes a cloud, a tensor (n, d), got {got}; use x[:, None]")
    return x


def scalar(function: Potential, x: Tensor, control: Tensor | float | None = None) -> Tensor:
    """U(x), or U(x, control): one number for each particle of x (n, d), (n,).

    Raises:
        ValueError: the function returned something else.
    """
    u = function(x) if control is None else function(x, control)
    if not isinstance(u, Tensor) or u.shape != x.shape[:1]:
        total = isinstance(u, Tensor) and not u.ndim
        cure = "a total energy does not tell them apart" if total else "sum over the coordinates"
        raise ValueError(
            f"a function of a cloud {tuple(x.shape)}, such as a potential, must return one number "
            f"per particle, {tuple(x.shape[:1])}, got {_shape(u)}; {cure}"
        )
    return u


def gradient(function: Potential, x: Tensor, control: Tensor | float | None = None) -> Tensor:
    """grad U (n, d) at x (n, d), by autograd, also inside torch.no_grad().

    U is one number per particle, (n,), or the total energy of the cloud, ().

    Raises:
        ValueError: U has another shape, or is not differentiable in x.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        try:
            u = function(at) if control is None else function(at, control)
        except RuntimeError as error:
            if "in-place operation" not in str(error):
                raise
            raise ValueError(
                "a function of a cloud, such as a potential, writes into the cloud that it is "
                "given: let it return a new tensor (x * 0.5, not x.mul_(0.5))"
            ) from error
        if not isinstance(u, Tensor) or u.shape not in (x.shape[:1], ()):
            raise ValueError(
                f"a function of a cloud {tuple(x.shape)}, such as a potential, must return one "
                f"number per particle, {tuple(x.shape[:1])}, got {_shape(u)}; sum over the "
                "coordinates, or return the total energy, ()"
            )
        if not u.requires_grad:
            raise ValueError(
                "a function of a cloud, such as a potential, has no gradient; write it with torch"
            )
        return torch.autograd.grad(u.sum(), at)[0]


def _shape(u: object) -> object:
    return tuple(u.shape) if isinstance(u, Tensor) else type(u).__name__


@dataclass(frozen=True)
class Force:
    """-grad U(x), or -grad U(x, protocol(t)), as a function (x, t) -> (n, d).

    Raises:
        TypeError: the potential is no function of x, or with a protocol of (x, control), or the
            protocol no function of t.
    """

    potential: Potential
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
        """Check the functions."""
        if self.protocol is None:
            check_function(self.potential, "potential", "x")
        else:
            check_function(self.protocol, "protocol", "t")
            check_function(self.potential, "with a protocol, potential", "x", "control")

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return -gradient(self.potential, x, self._control(t))

    def _control(self, t: Tensor) -> Tensor | float | None:
        if self.protocol is None:
            return None
        control = self.protocol(t)
        if control is None:
            raise ValueError("the protocol returned None; it must return the control at time t")
        return control

    def check_pairs(self, x: Tensor, t: Tensor) -> None:
        """Refuse energies (n,) that depend on other particles.

        Their sum counts each pair twice, and its gradient is twice the force. The energies of one
        half of the cloud are compared with those beside another second half.

        Raises:
            ValueError: they differ.
        """
        half, control = len(x) // 2, self._control(t)
        other = torch.cat([x[:half], x[:1].expand(len(x) - half, -1)])
        with torch.no_grad():
            u, v = (
                self.potential(y) if control is None else self.potential(y, control)
                for y in (x.clone(), other)
            )
        if not half or not isinstance(u, Tensor) or u.shape != x.shape[:1] or v.shape != u.shape:
            return  # a total energy; another shape is refused by `gradient`
        known = torch.isfinite(u)
        near = torch.finfo(u.dtype).eps ** 0.5 * u[known].abs().amax() if known.any() else 0.0
        if not ((u - v).abs()[:half][known[:half]] <= near).all():
            raise ValueError(
                "the energy of a particle depends on the others, so that a sum over particles "
                "counts pairs twice; return the total energy of the cloud, a scalar (), in which "
                "each pair counts once"
            )
