r"""Move particles under an SDE without noise, with the methods of torchdiffeq.

Methods of fixed steps run on the step index, as in `sde_solver`. Adaptive methods run in process
time. They choose one step for the whole cloud, so each particle depends on the others by an amount
of the order of the tolerance.

See docs/theory.md, section 5: (5.1) the step index, (5.3) the orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache

import torch
import torchdiffeq
from torch import Tensor

from sdeflow._validation import (
    SdeflowError,
    check_int,
    check_positive,
    check_times,
)
from sdeflow.sdes.sde import SDE, Times
from sdeflow.solvers.adapters import (
    StepIndex,
    TorchdiffeqFixed,
)
from sdeflow.solvers.adaptive import Stopped, TorchdiffeqAdaptive, requested_times
from sdeflow.solvers.callback import Callback, Halted, called, check_callback, status
from sdeflow.solvers.checks import ADAPTIVE, FIXED, check_grid, check_method, check_sde_and_cloud
from sdeflow.solvers.events import Event, EventFinder, check_event, check_no_event, held
from sdeflow.solvers.gradients import Differentiable, check_differentiable, ode_path
from sdeflow.solvers.legs import check_held, end_of, without_noise
from sdeflow.solvers.monitor import Monitor, check_width, finite, in_words
from sdeflow.solvers.path import Path, Save, saved_indices
from sdeflow.solvers.sde_solver import METHODS
from sdeflow.solvers.start import check_start


@dataclass(frozen=True, eq=False, repr=False)
class ODESolver:
    """Solves dx = drift(x, t) dt for a cloud of particles, by a method of torchdiffeq.

        fixed steps      order    calls      adaptive steps   order    calls
        euler            1        1          adaptive_heun    2        1
        midpoint         2        2          fehlberg2        2        2
        heun2            2        2          bosh3            3        3
        heun3            3        3          dopri5           5        6
        rk4              4        4          dopri8           8        13
        implicit_adams   4 to 12  2 to 5

    Calls are evaluations of the drift (of the field) in a step, of an adaptive method also in a
    step that is rejected. dopri5 is for an answer to a tolerance; rk4 or heun2 for a given number
    of calls; euler, the only method for `ancestral` and `multistep`, for few calls.

    Args:
        method: one of these names.
        steps, times: the grid of fixed steps, as for `SDESolver`.
        rtol: relative tolerance of adaptive methods; in float32 at least about 1e-6.
        atol: absolute tolerance, in the unit of x: in a step an entry of x may be wrong by
            atol + rtol |x|. By default it may be wrong by rtol (s + |x - m|), with m and s the
            mean and the standard deviation of the cloud along each axis (see `Tolerance`).
        max_steps: the most steps of an adaptive run, accepted or not.
        event: (x, t) -> (n,), or () for the whole cloud, t () in float64; for adaptive methods. A
            particle stops at its first zero of it, and `Path.events` holds the time and the place.
            A zero at the very start does not count; a run that continues a `Path` keeps its
            events. The cloud shares its steps; a step in which an event changes its sign is taken
            again in eight, and the zero is found on the polynomial through these. So its time is
            as exact as the run: 1e-8 needs an rtol of about 1e-10, and an event that is smooth
            near its zero. Two zeros within one step are missed. Particles that interact need an
            event of the whole cloud.

    Raises (`solve`):
        SdeflowError: a state is not finite, an adaptive step becomes too small, max_steps is
            exceeded, or a field's cloud becomes far too wide; `.path` holds what was reached.
    """

    method: str = "dopri5"
    steps: int | None = None
    times: Times | None = None
    rtol: float = 1e-5
    atol: float | None = None
    max_steps: int = 10_000
    event: Event | None = None

    def __post_init__(self) -> None:
        check_method(self.method, "ODE", (*FIXED, *ADAPTIVE), tuple(METHODS))
        gridded = self.steps is not None or self.times is not None
        if self.method in FIXED and not gridded:
            raise ValueError(f"method {self.method!r} has fixed steps; give steps= or times=")
        if self.method in ADAPTIVE and gridded:
            raise ValueError(
                f"method {self.method!r} chooses its own steps; give rtol= and atol= instead"
            )
        if self.steps is not None:
            check_int(self.steps, "steps")
        if self.times is not None:
            object.__setattr__(self, "times", check_times(self.times, name="times"))
        check_int(self.max_steps, "max_steps")
        check_positive(self.rtol, "rtol")
        if self.atol is not None:
            check_positive(self.atol, "atol")
        check_event(self.event, self.method)

    def __repr__(self) -> str:
        if self.method in ADAPTIVE:
            atol = "the cloud's width times rtol" if self.atol is None else f"{self.atol:g}"
            return f"torchdiffeq {self.method}, rtol {self.rtol:g}, atol {atol}"
        steps = self.steps if self.times is None else len(self.times) - 1
        return f"torchdiffeq {self.method}, {steps} steps"

    def solve(
        self,
        sde: SDE,
        x: Tensor | Path,
        save: Save = 2,
        *,
        progress: bool = False,
        callback: Callback | None = None,
        differentiable: Differentiable = False,
        parameters: Iterable[Tensor] = (),
    ) -> Path:
        """Move the cloud x (n, d), or the end of a path, from t_start to t_end of the SDE.

        Arguments are those of `SDESolver.solve`; adaptive methods save at any times.
        """
        before, x = x, end_of(x)
        self._check(sde, x, differentiable, callback)
        check_held(before, sde, self.event)
        if differentiable:
            path = self._with_graph(sde, x, save, differentiable, parameters)
            return without_noise(before, path)
        if self.method in ADAPTIVE:
            return without_noise(before, self._adaptive(sde, x, save, progress, callback, before))
        times = check_grid(sde, self.steps or 1, self.times, self.method)
        check_start(sde, x, times)
        last, stages, number = len(times) - 1, FIXED[self.method], torch.finfo(x.dtype)
        if stages is None:
            self._check_type(x, last)
        saved = saved_indices(save, times)
        monitor = Monitor(sde.stepped(times, x), x, progress, last, saved, callback)
        # torchdiffeq converts times to the type of the cloud at every step, unless they have it.
        kind = x.dtype if last < 1 / number.eps else torch.float64
        ts = torch.tensor([0, last], dtype=kind, device=x.device)
        grid: object = torch.arange(last + 1, dtype=kind, device=x.device)
        if stages is not None:
            grid = StepIndex.grid(last, [0, last])
        with suppress(Halted), monitor:
            out = torchdiffeq.odeint(
                TorchdiffeqFixed(monitor, stages), monitor.start, ts, method=self.method,
                rtol=1e-7, atol=max(1e-9 * _size(monitor.start), number.tiny),  # of implicit_adams
                options={"grid_constructor": lambda f, y, t: grid},
            )  # fmt: skip
            return without_noise(before, monitor.finish(out[-1]))
        return without_noise(before, monitor.halted())

    def _check(
        self, sde: SDE, x: Tensor, differentiable: Differentiable, callback: Callback | None
    ) -> None:
        check_sde_and_cloud(sde, x, self.method)
        if sde.diffusion is not None:
            raise ValueError(
                "this SDE has noise; use SDESolver, or the probability flow (eta = 0)"
            )
        check_differentiable(sde, x, differentiable)
        check_callback(callback, self.method, differentiable)
        if differentiable:
            check_no_event(self.event)

    def _check_type(self, x: Tensor, last: int) -> None:
        number = torch.finfo(x.dtype)
        if number.bits < 32 or 24 * last > 1 / number.eps:
            raise ValueError(
                f"{self.method!r} computes its times in the type of the cloud, and {x.dtype} is "
                f"too narrow for {last} steps; use x.double()"
            )

    def _with_graph(
        self, sde: SDE, x: Tensor, save: Save, differentiable: Differentiable,
        parameters: Iterable[Tensor],
    ) -> Path:  # fmt: skip
        grid, atol = None, _size(x.detach()) * self.rtol if self.atol is None else self.atol
        options = {"method": self.method, "rtol": self.rtol, "atol": atol}
        if self.method in ADAPTIVE:
            wanted, from_start = requested_times(sde, save)
        else:
            grid = check_grid(sde, self.steps or 1, self.times, self.method)
            saved = saved_indices(save, grid)
            wanted, from_start = grid[sorted({0, *saved})], saved[0] == 0
        adjoint = differentiable == "adjoint"
        engine = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint
        path = ode_path(engine, sde, x, wanted, grid, options, parameters if adjoint else None)
        return path if from_start else replace(path, t=path.t[1:], x=path.x[1:])

    def _adaptive(
        self, sde: SDE, x: Tensor, save: Save, progress: bool, callback: Callback | None,
        before: Tensor | Path,
    ) -> Path:  # fmt: skip
        wanted, from_start = requested_times(sde, save)
        check_start(sde, x, wanted, stacklevel=4)
        monitor = Monitor(sde.stepped(wanted, x), x, progress, None, (), callback)
        first, events = float((sde.times(100)[1] - sde.t_start).abs()), None
        try:
            with monitor:
                if self.event is not None:
                    engine, origin = torchdiffeq.odeint, (monitor.start, sde.t_start)
                    known = before.events if isinstance(before, Path) else None
                    events = EventFinder(self.event, sde, self.method, engine, *origin, known)
                out, begun = self._integrate(monitor, sde, monitor.start, wanted, first, events)
        except Stopped as stop:
            error = self._failed(monitor, sde, stop)
            path = held(events, monitor.reached(stop.why))
            if stop.by_callback is None:
                error.path = path
                raise error from None
            how = status(stop.by_callback, float(path.t[-1]))
            return replace(path, status=how, steps=stop.by_callback, began=sde.t_start)
        if not finite(out[-1]):
            raise monitor.failed(in_words("the final state", out[-1], float(wanted[-1])))
        # torchdiffeq always returns the start; it is kept only if requested.
        path = (
            monitor.path(wanted, out) if from_start else monitor.path(wanted[1:], out[1:].clone())
        )
        start = float(path.t[0])
        later = [t for t in begun if sde.direction * (t - start) > 0]
        path = replace(path, steps=len(later) + (len(path.t) > 1))
        path = held(events, path)
        check_width(monitor.steps, monitor.start, path)
        if callback is not None:
            called(callback, len(begun), float(path.t[-1]), path.x[-1])
        return replace(path, began=sde.t_start)

    def _integrate(
        self, monitor: Monitor, sde: SDE, x: Tensor, times: Tensor, first: float,
        events: EventFinder | None = None,
    ) -> tuple[Tensor, list[float]]:  # fmt: skip
        """The states (T, n, d) at times (T,), and the times at which the steps began.

        The run starts from x (n, d) with a step of length `first`; `Stopped` is raised if it
        cannot continue.
        """
        own = None if self.atol is not None else self.rtol
        adapter = TorchdiffeqAdaptive(
            monitor, sde, x, times, _stages(self.method), own, self.max_steps, events
        )
        mps = x.device.type == "mps"  # it holds no float64
        span = times.to(x.device, torch.float32 if mps else torch.float64)
        # By default torchdiffeq guesses the first step, and evaluates the drift beyond the end.
        options = {
            "first_step": first, "step_t": span[-1:], "norm": adapter.norm, "dtype": span.dtype,
        }  # fmt: skip
        try:
            out = torchdiffeq.odeint(
                adapter, x, span, rtol=self.rtol if own is None else 0.0,
                atol=1.0 if self.atol is None else self.atol, method=self.method, options=options,
            )  # fmt: skip
        except AssertionError as error:
            if str(error).startswith("underflow"):  # torchdiffeq's report of too small a step
                raise adapter.underflow() from None
            raise
        adapter.ended(float(times[-1]), out[-1])
        if events is not None:
            monitor.nfe = events.nfe
        return out, adapter.begun

    def _failed(self, monitor: Monitor, sde: SDE, stop: Stopped) -> SdeflowError:
        """The error to raise, with the requested states at times that the run had passed."""
        last = monitor.last
        with suppress(Stopped), monitor:
            for t, begin, x in stop.passed:
                span = torch.tensor([begin, t], dtype=torch.float64)
                out, _ = self._integrate(monitor, sde, x, span, abs(t - begin))
                monitor.kept.append((t, out[-1]))
        monitor.last = last
        return monitor.failed(f"{self.method} stopped: {stop.why}")


@cache
def _stages(method: str) -> tuple[float, ...]:
    """Where in its step each stage of an adaptive method of torchdiffeq lies."""
    asked: list[float] = []

    def still(t: Tensor, y: Tensor) -> Tensor:
        asked.append(float(t))
        return torch.zeros_like(y)

    span = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torchdiffeq.odeint(still, span[:1], span, method=method, options={"first_step": 1.0})
    return tuple(asked[1:])


def _size(x: Tensor) -> float:
    """The standard deviation of a cloud, or for a single point its largest coordinate."""
    return float(x.std(correction=0)) or float(x.abs().max())
