"""Name the methods of an ODE, and check a method's name and the noise of an SDE."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from sdeflow._validation import shown
from sdeflow.sdes.sde import Scale, SteppedSDE

FIXED: dict[str, tuple[float, ...] | None] = {
    "euler": (0.0,),
    "midpoint": (0.0, 1 / 2),
    "heun2": (0.0, 1.0),
    "heun3": (0.0, 1 / 3, 2 / 3),
    "rk4": (0.0, 1 / 3, 2 / 3, 1.0),
    "implicit_adams": None,
}
"""Methods of fixed steps of an ODE: where in its step each stage lies; None: it varies."""

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
"""Methods of an ODE that choose their steps."""


def check_method(method: object, kind: str, own: Sequence[str], others: Sequence[str]) -> None:
    """Check that a solver of this kind of equation, "SDE" or "ODE", has the method.

    Args:
        own, others: the methods of this solver and of the other one.
    """
    if method in own:
        return
    near = difflib.get_close_matches(str(method), own, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if method in others:
        hint = f"; {method!r} is a method of {'ODESolver' if kind == 'SDE' else 'SDESolver'}"
    raise ValueError(f"unknown {kind} method {shown(method)}; there are {', '.join(own)}{hint}")


def check_noise(steps: SteppedSDE, x: Tensor) -> Scale:
    """The diffusion at the start x (n, d), if it is (), (d,) or (n, d).

    A cloud of as many particles as axes is asked for once more with one particle more, which tells
    (d,) from (n,), and (n, d) from a matrix (d, d).

    Raises:
        TypeError: it is neither a number nor a tensor.
        ValueError: it has another shape, or it writes into x.
    """
    g, (n, d) = _asked(steps, x), x.shape
    if isinstance(g, Tensor) and g.ndim and n == d > 1 and steps.sde.noises is None:
        try:
            _asked(steps, torch.cat([x, x[-1:]]))
        except RuntimeError as error:
            raise ValueError(
                f"the diffusion returned {tuple(g.shape)} for {n} particles in {d} dimensions and "
                "fails for one particle more, so its axes are not known; let it take its numbers "
                "from x, or run one particle more"
            ) from error
    return g


def _asked(steps: SteppedSDE, x: Tensor) -> Scale:
    """The diffusion at the start for the cloud x (n, d), checked."""
    mine = x.clone()
    g = steps.diffusion(0, 0.0, mine)
    if not mine.equal(x):
        raise ValueError(
            "the diffusion writes into the cloud that it is given: let it return a new tensor"
        )
    m = steps.sde.noises
    if m is not None:
        if not isinstance(g, Tensor) or g.shape not in ((x.shape[1], m), (*x.shape, m)):
            got = tuple(g.shape) if isinstance(g, Tensor) else type(g).__name__
            raise ValueError(
                f"the diffusion returned {got} for a cloud {tuple(x.shape)}; with noises={m} it "
                f"is a matrix, {(x.shape[1], m)} or {(*x.shape, m)}"
            )
        return g
    if not isinstance(g, Tensor) or g.shape in ((), x.shape[1:], x.shape):
        return g
    cure = "for a matrix of noise, (d, m) or (n, d, m), say SDE(..., noises=m)"
    if g.shape == x.shape[:1]:
        cure = "give each particle its row, g[:, None].expand_as(x)"
    raise ValueError(
        f"the diffusion returned {tuple(g.shape)} for a cloud {tuple(x.shape)}; noise is (), (d,) "
        f"or (n, d): {cure}"
    )
