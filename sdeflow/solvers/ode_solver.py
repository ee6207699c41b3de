r"""Move particles along the drift of an SDE without noise, through torchdiffeq."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchdiffeq
from torch import Tensor

from sdeflow._validation import FLOAT32_EPS, check_int, check_positive, check_times
from sdeflow.sdes.generative import AncestralSDE
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.adapters import Adaptive, Flow, Monitor, _check, _grid
from sdeflow.solvers.path import Path, Save, asked, kept

FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "implicit_adams")
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")


@dataclass(frozen=True, eq=False)
class ODESolver:
    """Moves particles under a law without noise through `torchdiffeq.odeint`.

    Args:
        method: torchdiffeq's name, passed on untouched: euler, midpoint, heun2, heun3, rk4,
            implicit_adams on a fixed grid; dopri5, dopri8, bosh3, fehlberg2,
            adaptive_heun adaptive.
        steps, times: the fixed grid, as for `SDESolver`; not for adaptive methods.
        rtol, atol: of adaptive methods. float32 cannot hold less than about 1e-6.
        max_steps: after which an adaptive run gives up.

    Raises (from `solve` too):
        ValueError, TypeError: as `SDESolver`; also for a law that has noise.
        SdeflowError: as `SDESolver`; also if an adaptive step underflows or max_steps are spent.
    """

    method: str = "dopri5"
    steps: int | None = None
    times: Tensor | None = None
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if self.method not in FIXED + ADAPTIVE:
            raise ValueError(
                f"unknown ODE method {self.method!r}; there are {', '.join(FIXED + ADAPTIVE)}"
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

    def solve(self, sde: SDE, x: Tensor, save: Save = 2, *, progress: bool = False) -> Path:
        """Run the cloud x (n, d); `save` as in `SDESolver.solve`, and any time if adaptive."""
        _check(sde, x)
        if sde.diffusion is not None:
            raise ValueError(
                "this law has noise: use SDESolver, or its flow (eta = 0) for an ODE solver"
            )
        with torch.no_grad():
            solve = self._fixed if self.method in FIXED else self._adaptive
            return solve(sde, x, save, progress)

    def _fixed(self, sde: SDE, x: Tensor, save: Save, progress: bool) -> Path:
        if isinstance(sde, AncestralSDE) and self.method != "euler":
            raise ValueError(
                f"a bridge is one whole step: use method 'euler', not {self.method!r}"
            )
        times = _grid(sde, self.steps or 1, self.times, self.method)
        saved = kept(save, times)
        monitor = Monitor(sde.steps(times, x), x, progress, len(times) - 1)
        flow = Flow(monitor)
        ts = torch.tensor(sorted({0, *saved}), dtype=torch.float64, device=x.device)
        grid = torch.arange(len(times), dtype=torch.float64, device=x.device)
        with monitor.bar:
            out = torchdiffeq.odeint(
                flow,
                x,
                ts,
                method=self.method,
                options={"grid_constructor": lambda f, y, t: grid},
            )
        if not torch.isfinite(out[-1]).all():
            raise monitor.failed("the final state is NaN or infinite")
        return monitor.path(times[saved], out if len(out) == len(saved) else out[1:].clone())

    def _adaptive(self, sde: SDE, x: Tensor, save: Save, progress: bool) -> Path:
        if isinstance(sde, AncestralSDE):
            raise ValueError(
                "a bridge is one whole step: use method 'euler' with steps= or times="
            )
        low, high = sorted((sde.t_start, sde.t_end))
        wanted = asked(save)
        if isinstance(wanted, int):
            from_start = wanted > 1
            wanted = sde.times(max(wanted - 1, 1))
        else:
            ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64)
            # An end that was rounded to float32 is still that end.
            starts, stops = (torch.isclose(wanted, end, FLOAT32_EPS, 0.0) for end in ends)
            from_start = bool(starts.any())
            inner = wanted[~(starts | stops)]
            wanted = check_times(torch.cat([ends[:1], inner, ends[1:]]), low, high, "save")
        monitor = Monitor(sde.steps(wanted, x), x, progress, None)
        span = wanted.to(x)
        # Left to itself the engine tries its first step blindly and its last beyond the end.
        first = float((sde.times(100)[1] - sde.t_start).abs())
        options = {"first_step": first, "step_t": span[-1:], "max_num_steps": self.max_steps}
        flow = Adaptive(monitor, sde)
        try:
            with monitor.bar:
                out = torchdiffeq.odeint(
                    flow,
                    x,
                    span,
                    rtol=self.rtol,
                    atol=self.atol,
                    method=self.method,
                    options=options,
                )
        except AssertionError as error:  # torchdiffeq's way to say so
            raise monitor.failed(
                f"{self.method} stopped ({str(error) or 'step size underflow'}); "
                "loosen rtol and atol, or use float64"
            ) from None
        if not torch.isfinite(out[-1]).all():
            raise monitor.failed("the final state is NaN or infinite")
        # The engine always gives the start; here as elsewhere it is kept only if asked for.
        return (
            monitor.path(wanted, out) if from_start else monitor.path(wanted[1:], out[1:].clone())
        )
