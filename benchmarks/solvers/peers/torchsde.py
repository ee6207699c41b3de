"""torchsde alone: Euler-Maruyama for the reverse SDE in x and t, with its default noise.

torchsde recommends no grid for this; the rows on "log SNR" stand for its own. It steps with one
fixed dt and interpolates what lies between, so each interval of a grid is a call of `sdeint`, on
one Brownian interval. It wants rising times: -t.
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
    """An SDE as torchsde calls it, in the time -t.

    Each call of `sdeint` first asks for a drift to see its shape; that is answered with x, so that
    cutting the run into intervals costs no call of the field.
    """

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, sde: SDE) -> None:
        self.sde, self.seen = sde, False

    def f(self, u: Tensor, x: Tensor) -> Tensor:
        """The drift in -t."""
        if not self.seen:
            self.seen = True
            return x
        return -self.sde.drift(x, -u)

    def g(self, u: Tensor, x: Tensor) -> Tensor:
        """The diffusion of each coordinate."""
        assert self.sde.diffusion is not None
        return self.sde.diffusion(x, -u).expand_as(x)


def euler(sde: SDE, x: Tensor, times: Tensor, seed: int) -> Tensor:
    """Euler-Maruyama from torchsde."""
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
