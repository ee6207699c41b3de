r"""Move particles under an SDE without noise, with the methods of torchdiffeq.

Methods of fixed steps run on the step index, as in `sde_solver`. Adaptive methods run in process
time; they are given the end of the span, because otherwise they evaluate the field beyond it. They
choose one step for the whole cloud, so each particle depends on the others by an amount of the
order of the tolerance.

See docs/theory.md, section 5: (5.1) the step index, (5.3) the orders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchdiffeq
from torch import Tensor

from sdeflow._validation import FLOAT32_EPS, check_int, check_positive, check_times
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.adapters import (
    StepIndex,
    TorchdiffeqAdaptive,
    TorchdiffeqFixed,
    check_grid,
    check_sde_and_cloud,
)
from sdeflow.solvers.monitor import Monitor
from sdeflow.solvers.path import Path, Save, requested, saved_indices

FIXED: dict[str, tuple[float, ...] | None] = {
    "euler": (0.0,),
    "midpoint": (0.0, 1 / 2),
    "heun2": (0.0, 1.0),
    "heun3": (0.0, 1 / 3, 2 / 3),
    "rk4": (0.0, 1 / 3, 2 / 3, 1.0),
    "implicit_adams": None,
}
"""Methods of fixed steps: where in its step each stage asks for the drift; None: it varies."""
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")


@dataclass(frozen=True, eq=False, repr=False)
class ODESolver:
    """Solves dx = drift(x, t) dt for a cloud of particles, through `torchdiffeq.odeint`.

    Args:
        method: torchdiffeq's name: euler, midpoint, heun2, heun3, rk4 and implicit_adams have
            fixed steps; dopri5, dopri8, bosh3, fehlberg2 and adaptive_heun are adaptive.
        steps, times: the fixed grid, as for `SDESolver`; not for adaptive methods.
        rtol, atol: tolerances of adaptive methods; in float32 at least about 1e-6.
        max_steps: the most steps of an adaptive run.

    Raises (from `solve` too):
        ValueError, TypeError: as `SDESolver`; also for an SDE that has noise.
        SdeflowError: a state is not finite, an adaptive step becomes too small, or max_steps is
            exceeded; `.path` holds the last finite state.
    """

    method: str = "dopri5"
    steps: int | None = None
    times: Tensor | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.method not in (*FIXED, *ADAPTIVE):
            raise ValueError(
                f"unknown ODE method {self.method!r}; there are {', '.join((*FIXED, *ADAPTIVE))}"
            )
        gridded = self.steps is not None or self.times is not None
        if self.method in FIXED and not gridded:
            raise ValueError(f"method {self.method!r} has fixed steps: give steps= or times=")
        if self.method in ADAPTIVE and gridded:
            raise ValueError(f"method {self.method!r} chooses its own steps: give rtol=, atol=")
        if self.steps is not None:
            check_int(self.steps, "steps")
        check_int(self.max_steps, "max_steps")
        check_positive(self.rtol, "rtol")
        check_positive(self.atol, "atol")

    def __repr__(self) -> str:
        """In words."""
        if self.method in ADAPTIVE:
            return f"torchdiffeq {self.method}, rtol {self.rtol:g}, atol {self.atol:g}"
        steps = self.steps if self.times is None else len(self.times) - 1
        return f"torchdiffeq {self.method}, {steps} steps"

    def solve(self, sde: SDE, x: Tensor, save: Save = 2, *, progress: bool = False) -> Path:
        """Run the cloud x (n, d) from t_start to t_end of the SDE.

        `save` and `progress` as in `SDESolver.solve`; adaptive methods save at any times.
        """
        check_sde_and_cloud(sde, x, self.method)
        if sde.diffusion is not None:
            raise ValueError(
                "this SDE has noise: use SDESolver, or the probability flow (eta = 0)"
            )
        if self.method in ADAPTIVE:
            return self._adaptive(sde, x, save, progress)
        if FIXED[self.method] is None and torch.finfo(x.dtype).bits < 32:
            raise ValueError(
                f"{self.method!r} reads its times in the type of the cloud, and {x.dtype} cannot "
                "hold them; use x.float()"
            )
        times = check_grid(sde, self.steps or 1, self.times, self.method)
        saved = saved_indices(save, times)
        monitor = Monitor(sde.stepped(times, x), x, progress, len(times) - 1)
        adapter = TorchdiffeqFixed(monitor, FIXED[self.method])
        wanted = sorted({0, *saved})
        # torchdiffeq converts times to the type of the cloud at every step, unless they have it.
        kind = x.dtype if len(times) < 1 / torch.finfo(x.dtype).eps else torch.float64
        ts = torch.tensor(wanted, dtype=kind, device=x.device)
        grid: object = torch.arange(len(times), dtype=kind, device=x.device)
        if FIXED[self.method] is not None:
            grid = StepIndex.grid(len(times) - 1, [*wanted, len(times) - 1])
        options = {"grid_constructor": lambda f, y, t: grid}
        with torch.no_grad(), monitor:
            out = torchdiffeq.odeint(adapter, x, ts, method=self.method, options=options)
        monitor.finish(out[-1])
        return monitor.path(times[saved], out if len(out) == len(saved) else out[1:].clone())

    def _adaptive(self, sde: SDE, x: Tensor, save: Save, progress: bool) -> Path:
        wanted, from_start = _wanted(sde, save)
        monitor = Monitor(sde.stepped(wanted, x), x, progress, None)
        span = wanted.to(x)
        # By default torchdiffeq guesses the first step and takes the last one beyond the end.
        first = float((sde.times(100)[1] - sde.t_start).abs())
        options = {"first_step": first, "step_t": span[-1:], "max_num_steps": self.max_steps}
        try:
            with torch.no_grad(), monitor:
                out = torchdiffeq.odeint(
                    TorchdiffeqAdaptive(monitor, sde),
                    x,
                    span,
                    rtol=self.rtol,
                    atol=self.atol,
                    method=self.method,
                    options=options,
                )
        except AssertionError as error:  # so torchdiffeq reports a failure
            raise monitor.failed(
                f"{self.method} stopped ({str(error) or 'step size underflow'}); "
                "loosen rtol and atol, or use float64",
            ) from None
        monitor.finish(out[-1])
        # torchdiffeq always returns the start; it is kept only if requested.
        return (
            monitor.path(wanted, out) if from_start else monitor.path(wanted[1:], out[1:].clone())
        )


def _wanted(sde: SDE, save: Save) -> tuple[Tensor, bool]:
    """Times (T,) from the start to the end of the span, and whether the start is to be saved."""
    asked = requested(save)
    if isinstance(asked, int):
        return sde.times(max(asked - 1, 1)), asked > 1
    low, high = sorted((sde.t_start, sde.t_end))
    ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64)
    # An end may have been rounded to float32.
    starts, stops = (torch.isclose(asked, end, FLOAT32_EPS, 0.0) for end in ends)
    inner = asked[~(starts | stops)]
    wanted = check_times(torch.cat([ends[:1], inner, ends[1:]]), low, high, "save")
    return wanted, bool(starts.any())
