"""Adapt an SDE whose diffusion is a matrix to torchsde."""

from __future__ import annotations

from torch import Tensor

from sdeflow.solvers.adapters import _fraction, _Torchsde, _Untested
from sdeflow.solvers.brownian import Brownian
from sdeflow.solvers.checks import check_matrix
from sdeflow.solvers.monitor import Monitor


class TorchsdeMatrix(_Torchsde):
    """For a diffusion that is a matrix, (d, m) or (n, d, m).

    Args:
        stages: of the method; a single stage is at the start of the step.
    """

    def __init__(self, monitor: Monitor, bm: Brownian, sde_type: str, stages: int) -> None:
        super().__init__(monitor, bm, sde_type, "general")
        self._one = stages == 1

    def g(self, u: Tensor | float, y: Tensor) -> Tensor:
        """The diffusion, (n, d, m)."""
        g = self.steps.diffusion(self.bm.step, _fraction(u, self.bm.step), y)
        g = check_matrix(g, y, self.bm.shape[1])
        return g.expand(len(y), *g.shape[-2:])

    @_Untested
    def f_and_g_prod(self, u: float, y: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        k = self.bm.step
        fraction = 0.0 if self._one else _fraction(u, k)
        f = self.f(fraction + k, y)
        g = check_matrix(self.steps.diffusion(k, fraction, y), y, self.bm.shape[1])
        # Noise by noise: the rounding of a matrix product depends on the number of particles.
        moved = g[..., 0] * v[:, :1]
        for j in range(1, v.shape[1]):
            moved = moved + g[..., j] * v[:, j : j + 1]
        return f, moved
