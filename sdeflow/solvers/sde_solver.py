r"""Move particles under an SDE, with the methods of torchsde.

torchsde runs on the step index u = 0, ..., K (see `SDE.stepped`), on which every time grid is
uniform with dt = 1. So rounding never adds a step, and no saved state is interpolated. The
Brownian motion is a function of seed, particle and step (see `brownian`), so equal arguments give
equal results.

See docs/theory.md, section 5: (5.1) the step index, (5.3) the orders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torchsde
from torch import Tensor

from sdeflow._validation import check_int, check_seed, check_times
from sdeflow.sdes.sde import SDE, SteppedSDE, Times
from sdeflow.solvers import legs
from sdeflow.solvers.adapters import (
    StepIndices,
    TorchsdeAdditive,
    TorchsdeDiagonal,
    TorchsdeJoint,
    TorchsdeReversible,
    _Torchsde,
)
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.callback import Callback, Halted, check_callback
from sdeflow.solvers.checks import (
    ADAPTIVE,
    FIXED,
    check_grid,
    check_method,
    check_noise,
    check_sde_and_cloud,
)
from sdeflow.solvers.device_normals import NoisePlace, check_noise_place
from sdeflow.solvers.gradients import Differentiable, check_differentiable, sde_path
from sdeflow.solvers.legs import Leg
from sdeflow.solvers.matrix_noise import TorchsdeMatrix
from sdeflow.solvers.monitor import Monitor
from sdeflow.solvers.path import Path, Save, saved_indices
from sdeflow.solvers.start import check_start
from sdeflow.solvers.walls import TorchsdeWalled


class Method(NamedTuple):
    """Calculus, cost and order of a method of torchsde, and what it needs.

    Attributes:
        calculus: of noise that depends on x, "ito" or "stratonovich"; None: either.
        calls: evaluations of the drift in a step, with additive noise and with noise that depends
            on x.
        order: strong order, for the same two kinds of noise.
        joint: whether drift and noise are evaluated in one call.
        area: whether it needs the space-time Levy area.
    """

    calculus: str | None
    calls: tuple[int, int]
    order: tuple[float, float]
    joint: bool = False
    area: bool = False


METHODS = {
    "euler": Method("ito", (1, 1), (1.0, 0.5), joint=True),
    "milstein": Method(None, (1, 1), (1.0, 1.0)),
    "euler_heun": Method("stratonovich", (1, 1), (1.0, 1.0)),
    "heun": Method("stratonovich", (2, 2), (1.0, 1.0), joint=True),
    "midpoint": Method("stratonovich", (2, 2), (1.0, 1.0), joint=True),
    "srk": Method("ito", (2, 4), (1.5, 1.5), area=True),
    "reversible_heun": Method("stratonovich", (1, 1), (1.0, 0.5)),
}


MATRIX = {name: METHODS[name] for name in ("euler", "heun", "midpoint")} | {
    "log_ode": Method("stratonovich", (2, 2), (1.0, 1.0))
}
"""Methods for a diffusion that is a matrix. All but `log_ode` are then of strong order 1/2, unless
the noises commute."""

KNOWN = METHODS | MATRIX


@dataclass(frozen=True, eq=False, repr=False)
class SDESolver:
    """Solves dx = drift(x, t) dt + diffusion(x, t) dW for a cloud, by a method of torchsde.

        method            calls    strong order       weak order   calculus
                                   additive   other   additive
        euler             1        1          1/2     1            Ito
        milstein          1        1          1       1            Ito, Stratonovich
        euler_heun        1        1          1       1            Stratonovich
        heun              2        1          1       2            Stratonovich
        midpoint          2        1          1       2            Stratonovich
        srk               2 or 4   3/2        3/2     3/2          Ito
        reversible_heun   1        1          1/2                  Stratonovich

    Calls are evaluations of the drift (of the field) in a step; srk makes 4 if the noise depends
    on x. The strong order is that of the error of each path, the weak order that of averages over
    the cloud. Additive noise, such as that of `reverse`, is the same in both calculi, so any
    method fits. `ancestral` and `multistep` need euler. For other SDEs take heun, or srk for Ito
    noise that depends on x. reversible_heun does not damp: it is for short runs.

    Args:
        method: one of these names.
        steps: K, on the time grid of the SDE; ignored if `times` is given.
        times: (K + 1,) any strictly monotone grid within the span of the SDE, in its direction.
        seed: of the Brownian path. By default it is made from the coordinates of the first
            particle: runs from equal starts have equal noise, whatever the SDE, and a run that
            starts where another ended has other noise.
        fine: (M + 1,) the grid of the Brownian path, which contains `times`: solvers with the same
            seed and `fine` follow the same path with different steps. By default `times`.
        noise: where the normal numbers are drawn. "cpu": by the CPU, the same bits for a cloud on
            any device. "device": where the cloud lies; they are other numbers than those of
            "cpu", the same on each device up to rounding. It saves the copies to a GPU.

    Raises (`solve`):
        SdeflowError: a state is NaN or infinite, or a field's cloud becomes far too wide; `.path`
            holds the start, the requested states that were reached and the last finite one.

    Source: docs/theory.md, (5.3), for the strong orders; docs/benchmarks.md for the weak ones.
    """

    method: str = "euler"
    steps: int = 200
    times: Times | None = None
    seed: int | None = None
    fine: Times | None = None
    noise: NoisePlace = "cpu"

    def __post_init__(self) -> None:
        check_method(self.method, "SDE", tuple(KNOWN), (*FIXED, *ADAPTIVE))
        check_int(self.steps, "steps")
        for name in ("times", "fine"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_times(getattr(self, name), name=name))
        if self.seed is not None:
            object.__setattr__(self, "seed", check_seed(self.seed))  # also one of numpy
        check_noise_place(self.noise)

    def __repr__(self) -> str:
        steps = self.steps if self.times is None else len(self.times) - 1
        seed = "seed of the start" if self.seed is None else f"seed {self.seed}"
        where = ", noise drawn where the cloud lies" if self.noise == "device" else ""
        return f"torchsde {self.method}, {steps} steps, {seed}{where}"

    def solve(
        self,
        sde: SDE,
        x: Tensor | Path,
        save: Save = 2,
        *,
        first: int = 0,
        progress: bool = False,
        callback: Callback | None = None,
        differentiable: Differentiable = False,
        parameters: Iterable[Tensor] = (),
    ) -> Path:
        """Move the cloud x (n, d) from the first time to the last.

        Args:
            sde: the SDE.
            x: (n, d) the cloud at the first time, or the `Path` of a run that this one continues.
            save: the number of states to save, spread evenly over the steps (1: the final one, 2:
                start and end), or their times, which must be on the grid.
            first: index of the first particle, for a cloud that is run in parts with one seed.
            progress: show a progress bar.
            callback: (k, t, x) called after step k = 1, 2, ... with a copy of the cloud x (n, d)
                at time t; if it returns True the path ends there, and its status says so.
            differentiable: True: the path carries the gradient of its steps; "adjoint": that of
                the equation solved backwards, whose memory does not grow with the steps. By
                default a path carries none.
            parameters: tensors that "adjoint" differentiates by, beside those that the drift and
                the diffusion use at the start, which are found.

        Warns:
            UserWarning: x is the end of a run with the same noise, or a start at which no sample
                of noised data would lie.
        """
        before, x = x if isinstance(x, Path) else None, legs.end_of(x)
        self._check(before, sde, x, differentiable, callback)
        times = check_grid(sde, self.steps, self.times, self.method)
        first = check_int(first, "first", 0)
        check_start(sde, x, times)
        noise = legs.continued(before, self.seed, times) or legs.started(
            x, self.seed, times, first
        )
        saved = saved_indices(save, times)
        if differentiable:
            path = self._with_graph(sde, x, times, saved, noise, first, differentiable, parameters)
            return replace(path, seed=noise.seed, leg=noise.leg)
        monitor = Monitor(sde.stepped(times, x), x, progress, len(times) - 1, saved, callback)
        with monitor:
            bm, adapter = self._adapted(sde, monitor, times, noise, first, before)
            way: dict[str, Any] = {"bm": bm, "method": self.method, "dt": 1.0}
            ts = self._step_indices([0, len(times) - 1])
            try:
                path = monitor.finish(torchsde.sdeint(adapter, monitor.start, ts, **way)[-1])
            except Halted:
                path = monitor.halted()
            adapter.close()
        path = self._kept_inside(sde, adapter, path)
        legs.ended(noise, times, x, path)
        return replace(path, seed=noise.seed, leg=noise.leg)

    def _check(
        self, before: Path | None, sde: SDE, x: Tensor, differentiable: Differentiable,
        callback: Callback | None,
    ) -> None:  # fmt: skip
        check_sde_and_cloud(sde, x, self.method)
        if before is not None:
            legs.check_held(before, sde)
        self._check_matrix(sde)
        check_differentiable(sde, x, differentiable)
        check_callback(callback, self.method, differentiable)

    def _adapted(
        self, sde: SDE, monitor: Monitor, times: Tensor, noise: Leg, first: int,
        before: Path | None,
    ) -> tuple[Brownian, _Torchsde]:  # fmt: skip
        bm = self._brownian(noise, times, monitor.start, first, monitor.steps)
        g = check_noise(monitor.steps, monitor.start)
        additive = not isinstance(g, Tensor) or g.ndim < 2 + (sde.noises is not None)
        return bm, self._adapter(sde, monitor, bm, additive, before)

    def _with_graph(
        self, sde: SDE, x: Tensor, times: Tensor, saved: list[int], noise: Leg, first: int,
        differentiable: Differentiable, parameters: Iterable[Tensor],
    ) -> Path:  # fmt: skip
        steps = SteppedSDE(sde, times, x)
        g = check_noise(steps, x.detach())
        additive = not isinstance(g, Tensor) or g.ndim < 2 + (sde.noises is not None)
        bm = self._brownian(noise, times, x, first, steps)
        adjoint, calculus = differentiable == "adjoint", self._calculus(sde, additive)
        engine = torchsde.sdeint_adjoint if adjoint else torchsde.sdeint
        of = parameters if adjoint else None
        return sde_path(engine, sde, x, times, saved, bm, self.method, calculus, additive, of)

    def _check_matrix(self, sde: SDE) -> None:
        if sde.noises is not None and self.method not in MATRIX:
            raise ValueError(
                f"{self.method!r} does not take a diffusion matrix; use one of {', '.join(MATRIX)}"
            )
        if sde.noises is None and self.method == "log_ode":
            raise ValueError("'log_ode' is for a diffusion matrix, SDE(..., noises=m); use 'heun'")

    @staticmethod
    def _kept_inside(sde: SDE, adapter: object, path: Path) -> Path:
        """The path between the walls, beyond which rounding may have carried a state."""
        if sde.walls is None or not isinstance(adapter, TorchsdeWalled):
            return path
        return replace(path, x=sde.walls.clamped(path.x), absorbed=adapter.absorbed)

    def _step_indices(self, steps: list[int]) -> Tensor:
        if KNOWN[self.method].joint:
            return StepIndices.of(steps)
        return torch.tensor(steps, dtype=torch.float64)  # `srk` takes roots of its times

    def _brownian(
        self, noise: Leg, times: Tensor, x: Tensor, first: int, steps: SteppedSDE
    ) -> Brownian:
        # With a single stage there is one noise per step, so that many are scaled at once.
        sde, n = steps.sde, len(x)
        walls, m = sde.walls is not None, sde.noises or x.shape[1]
        plain = self.method == "euler" and not walls and sde.noises is None
        scales = steps.noise_scales() if plain else None
        return Brownian(
            noise.seed, n, m, x.dtype, x.device, first=first, times=times, fine=self.fine,
            leg=noise.leg, levy=KNOWN[self.method].area, scales=scales, walls=walls,
            area=self.method == "log_ode", noise=self.noise,
        )  # fmt: skip

    def _calculus(self, sde: SDE, additive: bool) -> str:
        """The calculus of the run, which does not matter where the noise is additive."""
        calculus = KNOWN[self.method].calculus or ("ito" if additive else sde.calculus)
        if not additive and calculus != sde.calculus and sde.walls is not None:
            raise ValueError(
                "between walls noise that depends on x must be of the Ito calculus; add g g' / 2 "
                "to the drift, where g' is the derivative of each g by its own coordinate"
            )
        if not additive and calculus != sde.calculus:
            named = METHODS if sde.noises is None else MATRIX
            fits = [k for k in named if named[k].calculus in (None, sde.calculus)]
            raise ValueError(
                f"{self.method!r} does not fit noise that depends on x, as this SDE is of the "
                f"{sde.calculus} calculus; use one of {', '.join(fits)}"
            )
        return calculus

    def _adapter(
        self, sde: SDE, monitor: Monitor, bm: Brownian, additive: bool, before: Path | None
    ) -> _Torchsde:
        method, calculus = KNOWN[self.method], self._calculus(sde, additive)
        if sde.noises is not None:
            return TorchsdeMatrix(monitor, bm, calculus, method.calls[0])
        if sde.walls is not None:
            absorbed = legs.absorbed_before(before, monitor.steps.times)
            return TorchsdeWalled(monitor, bm, calculus, sde.walls, absorbed)
        if method.joint:
            return TorchsdeJoint(monitor, bm, calculus, method.calls[0])
        if self.method == "reversible_heun":
            return TorchsdeReversible(monitor, bm, calculus, "diagonal")
        if additive and self.method in ("milstein", "srk"):
            return TorchsdeAdditive(monitor, bm, calculus, "additive")
        return TorchsdeDiagonal(monitor, bm, calculus, "diagonal")
