r"""Keep particles between walls: a step of Euler's method, and what the walls did within it.

Within a step from y to z the path is a Brownian bridge. With s and r the distances of y and z from
a wall (negative beyond it), v the variance of the step's noise and U uniform on (0, 1), its
smallest distance from the wall is

    m = (s + r - sqrt((s - r)^2 - 2 v ln U)) / 2.

A reflecting wall adds max(0, -m) to z. An absorbing wall has been touched if m <= 0. For one wall,
a constant drift and constant noise both are exact; else they are of weak order 1. What two
reflecting walls push beyond one another is mirrored at them.

Source: Lepingle 1995 for reflection; Gobet 2000 for absorption.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sdeflow.sdes.sde import Scale
from sdeflow.sdes.walls import Axis, Box
from sdeflow.solvers.adapters import TorchsdeJoint, _Untested
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.monitor import Monitor
from sdeflow.solvers.path import Absorption


class TorchsdeWalled(TorchsdeJoint):
    """For Euler's method between walls.

    Args:
        absorbed: what the walls had absorbed before this run; None: nothing.
    """

    def __init__(
        self, monitor: Monitor, bm: Brownian, sde_type: str, box: Box, absorbed: Absorption | None
    ) -> None:
        super().__init__(monitor, bm, sde_type, 1)
        x = monitor.start
        self._box, self._axes = box, box.axes(x.shape[1])
        self.absorbed = None
        if "absorbing" in box.kinds():
            self.absorbed = absorbed or Absorption.none(len(x))
            self._touch(*self._on_wall(x), monitor.steps.time(0))

    @_Untested
    def f_and_g_prod(self, u: float, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k = self.bm.step
        inside = self._box.clamped(y)  # the last sum may have been rounded beyond a wall
        if k == 0:
            f = self._known[0][2]  # torchsde has tested its shape
        else:
            f = self.steps.drift(k, 0.0, inside)
            self.monitor.evaluated(k, 0.0, f, y)
        g = self.steps.diffusion(k, 0.0, inside)
        end = inside + f if g is None else inside + f + g * v
        return self._between(k, inside, end, g) - y, torch.zeros_like(y)

    def _between(self, k: int, y: Tensor, z: Tensor, g: Scale) -> Tensor:
        """The end of step k from y, whose free end is z (n, d)."""
        normal, free = self.bm.crossing(k).to(y), z
        variance = (torch.zeros_like(y) if g is None else torch.as_tensor(g).to(y)) ** 2
        variance = variance.expand_as(y)
        columns, touched = [], []
        for i, axis in enumerate(self._axes):
            step = y[:, i], free[:, i], variance[:, i], normal[:, i]
            z_i, low, high = _along(axis, *step)
            columns.append(z_i)
            touched += [low, high]
        z = torch.stack(columns, 1)
        if self.absorbed is None:
            return z
        z = torch.where(self._gone[:, None], y, z)
        middle = (self.steps.time(k) + self.steps.time(k, 1.0)) / 2
        self._touch(torch.stack(touched, 1), z, middle)
        return z

    def _on_wall(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Which absorbing walls each particle of the start stands on (n, 2 d), and the start."""
        columns = []
        for i, axis in enumerate(self._axes):
            columns += [(x[:, i] <= axis.low) & (axis.at_low == "absorbing")]
            columns += [(x[:, i] >= axis.high) & (axis.at_high == "absorbing")]
        return torch.stack(columns, 1), x

    @property
    def _gone(self) -> Tensor:
        assert self.absorbed is not None
        return (self.absorbed.wall >= 0).to(self.monitor.start.device)

    def _touch(self, touched: Tensor, z: Tensor, t: float) -> None:
        """Record which walls (n, 2 d) were touched at time t by particles that now stand at z."""
        assert self.absorbed is not None
        new = (touched.any(1) & ~self._gone).cpu()
        if new.any():
            wall = touched.int().argmax(1).cpu()
            self.absorbed = Absorption(
                self.absorbed.time.masked_fill(new, t), torch.where(new, wall, self.absorbed.wall)
            )


def _along(axis: Axis, y: Tensor, z: Tensor, v: Tensor, normal: Tensor) -> tuple[Tensor, ...]:
    """The end of a step (n,) along one axis, and which of its two walls have absorbed it."""
    absorbed = [torch.zeros_like(y, dtype=torch.bool)] * 2
    if axis.at_low == "periodic":
        return axis.low + (z - axis.low).remainder(axis.high - axis.low), *absorbed
    end = z
    # One uniform number serves both walls, from its two ends: hardly a step touches both.
    sides = (0, axis.low, axis.at_low, 1.0), (1, axis.high, axis.at_high, -1.0)
    for i, wall, kind, inward in sorted(sides, key=lambda side: side[2] == "absorbing"):
        if math.isinf(wall):
            continue
        # What a reflecting wall has pushed back may touch an absorbing one.
        beyond = end if kind == "absorbing" else z
        s, r = inward * (y - wall), inward * (beyond - wall)
        wide = normal.float() if torch.finfo(y.dtype).bits < 32 else normal  # as log_ndtr needs
        log_u = torch.special.log_ndtr(inward * wide).to(y)
        nearest = (s + r - ((s - r) ** 2 - 2 * v * log_u).sqrt()) / 2
        if kind == "reflecting":
            end = end + inward * (-nearest).clamp_min(0.0)
        else:
            absorbed[i] = (nearest <= 0) & ~absorbed[0]
    if math.isfinite(axis.high - axis.low) and "absorbing" not in axis:
        over = (end - axis.low).remainder(2 * (axis.high - axis.low))  # pushed by both walls
        end = axis.high - (over - (axis.high - axis.low)).abs()
    end = end.clamp(axis.low, axis.high)
    end = torch.where(absorbed[0], axis.low, torch.where(absorbed[1], axis.high, end))
    return end, *absorbed
