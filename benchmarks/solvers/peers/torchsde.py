"""torchsde alone: Euler-Maruyama for the reverse SDE in x and t, with its default noise.

torchsde recommends no grid for this; the grid "log SNR" counts as its own. It has one fixed step
and interpolates between steps, so that each interval of a grid is a call of `sdeint`, on one
Brownian interval. Its times increase: -t.
"""

from __future__ import annotations

import torch
import torchsde
from torch import Tensor

from benchmarks.solvers.contender import Contender, few
from benchmarks.solvers.ours import reverse
from sdeflow.sdes.sde import SDE

SKIPPED = ""


class Mirrored:
    """An SDE with the interface of torchsde, in the time -t.

    Each call of `sdeint` first evaluates the drift for its shape alone. It gets x, so that this
    evaluation is no call of the field.
    """

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, sde: SDE) -> None:
        self.sde, self.probed = sde, False

    def f(self, u: Tensor, x: Tensor) -> Tensor:
        """The drift in -t."""
        if not self.probed:
            self.probed = True
            return x
        return -self.sde.drift(x, -u)

    def g(self, u: Tensor, x: Tensor) -> Tensor:
        """The diffusion of each coordinate."""
        assert self.sde.diffusion is not None
        return self.sde.diffusion(x, -u).expand_as(x)


def euler(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
    """A solver by torchsde's Euler-Maruyama method."""
    row = -sde.check_times(times)
    noise = torchsde.BrownianInterval(
        float(row[0]), float(row[-1]), size=tuple(x.shape), dtype=x.dtype, entropy=seed
    )
    with torch.no_grad():
        for k in range(len(row) - 1):
            dt = float(row[k + 1] - row[k]) * (1 + 1e-9)  # one step, whatever the rounding
            x = torchsde.sdeint(Mirrored(sde), x, row[k : k + 2], bm=noise, method="euler", dt=dt)[
                -1
            ]
    return x


FLOWS: list[Contender] = []

NOISY = [
    Contender("Euler-Maruyama (torchsde)", reverse, euler, 1, few("log SNR"), "torchsde", "-t")
]
