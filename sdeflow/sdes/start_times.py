"""Give each particle a start time of its own: `starting(sde, starts)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import Numbers, check_numbers
from sdeflow.processes.time_grids import indices
from sdeflow.sdes.sde import SDE, Scale, SteppedSDE, check_sde


@dataclass(frozen=True, eq=False)
class _FromStart:
    """A drift or a diffusion that is zero for each particle before its start (n, 1)."""

    function: Callable[[Tensor, Tensor], Scale]
    starts: Tensor
    direction: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        running = self.direction * (t - self.starts.to(t)) >= 0
        return _where(running, self.function(x, t), x)


def _where(running: Tensor, value: Scale, x: Tensor) -> Tensor:
    """The value (n, d) for the particles x (n, d) that are running (n, 1), and zero for others."""
    if len(running) != len(x):
        raise ValueError(
            f"there are {len(running)} start times, but {len(x)} particles; give one for each (to "
            "simulate, a function (first, count) -> SDE)"
        )
    return torch.where(
        running.to(x.device),
        torch.as_tensor(value, dtype=x.dtype, device=x.device),
        torch.zeros_like(x),
    )


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class StartingSDE(SDE):
    """The SDE that `starting` makes of `sde`."""

    sde: SDE
    starts: Tensor

    def stepped(self, times: Tensor, like: Tensor) -> SteppedSDE:
        """This SDE on the step index; each start time must be on the time grid."""
        return (_SteppedFromStart if self.as_made else SteppedSDE)(self, times, like)


class _SteppedFromStart(SteppedSDE):
    sde: StartingSDE

    def __init__(self, sde: StartingSDE, times: Tensor, like: Tensor) -> None:
        super().__init__(sde, times, like)
        self._inner = sde.sde.stepped(times, like)
        since, last = (sde.direction * (sde.starts - t) for t in (times[0], times[-1]))
        wanted = torch.where((since > 0) & (last <= 0), sde.starts, times[0])
        first = torch.tensor(indices(wanted, times, "start time"))
        self._first = torch.where(last > 0, len(times), first)[:, None]  # these rest to the end

    def drift(self, k: int, fraction: float, x: Tensor) -> Tensor:
        return _where(self._first <= k, self._inner.drift(k, fraction, x), x)

    def diffusion(self, k: int, fraction: float, x: Tensor) -> Scale:
        g = self._inner.diffusion(k, fraction, x)
        return None if g is None else _where(self._first <= k, g, x)


def starting(sde: SDE, starts: Numbers) -> SDE:
    """The SDE under which particle i rests until its own time starts[i], and then moves.

    Under euler a particle is on the path that it has in a run from its start with the same seed.

    Args:
        sde: of drift and diffusion, for clouds of n particles.
        starts: (n,) within the span of the SDE; each must be on the time grid of the run.

    Raises:
        ValueError: a start lies outside the span, or the SDE takes whole steps.
    """
    if check_sde(sde).whole_step or sde.noises is not None:
        raise ValueError(f"{sde.name} has no start times; take an SDE of drift and diagonal noise")
    row, (low, high) = (
        check_numbers(starts, "starts").reshape(-1),
        sorted((sde.t_start, sde.t_end)),
    )
    if not ((row >= low) & (row <= high)).all():
        raise ValueError(f"starts must lie within the span of the SDE, {low:g} to {high:g}")
    late = [f and _FromStart(f, row[:, None], sde.direction) for f in (sde.drift, sde.diffusion)]
    assert late[0] is not None
    return StartingSDE(
        late[0], late[1], sde.t_start, sde.t_end, calculus=sde.calculus, walls=sde.walls,
        time_grid=sde.time_grid, name=f"{sde.name}, each particle from its own time",
        sde=sde, starts=row,
    )  # fmt: skip
