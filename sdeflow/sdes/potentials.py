r"""Potentials of classical physics, and their forces by automatic differentiation.

    harmonic       U = k |x|^2 / 2
    double_well    U = b (x_1^2 - 1)^2 + k (x_2^2 + ... + x_d^2) / 2
    mexican_hat    U = b (|x|^2 - 1)^2

A potential is any torch function that gives one energy per particle, (n, d) -> (n,).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_positive
from sdeflow.sdes.sde import Drift

Potential = Callable[..., Tensor]  # (x) -> (n,), or with a protocol (x, control) -> (n,)
Protocol = Callable[[Tensor], Tensor | float]  # t -> control


def harmonic(stiffness: float = 1.0) -> Potential:
    """U = stiffness |x|^2 / 2.

    Raises:
        TypeError, ValueError: stiffness is not positive.
    """
    return Harmonic(check_positive(stiffness, "stiffness"))


@dataclass(frozen=True)
class Harmonic:
    """A potential whose force is linear, so that `langevin` knows its transition kernel."""

    stiffness: float

    def __call__(self, x: Tensor) -> Tensor:
        return self.stiffness / 2 * (x**2).sum(1)


def double_well(barrier: float = 1.0, stiffness: float = 1.0) -> Potential:
    """U = barrier (x_1^2 - 1)^2 + stiffness (x_2^2 + ... + x_d^2) / 2: wells at x_1 = -1 and 1.

    Raises:
        TypeError, ValueError: barrier or stiffness is not positive.
    """
    height, k = check_positive(barrier, "barrier"), check_positive(stiffness, "stiffness")
    return lambda x: height * (x[:, 0] ** 2 - 1) ** 2 + k / 2 * (x[:, 1:] ** 2).sum(1)


def mexican_hat(barrier: float = 1.0) -> Potential:
    """U = barrier (|x|^2 - 1)^2: its minima are the unit sphere.

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
    """grad U (n, d) at x (n, d), by autograd, also inside torch.no_grad().

    Raises:
        ValueError: U is not one number per particle, or not differentiable in x.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        u = scalar(function, at, control)
        if not u.requires_grad:
            raise ValueError(
                "a function of a cloud, such as a potential, has no gradient; write it with torch"
            )
        return torch.autograd.grad(u.sum(), at)[0]


def force_of(potential: Potential, protocol: Protocol | None) -> Drift:
    """-grad U(x), or -grad U(x, protocol(t)), as a function (x, t) -> (n, d).

    Raises:
        TypeError: the potential is no function.
    """
    if not callable(potential):
        raise TypeError(f"potential must be a function of the cloud, got {potential!r}")
    if protocol is None:
        return lambda x, t: -gradient(potential, x)
    return lambda x, t: -gradient(potential, x, protocol(t))
