"""From the same starts the SDE and the flow end at different points, but in the same cloud.

Says: the theory promises the same distribution, not the same "individual images or points" (000).
Measured: 500 starts are run by the reverse SDE and by the flow; the two ends of one start lie far
apart, while the distance W2 of the two clouds is no larger than that of two samples of the data.
Control: the flow in the place of the SDE.
Source: Song et al. 2021, section 4.3. `torchsde` runs one, `torchdiffeq` the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.setting import WIDE, exact
from benchmarks.claims.spiral_samplers import data
from sdeflow import diagnostics, plot
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, CONTROL = 1.0, 0.0  # eta


def measure(lab: Lab, eta: float) -> Finding:
    """Distance of the ends of one start, and of the two clouds."""
    n, field = 500, exact()
    x = WIDE.prior(n, 2, lab.seed, torch.float64)
    one = SDESolver("euler", 200, seed=lab.seed).solve(reverse(field, eta), x, 1).x[-1]
    other = ODESolver("dopri5").solve(reverse(field, 0.0), x, 1).x[-1]
    of_two_starts = float((one - other.roll(1, 0)).norm(dim=1).mean())
    sampling_floor, sd = diagnostics.sampling_floor(data, n, repeats=8, seed=lab.seed)
    return Finding(
        [
            Check(
                "mean distance between the two ends of one start",
                float((one - other).norm(dim=1).mean()),
                at_least(of_two_starts / 2),
                "half of the mean distance between the ends of two starts",
            ),
            Check(
                "W2 between the clouds",
                diagnostics.wasserstein(one, other),
                at_most(sampling_floor + 4 * sd),
                "two samples of the data, and four standard deviations",
            ),
        ],
        notes={"W2 of two samples of the data": sampling_floor, "its standard deviation": sd},
        draw=lambda fig: _draw(fig, one, other),
    )


def _draw(fig: plot.Figure, one: Tensor, other: Tensor, many: int = 25) -> None:
    """Where the two samplers take one start: a line for each of a few."""
    ax = fig.subplots()
    for a, b in zip(one[:many], other[:many], strict=True):
        ax.plot(*torch.stack([a, b]).T.tolist(), color=plot.GREY, lw=0.6, zorder=0)
    plot.cloud(ax, one[:many], plot.BLUE, 10, label="SDE")
    plot.cloud(ax, other[:many], plot.VERMILION, 10, label="flow")
    ax.set(xlabel="x", ylabel="y")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
