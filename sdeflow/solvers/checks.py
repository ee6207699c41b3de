"""Check the arguments of a solve: method, SDE, cloud, time grid and noise."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, shown
from sdeflow.sdes.sde import SDE, Scale, SteppedSDE, Times, check_sde

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
    if isinstance(g, Tensor) and g.ndim and n == d > 1 and steps.sde.noises is None:
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
    m = steps.sde.noises
    if m is not None:
        return check_matrix(g, x, m)
    if not isinstance(g, Tensor) or g.shape in ((), x.shape[1:], x.shape):
        return g
    cure = "for a matrix of noise, (d, m) or (n, d, m), say SDE(..., noises=m)"
    if g.shape == x.shape[:1]:
        cure = "give each particle its row, g[:, None].expand_as(x)"
    raise ValueError(
        f"the diffusion returned {tuple(g.shape)} for a cloud {tuple(x.shape)}, but noise is (), "
        f"(d,) or (n, d); {cure}"
    )


def check_matrix(g: Scale, x: Tensor, m: int) -> Tensor:
    """Return the diffusion g if it is a matrix of m noises for the cloud x (n, d)."""
    if not isinstance(g, Tensor) or g.shape not in ((x.shape[1], m), (*x.shape, m)):
        got = tuple(g.shape) if isinstance(g, Tensor) else type(g).__name__
        raise ValueError(
            f"the diffusion returned {got} for a cloud {tuple(x.shape)}; with noises={m} it "
            f"is a matrix, {(x.shape[1], m)} or {(*x.shape, m)}"
        )
    return g


REMEMBERING = ("reversible_heun", "implicit_adams")
"""Methods that reuse the drift of earlier steps."""


def check_sde_and_cloud(sde: SDE, x: Tensor, method: str) -> None:
    """Check the SDE and the cloud, and that the method is `euler` if the SDE has whole steps."""
    if isinstance(x, SDE):
        raise TypeError("the SDE comes first and then the cloud: solve(sde, x)")
    check_sde(sde)
    check_cloud(x)
    if sde.whole_step and method != "euler":
        raise ValueError(
            f"{sde.name} takes whole steps; use the method 'euler' with steps= or times=, not "
            f"{method!r}"
        )
    if sde.walls is not None:
        check_walls(sde, x, method)


def check_walls(sde: SDE, x: Tensor, method: str) -> None:
    """Check that the cloud starts within the walls, and that `euler` moves it."""
    assert sde.walls is not None
    if method != "euler":
        raise ValueError(f"between walls use SDESolver('euler'), not the method {method!r}")
    out = (sde.walls.clamped(x) != x).any(1)
    if out.any():
        raise ValueError(
            f"{int(out.sum())} of {len(x)} particles start outside the walls {sde.walls}, first "
            f"particle {int(out.nonzero()[0])}; move them inside"
        )


def check_grid(sde: SDE, steps: int, times: Times | None, method: str) -> Tensor:
    """The time grid of a run: that of the SDE, or `times` if they fit its span and direction."""
    grid = sde.times(steps) if times is None else sde.check_times(times)
    gaps = grid.diff()
    # On the step index a drift of an earlier step contains the dt of that step.
    rounding = 4 * torch.finfo(grid.dtype).eps * grid.abs().max()
    unequal = (gaps - gaps[0]).abs().max() > 1e-6 * gaps[0].abs() + rounding
    if method in REMEMBERING and unequal:
        raise ValueError(
            f"{method!r} reuses the drift of earlier steps, so its steps must be equal; give "
            "times=sf.processes.uniform_times(t_start, t_end, steps), or use another method"
        )
    return grid
