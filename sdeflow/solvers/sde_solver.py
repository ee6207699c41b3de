"""Particles: the only door to torchsde and torchdiffeq.

Both engines are run on the step-number clock u = 0 ... K (see `sde.Steps`): any grid of times
becomes a uniform one with dt = 1, no rounding adds a step, every saved state is a state that was
computed, and what depends on time alone is in a table. What the engines are handed, beside the
law, is a Brownian motion that is a function (see `noise`), so a run has no hidden state. Adaptive
ODE methods alone run in process time; they are told where the law ends, because otherwise they
step past it and ask the field where it is not defined. Adaptive methods choose one step for the
whole cloud: change the cloud and every particle moves by an amount of the order of the tolerance.

See docs/theory.md, section 5: (5.1) the clock, (5.3) the orders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torchdiffeq
import torchsde
from torch import Tensor

from sdeflow import _validation as door
from sdeflow.processes import time_grids as clock
from sdeflow.processes.time_grids import Save
from sdeflow.random_streams import Brownian
from sdeflow.sdes.sde import SDE, Bridge, Scale
from sdeflow.solvers.adapters import Adaptive, Additive, Diagonal, Flow, Joint, Path, Watch

ITO = ("euler", "milstein", "srk")
STRATONOVICH = ("heun", "midpoint", "euler_heun", "reversible_heun")
FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4", "implicit_adams")
ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
REMEMBERING = ("reversible_heun", "implicit_adams")


@dataclass(frozen=True, eq=False)
class SDESolver:
    """Moves particles under an `SDE` through `torchsde.sdeint`.

    Args:
        method: torchsde's name, passed on untouched: euler, milstein, srk (Ito); heun, midpoint,
            euler_heun, reversible_heun (Stratonovich). Additive noise reads the same both ways.
        steps: K, on the law's own grid of times; ignored if `times` is given.
        times: (K + 1,) any strictly monotone grid within the law's span, in its direction.
        seed: of the Brownian path.
        fine: (M + 1,) the grid on which the Brownian path lives, of which `times` is a part:
            solvers with the same seed and `fine` walk the same path at different steps.
            Default: `times`.

    Raises (from `solve` too):
        ValueError, TypeError: at the door, in one sentence.
        SdeflowError: the drift went NaN or infinite; `.path` holds the last good state.
    """

    method: str = "euler"
    steps: int = 200
    times: Tensor | None = None
    seed: int = 0
    fine: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse what no run could use."""
        if self.method not in ITO + STRATONOVICH:
            raise ValueError(
                f"unknown SDE method {self.method!r}; there are {', '.join(ITO + STRATONOVICH)}"
            )
        door.whole(self.steps, "steps")
        door.whole(self.seed, "seed", 0)

    def solve(
        self, sde: SDE, x: Tensor, save: Save = 2, *, first: int = 0, progress: bool = False
    ) -> Path:
        """Run the cloud x (n, d) from the first time to the last.

        Args:
            sde: the law.
            x: (n, d) the cloud at the first time.
            save: how many states to keep, evenly over the steps (1: the final one alone, 2: start
                and end), or the times of the states wanted, which must be on the grid. The final
                state alone costs O(n) memory whatever the number of steps.
            first: the id of the first particle, for a cloud that is run in parts.
            progress: show a bar.
        """
        _check(sde, x)
        door.whole(first, "first", 0)
        times = _grid(sde, self.steps, self.times, self.method)
        kept = clock.kept(save, times)
        law = sde.steps(times, x)
        watch = Watch(law, x, progress, len(times) - 1)
        with torch.no_grad(), torch.random.fork_rng(devices=[]), watch.bar:
            g = law.diffusion(0, 0.0, x)
            _check_noise(g, x)
            additive = not isinstance(g, Tensor) or g.ndim < 2
            self._check_method(sde, additive)
            n, d = x.shape
            grid = None if self.fine is None else clock.nested(times, self.fine)
            levy = self.method == "srk"
            bm = Brownian(
                self.seed, n, d, x.dtype, x.device,
                first=first, grid=grid, fine=self.fine, levy=levy,
            )  # fmt: skip
            stratonovich = self.method in STRATONOVICH or (
                self.method == "milstein" and not additive and sde.calculus == "stratonovich"
            )
            joint = self.method in ("euler", "heun", "midpoint")
            apart = additive and self.method in ("milstein", "srk")
            engine = (Joint if joint else Additive if apart else Diagonal)(
                watch,
                bm,
                "stratonovich" if stratonovich else "ito",
                "additive" if apart else "diagonal",
            )
            ts = torch.tensor(sorted({0, *kept}), dtype=torch.float64, device=x.device)
            out = torchsde.sdeint(engine, x, ts, bm=bm, method=self.method, dt=1.0)
            engine.close()
        if not torch.isfinite(out[-1]).all():
            raise watch.failed("the final state is NaN or infinite")
        return watch.path(times[kept], out if len(out) == len(kept) else out[1:].clone())

    def _check_method(self, sde: SDE, additive: bool) -> None:
        if isinstance(sde, Bridge) and self.method != "euler":
            raise ValueError(
                f"a bridge is one whole step: use method 'euler', not {self.method!r}"
            )
        ito = self.method in ITO
        if not additive and self.method != "milstein" and ito != (sde.calculus == "ito"):
            fits = ITO if sde.calculus == "ito" else ("milstein", *STRATONOVICH)
            raise ValueError(
                f"{self.method!r} reads state-dependent noise the other way: this law is "
                f"{sde.calculus}; use one of {', '.join(fits)}"
            )


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
            door.whole(self.steps, "steps")
        door.whole(self.max_steps, "max_steps")
        door.positive(self.rtol, "rtol")
        door.positive(self.atol, "atol")

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
        if isinstance(sde, Bridge) and self.method != "euler":
            raise ValueError(
                f"a bridge is one whole step: use method 'euler', not {self.method!r}"
            )
        times = _grid(sde, self.steps or 1, self.times, self.method)
        kept = clock.kept(save, times)
        watch = Watch(sde.steps(times, x), x, progress, len(times) - 1)
        flow = Flow(watch)
        ts = torch.tensor(sorted({0, *kept}), dtype=torch.float64, device=x.device)
        grid = torch.arange(len(times), dtype=torch.float64, device=x.device)
        with watch.bar:
            out = torchdiffeq.odeint(
                flow,
                x,
                ts,
                method=self.method,
                options={"grid_constructor": lambda f, y, t: grid},
            )
        if not torch.isfinite(out[-1]).all():
            raise watch.failed("the final state is NaN or infinite")
        return watch.path(times[kept], out if len(out) == len(kept) else out[1:].clone())

    def _adaptive(self, sde: SDE, x: Tensor, save: Save, progress: bool) -> Path:
        if isinstance(sde, Bridge):
            raise ValueError(
                "a bridge is one whole step: use method 'euler' with steps= or times="
            )
        low, high = sorted((sde.t_start, sde.t_end))
        wanted = clock.asked(save)
        if isinstance(wanted, int):
            from_start = wanted > 1
            wanted = sde.times(max(wanted - 1, 1))
        else:
            ends = torch.tensor([sde.t_start, sde.t_end], dtype=torch.float64)
            # An end that was rounded to float32 is still that end.
            starts, stops = (torch.isclose(wanted, end, door.FLOAT32, 0.0) for end in ends)
            from_start = bool(starts.any())
            inner = wanted[~(starts | stops)]
            wanted = door.times(torch.cat([ends[:1], inner, ends[1:]]), low, high, "save")
        watch = Watch(sde.steps(wanted, x), x, progress, None)
        span = wanted.to(x)
        # Left to itself the engine tries its first step blindly and its last beyond the end.
        first = float((sde.times(100)[1] - sde.t_start).abs())
        options = {"first_step": first, "step_t": span[-1:], "max_num_steps": self.max_steps}
        flow = Adaptive(watch, sde)
        try:
            with watch.bar:
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
            raise watch.failed(
                f"{self.method} stopped ({str(error) or 'step size underflow'}); "
                "loosen rtol and atol, or use float64"
            ) from None
        if not torch.isfinite(out[-1]).all():
            raise watch.failed("the final state is NaN or infinite")
        # The engine always gives the start; here as elsewhere it is kept only if asked for.
        return watch.path(wanted, out) if from_start else watch.path(wanted[1:], out[1:].clone())


def _check(sde: SDE, x: Tensor) -> None:
    if not isinstance(sde, SDE):
        raise TypeError(
            f"sde must be a law of motion, got {type(sde).__name__}; pass sf.reverse(field) or "
            "sf.forward(process)"
        )
    door.cloud(x)


def _check_noise(g: Scale, x: Tensor) -> None:
    if isinstance(g, Tensor) and g.shape not in ((), x.shape[1:], x.shape):
        raise ValueError(
            f"the diffusion returned {tuple(g.shape)} for a cloud {tuple(x.shape)}; noise is (), "
            "(d,) or diagonal, (n, d): turn the axes so that a matrix of noise becomes diagonal"
        )


def _grid(sde: SDE, steps: int, times: Tensor | None, method: str) -> Tensor:
    """The grid of a run: the law's own, or the user's if it lies in the span and runs its way."""
    grid = sde.times(steps) if times is None else _given(sde, times)
    gaps = grid.diff()
    # On the step-number clock a value of an earlier step carries that step's dt.
    if method in REMEMBERING and (gaps - gaps[0]).abs().max() > 1e-6 * gaps[0].abs():
        raise ValueError(
            f"{method!r} reuses the drift of earlier steps, so its steps must be equal: give "
            "times=uniform_times(...), or use another method"
        )
    return grid


def _given(sde: SDE, times: Tensor) -> Tensor:
    low, high = sorted((sde.t_start, sde.t_end))
    grid = door.times(times, low, high)
    if (grid[-1] > grid[0]) != (sde.t_end > sde.t_start):
        raise ValueError(
            f"times run from {grid[0]:g} to {grid[-1]:g}, but this law runs from "
            f"{sde.t_start:g} to {sde.t_end:g}; flip them"
        )
    return grid


Solver = SDESolver | ODESolver
