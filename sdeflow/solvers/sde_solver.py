r"""Move particles under an SDE, with the methods of torchsde.

torchsde runs on the step index u = 0, ..., K (see `SDE.stepped`), on which every time grid is
uniform with dt = 1. So rounding never adds a step, and no saved state is interpolated. The
Brownian motion is a function of seed, particle and step (see `brownian`), so equal arguments give
equal results.

See docs/theory.md, section 5: (5.1) the step index, (5.3) the orders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

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
    check_grid,
    check_sde_and_cloud,
)
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.checks import ADAPTIVE, FIXED, check_method, check_noise
from sdeflow.solvers.legs import Leg
from sdeflow.solvers.monitor import Monitor
from sdeflow.solvers.path import Path, Save, saved_indices
from sdeflow.solvers.start import check_start


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
    "reversible_heun": Method("stratonovich", (1, 1), (1.0, 1.0)),
}


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
        reversible_heun   1        1          1                    Stratonovich

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

    def __post_init__(self) -> None:
        check_method(self.method, "SDE", tuple(METHODS), (*FIXED, *ADAPTIVE))
        check_int(self.steps, "steps")
        for name in ("times", "fine"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_times(getattr(self, name), name=name))
        if self.seed is not None:
            check_seed(self.seed)

    def __repr__(self) -> str:
        steps = self.steps if self.times is None else len(self.times) - 1
        seed = "seed of the start" if self.seed is None else f"seed {self.seed}"
        return f"torchsde {self.method}, {steps} steps, {seed}"

    def solve(
        self, sde: SDE, x: Tensor | Path, save: Save = 2, *, first: int = 0, progress: bool = False
    ) -> Path:
        """Move the cloud x (n, d) from the first time to the last.

        Args:
            sde: the SDE.
            x: (n, d) the cloud at the first time, or the `Path` of a run that this one continues.
            save: the number of states to save, spread evenly over the steps (1: the final one, 2:
                start and end), or their times, which must be on the grid.
            first: index of the first particle, for a cloud that is run in parts with one seed.
            progress: show a progress bar.

        Warns:
            UserWarning: x is the end of a run with the same noise, or a start at which no sample
                of noised data would lie.
        """
        before, x = x if isinstance(x, Path) else None, legs.end_of(x)
        check_sde_and_cloud(sde, x, self.method)
        times = check_grid(sde, self.steps, self.times, self.method)
        first = check_int(first, "first", 0)
        check_start(sde, x, times)
        noise = legs.continued(before, self.seed, times) or legs.started(
            x, self.seed, times, first
        )
        saved = saved_indices(save, times)
        steps = sde.stepped(times, x)
        monitor = Monitor(steps, x, progress, len(times) - 1, saved)
        with monitor:
            bm = self._brownian(noise, times, x, first, steps)
            g = check_noise(steps, monitor.start)
            adapter = self._adapter(sde, monitor, bm, not isinstance(g, Tensor) or g.ndim < 2)
            ts = self._step_indices([0, len(times) - 1])
            out = torchsde.sdeint(adapter, monitor.start, ts, bm=bm, method=self.method, dt=1.0)
            adapter.close()
        path = monitor.finish(out[-1])
        legs.ended(noise, times, x, path)
        return replace(path, seed=noise.seed, leg=noise.leg)

    def _step_indices(self, steps: list[int]) -> Tensor:
        if METHODS[self.method].joint:
            return StepIndices.of(steps)
        return torch.tensor(steps, dtype=torch.float64)  # `srk` takes roots of its times

    def _brownian(
        self, noise: Leg, times: Tensor, x: Tensor, first: int, steps: SteppedSDE
    ) -> Brownian:
        # With a single stage there is one noise per step, so that many are scaled at once.
        scales = steps.noise_scales() if self.method == "euler" else None
        n, d = x.shape
        return Brownian(
            noise.seed, n, d, x.dtype, x.device, first=first, times=times, fine=self.fine,
            leg=noise.leg, levy=METHODS[self.method].area, scales=scales,
        )  # fmt: skip

    def _adapter(
        self, sde: SDE, monitor: Monitor, bm: Brownian, additive: bool
    ) -> TorchsdeJoint | TorchsdeAdditive | TorchsdeDiagonal | TorchsdeReversible:
        method = METHODS[self.method]
        calculus = method.calculus or ("ito" if additive else sde.calculus)
        if not additive and calculus != sde.calculus:
            fits = [k for k, m in METHODS.items() if m.calculus in (None, sde.calculus)]
            raise ValueError(
                f"{self.method!r} does not fit noise that depends on x, as this SDE is of the "
                f"{sde.calculus} calculus; use one of {', '.join(fits)}"
            )
        if method.joint:
            return TorchsdeJoint(monitor, bm, calculus, method.calls[0])
        if self.method == "reversible_heun":
            return TorchsdeReversible(monitor, bm, calculus, "diagonal")
        if additive and self.method in ("milstein", "srk"):
            return TorchsdeAdditive(monitor, bm, calculus, "additive")
        return TorchsdeDiagonal(monitor, bm, calculus, "diagonal")
