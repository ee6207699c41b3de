r"""Runs that carry a gradient: `solve(..., differentiable=True)`, or `"adjoint"`.

True keeps the graph of every step, and its gradient is that of the steps to rounding. "adjoint"
solves a second equation backwards in time, which needs the same memory for any number of steps;
its gradient is off by an error of the order of the step, except under `reversible_heun`, which
retraces its own steps.

Source: Li, Wong, Chen and Duvenaud 2020; Chen, Rubanova, Bettencourt and Duvenaud 2018.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdeflow._validation import SdeflowError, shown
from sdeflow.sdes.sde import SDE, SteppedSDE, check_drift, time_tensor
from sdeflow.solvers.adapters import _fraction
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.checks import check_matrix
from sdeflow.solvers.path import Path

Differentiable = bool | Literal["adjoint"]


def check_differentiable(sde: SDE, x: Tensor, differentiable: object) -> None:
    """Check that a run carries a gradient where one is asked for.

    Raises:
        TypeError: `differentiable` is no such word.
        ValueError: x asks for a gradient and the run does not carry it, or the SDE cannot.
    """
    if not isinstance(differentiable, bool) and differentiable != "adjoint":
        got = shown(differentiable)
        raise TypeError(f"differentiable must be True, False or 'adjoint', got {got}")
    if not differentiable:
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                "x asks for a gradient, which a run does not carry: say differentiable=True, or "
                "x.detach()"
            )
        return
    if sde.whole_step or sde.walls is not None:
        raise ValueError(
            f"a run of {sde.name} carries no gradient; take an SDE of drift and diffusion without "
            "walls, such as reverse(field)"
        )


class _Equation(nn.Module):
    """An SDE on the step index for torchsde, with its graph."""

    def __init__(
        self, sde: SDE, steps: SteppedSDE, bm: Brownian, sde_type: str, noise_type: str, m: int
    ) -> None:
        super().__init__()
        self.steps, self.bm, self.nfe = steps, bm, 0
        self.sde_type, self.noise_type = sde_type, noise_type
        self._m = m
        for name, part in (("drift", sde.drift), ("diffusion", sde.diffusion)):
            if isinstance(part, nn.Module):
                self.add_module(name, part)

    def f(self, u: Tensor, y: Tensor) -> Tensor:
        """The drift of the current step."""
        self.nfe += 1
        return self.steps.drift(self.bm.step, _fraction(u, self.bm.step), y)

    def g(self, u: Tensor, y: Tensor) -> Tensor:
        """The diffusion, (n, d), or the matrix (n, d, m)."""
        g = self.steps.diffusion(self.bm.step, _fraction(u, self.bm.step), y)
        if self.noise_type == "general":
            return check_matrix(g, y, self._m).to(y).expand(*y.shape, self._m)
        g = torch.zeros_like(y) if g is None else torch.as_tensor(g).to(y).expand(y.shape)
        return g if self.noise_type == "diagonal" else torch.diag_embed(g)


def sde_path(
    engine: Callable[..., Tensor], sde: SDE, x: Tensor, times: Tensor, saved: list[int],
    bm: Brownian, method: str, calculus: str, additive: bool,
    parameters: Iterable[Tensor] | None,
) -> Path:  # fmt: skip
    """The path of a differentiable run through torchsde.

    Args:
        engine: `sdeint` or `sdeint_adjoint`.
        additive: whether the noise does not depend on x.
        parameters: what the adjoint differentiates by, beside what drift and diffusion use at the
            start; None where the graph of the steps is kept.
    """
    began = time.perf_counter()
    kind_of_noise = "diagonal" if sde.noises is None else "general"
    if method == "srk" and additive and parameters is None:  # as in a run without a gradient
        kind_of_noise = "additive"
    steps_of = SteppedSDE(sde, times, x)
    equation = _Equation(sde, steps_of, bm, calculus, kind_of_noise, bm.shape[1])
    steps = sorted({0, *saved})
    ts = torch.tensor(steps, dtype=x.dtype, device=x.device)
    kind: dict[str, Any] = {"bm": bm, "method": method, "dt": 1.0}
    if parameters is not None:
        given, y = [*equation.parameters(), *parameters], x.detach()
        with torch.enable_grad():
            used = steps_of.drift(0, 0.0, y), steps_of.diffusion(0, 0.0, y)
        kind["adjoint_params"] = _distinct(*given, *_leaves(used, given))
    out = engine(equation, x, ts, **kind)
    states = out[[steps.index(k) for k in saved]]
    path = Path(times[saved], states, equation.nfe, time.perf_counter() - began)
    return _checked(replace(path, steps=saved[-1] - saved[0], began=float(times[0])))


def ode_path(
    engine: Callable[..., Tensor], sde: SDE, x: Tensor, ts: Tensor, grid: Tensor | None,
    options: dict[str, Any], parameters: Iterable[Tensor] | None,
) -> Path:  # fmt: skip
    """The path of a differentiable run through torchdiffeq, at the times ts (T,).

    Args:
        engine: `odeint` or `odeint_adjoint`.
        grid: (K + 1,) of a method of fixed steps.
        options: method and tolerances.
        parameters: as in `sde_path`.
    """
    began, nfe = time.perf_counter(), 0
    low, high = sorted((sde.t_start, sde.t_end))

    def velocity(t: Tensor, y: Tensor) -> Tensor:
        nonlocal nfe
        nfe += 1
        when = min(max(float(t.detach()), low), high)  # t is rounded to the type of the cloud
        f = sde.drift(y, time_tensor(when, y))
        check_drift(f, y)
        return f.to(y.dtype)

    if parameters is None:  # the steps are chosen; no gradient passes through their lengths
        options = {**options, "options": {"norm": lambda e: e.detach().square().mean().sqrt()}}
    if grid is not None:
        options = {**options, "options": {"grid_constructor": lambda f, y, t: grid.to(t)}}
    if parameters is not None:
        given = [
            *(sde.drift.parameters() if isinstance(sde.drift, nn.Module) else ()),
            *parameters,
        ]
        with torch.enable_grad():
            used = _leaves([sde.drift(x.detach(), time_tensor(float(ts[0]), x))], given)
        options = {**options, "adjoint_params": _distinct(*given, *used)}
        if grid is not None:
            rising = grid if grid[-1] > grid[0] else -grid  # torchdiffeq negates falling times
            options["adjoint_options"] = {"grid_constructor": partial(_backwards, rising)}
    out = engine(velocity, x, ts.to(x), **options)
    path = Path(ts, out, nfe, time.perf_counter() - began)
    return _checked(replace(path, began=float(ts[0])))


def _distinct(*parameters: Tensor) -> tuple[Tensor, ...]:
    """The tensors, each once."""
    return tuple({id(p): p for p in parameters}.values())


def _leaves(values: Iterable[object], given: Iterable[Tensor]) -> list[Tensor]:
    """The tensors that ask for a gradient and from which the values were computed.

    What lies behind those `given` is left out, since its gradient comes through them.
    """
    tensors = [v for v in values if isinstance(v, Tensor) and v.requires_grad]
    found = [v for v in tensors if v.is_leaf]
    nodes, known = [v.grad_fn for v in tensors], {p.grad_fn for p in given} | {None}
    while nodes:
        node = nodes.pop()
        if node in known:
            continue
        known.add(node)
        assert node is not None
        if hasattr(node, "variable"):
            found.append(node.variable)
        nodes += [before for before, _ in node.next_functions]
    return found


def _backwards(grid: Tensor, f: object, y: Tensor, t: Tensor) -> Tensor:
    """The steps of the grid from t[0] back to t[-1]."""
    back = grid.flip(0).to(t)
    start, stop = ((back - end).abs().argmin() for end in (t[0], t[-1]))
    return back[start : stop + 1]


def _checked(path: Path) -> Path:
    """The path, if it is finite and carries a gradient.

    Raises:
        SdeflowError: a state is NaN or infinite.
        ValueError: nothing in the run asks for a gradient.
    """
    if not torch.isfinite(path.x.detach()).all():
        raise SdeflowError("a state of the differentiable run is NaN or infinite; take more steps")
    if not path.x.requires_grad:
        raise ValueError(
            "nothing in this run asks for a gradient: neither the start nor a parameter of the "
            "drift or the diffusion; leave differentiable out"
        )
    return path
