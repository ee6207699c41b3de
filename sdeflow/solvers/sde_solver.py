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
import torchsde
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.sdes.generative import AncestralSDE
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.adapters import (
    Additive,
    Diagonal,
    Joint,
    Monitor,
    _check,
    _check_noise,
    _grid,
)
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.path import Path, Save, kept, nested

ITO = ("euler", "milstein", "srk")
STRATONOVICH = ("heun", "midpoint", "euler_heun", "reversible_heun")


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
        check_int(self.steps, "steps")
        check_int(self.seed, "seed", 0)

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
        check_int(first, "first", 0)
        times = _grid(sde, self.steps, self.times, self.method)
        saved = kept(save, times)
        law = sde.steps(times, x)
        monitor = Monitor(law, x, progress, len(times) - 1)
        with torch.no_grad(), torch.random.fork_rng(devices=[]), monitor.bar:
            g = law.diffusion(0, 0.0, x)
            _check_noise(g, x)
            additive = not isinstance(g, Tensor) or g.ndim < 2
            self._check_method(sde, additive)
            n, d = x.shape
            grid = None if self.fine is None else nested(times, self.fine)
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
                monitor,
                bm,
                "stratonovich" if stratonovich else "ito",
                "additive" if apart else "diagonal",
            )
            ts = torch.tensor(sorted({0, *saved}), dtype=torch.float64, device=x.device)
            out = torchsde.sdeint(engine, x, ts, bm=bm, method=self.method, dt=1.0)
            engine.close()
        if not torch.isfinite(out[-1]).all():
            raise monitor.failed("the final state is NaN or infinite")
        return monitor.path(times[saved], out if len(out) == len(saved) else out[1:].clone())

    def _check_method(self, sde: SDE, additive: bool) -> None:
        if isinstance(sde, AncestralSDE) and self.method != "euler":
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
