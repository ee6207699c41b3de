r"""Make potentials of classical physics, and forces of any potential by autograd.

    harmonic       U = k |x|^2 / 2
    double_well    U = b (x_1^2 - 1)^2 + k (x_2^2 + ... + x_d^2) / 2
    mexican_hat    U = b (|x|^2 - 1)^2

A potential is any torch function of a cloud (n, d): the energy of each particle (n,), or the total
energy () of particles that interact, in which each pair counts once. The force is minus the
gradient of the total energy.
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
    """The potential U = stiffness |x|^2 / 2; `langevin` then has a transition kernel."""

    stiffness: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.stiffness, "stiffness")

    def __repr__(self) -> str:
        return f"harmonic potential, stiffness {self.stiffness:g}"

    def __call__(self, x: Tensor) -> Tensor:
        return self.stiffness / 2 * (_rows(x) ** 2).sum(1)


@dataclass(frozen=True)
class DoubleWell:
    """The potential U = barrier (x_1^2 - 1)^2 + stiffness (x_2^2 + ... + x_d^2) / 2."""

    barrier: float = 1.0
    stiffness: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.barrier, "barrier")
        check_positive(self.stiffness, "stiffness")

    def __repr__(self) -> str:
        return f"double well, barrier {self.barrier:g}, stiffness {self.stiffness:g}"

    def __call__(self, x: Tensor) -> Tensor:
        along, across = _rows(x)[:, 0], x[:, 1:]
        return self.barrier * (along**2 - 1) ** 2 + self.stiffness / 2 * (across**2).sum(1)


@dataclass(frozen=True)
class MexicanHat:
    """The potential U = barrier (|x|^2 - 1)^2."""

    barrier: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.barrier, "barrier")

    def __repr__(self) -> str:
        return f"Mexican hat, barrier {self.barrier:g}"

    def __call__(self, x: Tensor) -> Tensor:
        return self.barrier * ((_rows(x) ** 2).sum(1) - 1) ** 2


def harmonic(stiffness: float = 1.0) -> Harmonic:
    """The harmonic potential U = stiffness |x|^2 / 2; stiffness in energy / length^2."""
    return Harmonic(check_positive(stiffness, "stiffness"))


def double_well(barrier: float = 1.0, stiffness: float = 1.0) -> DoubleWell:
    """The double well, with minima at x_1 = -1 and 1 and a barrier between them, an energy.

    U = barrier (x_1^2 - 1)^2 + stiffness (x_2^2 + ... + x_d^2) / 2.
    """
    return DoubleWell(check_positive(barrier, "barrier"), check_positive(stiffness, "stiffness"))


def mexican_hat(barrier: float = 1.0) -> MexicanHat:
    """The Mexican hat U = barrier (|x|^2 - 1)^2: its minima are the unit sphere."""
    return MexicanHat(check_positive(barrier, "barrier"))


def _rows(x: Tensor) -> Tensor:
    """Return x if it is (n, d); the entries are not checked, which would cost at every step."""
    if not isinstance(x, Tensor) or x.ndim != 2:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(
            f"a potential takes a cloud, a tensor (n, d), got {got}; use x[:, None] for particles "
            "on a line"
        )
    return x


def scalar(function: Potential, x: Tensor, control: Tensor | float | None = None) -> Tensor:
    """U(x), or U(x, control), checked: one number for each particle of x (n, d), (n,)."""
    u = function(x) if control is None else function(x, control)
    if not isinstance(u, Tensor) or u.shape != x.shape[:1]:
        total = isinstance(u, Tensor) and not u.ndim
        cure = "a total energy cannot be used here" if total else "sum over the coordinates"
        raise ValueError(
            f"a function of a cloud {tuple(x.shape)}, such as a potential, must return one number "
            f"per particle, {tuple(x.shape[:1])}, got {_shape(u)}; {cure}"
        )
    return u


def gradient(function: Potential, x: Tensor, control: Tensor | float | None = None) -> Tensor:
    """The gradient of U, (n, d), at x (n, d), by autograd, also inside torch.no_grad().

    U is one number per particle, (n,), or the total energy of the cloud, (); another shape, and a
    function that has no gradient, are refused.
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
                "given; let it return a new tensor (x * 0.5, not x.mul_(0.5))"
            ) from error
        if not isinstance(u, Tensor) or u.shape not in (x.shape[:1], ()):
            raise ValueError(
                f"a function of a cloud {tuple(x.shape)}, such as a potential, must return one "
                f"number per particle, {tuple(x.shape[:1])}, got {_shape(u)}; sum over the "
                "coordinates, or return the total energy, ()"
            )
        if not u.requires_grad:
            raise ValueError(
                "a function of a cloud, such as a potential, has no gradient; write it with torch "
                "and without .detach()"
            )
        return torch.autograd.grad(u.sum(), at)[0]


def _shape(u: object) -> object:
    return tuple(u.shape) if isinstance(u, Tensor) else type(u).__name__


@dataclass(frozen=True)
class Force:
    """The force -grad U(x), or -grad U(x, protocol(t)), as a function (x, t) -> (n, d)."""

    potential: Potential
    protocol: Protocol | None = None

    def __post_init__(self) -> None:
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
            raise ValueError("the protocol returned None; let it return the control at time t")
        return control

    def check_pairs(self, x: Tensor, t: Tensor) -> None:
        """Refuse energies (n,) that depend on other particles.

        Their sum counts each pair twice, and its gradient is twice the force. So the energies of
        the first half of the cloud must not change when the second half does.
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
                "the energy of a particle depends on the others, and a sum over particles would "
                "count each pair twice; return the total energy of the cloud, a scalar (), in "
                "which each pair counts once"
            )
