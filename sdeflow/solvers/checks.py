"""List the methods of an ODE, and check the name of a method and the noise of an SDE."""

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
"""ODE methods of fixed steps, and where in its step each stage lies; None: that varies."""

ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
"""ODE methods that choose their own steps."""


def check_method(method: object, kind: str, own: Sequence[str], others: Sequence[str]) -> None:
    """Check that a solver of this kind of equation, "SDE" or "ODE", has the method.

    Args:
        own, others: the methods of this solver, and of the solver of the other kind.
    """
    if method in own:
        return
    near = difflib.get_close_matches(str(method), own, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if method in others:
        hint = f"; {method!r} is a method of {'ODESolver' if kind == 'SDE' else 'SDESolver'}"
    raise ValueError(f"unknown {kind} method {shown(method)}; there are {', '.join(own)}{hint}")


def check_noise(steps: SteppedSDE, x: Tensor) -> Scale:
    """The diffusion at the start x (n, d), checked to be (), (d,) or (n, d) and not to change x.

    If n = d, it is evaluated again with one particle more, which distinguishes (n,) from (d,) and
    a matrix (d, d) from (n, d).
    """
    g, (n, d) = _asked(steps, x), x.shape
    if isinstance(g, Tensor) and g.ndim and n == d > 1:
        try:
            _asked(steps, torch.cat([x, x[-1:]]))
        except RuntimeError as error:
            raise ValueError(
                f"the diffusion returned {tuple(g.shape)} for {n} particles in {d} dimensions and "
                "fails for one particle more, so it is not known which axis is that of the "
                "particles; let it take n from x, or run one particle more"
            ) from error
    return g


def _asked(steps: SteppedSDE, x: Tensor) -> Scale:
    """The diffusion at the start for the cloud x (n, d), checked for this n alone."""
    mine = x.clone()
    g = steps.diffusion(0, 0.0, mine)
    if not mine.equal(x):
        raise ValueError(
            "the diffusion writes into the cloud that it is given; let it return a new tensor"
        )
    if not isinstance(g, Tensor) or g.shape in ((), x.shape[1:], x.shape):
        return g
    cure = "rotate the axes so that a matrix of noise becomes diagonal"
    if g.shape == x.shape[:1]:
        cure = "give each particle its row, g[:, None].expand_as(x)"
    raise ValueError(
        f"the diffusion returned {tuple(g.shape)} for a cloud {tuple(x.shape)}, but noise is (), "
        f"(d,) or (n, d); {cure}"
    )
