"""DDPM's chain is Euler's method for an SDE: with the same noise they meet as steps get smaller.

Says: a stochastic differential equation, "dx" is a drift term plus a random term (000).
Measured: particles of the reverse SDE and of DDPM's chain share start and noise, and their root
mean square distance is taken for 32 to 256 steps; that it falls means that the chain is a
discretised SDE.
Control: the SDE's noise with the drift of the flow, which pulls half as strongly.
Source: Song et al. 2021. W2 of two distributions is at most the root mean square distance of such
pairs, so here it has no sampling floor; `torchsde.sdeint` runs both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.setting import WIDE, exact
from benchmarks.claims.spiral_samplers import data
from sdeflow import diagnostics, plot
from sdeflow.fields.field import Field
from sdeflow.sdes.generative import ancestral, reverse
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.sde_solver import SDESolver

COUNTS = (32, 64, 128, 256)  # of steps


def undoubled(field: Field) -> SDE:
    """The noise of the SDE with the drift of the flow, which pulls half as strongly."""
    sde = reverse(field)
    drift = reverse(field, 0.0).drift
    return SDE(drift, sde.diffusion, sde.t_start, sde.t_end, time_grid=sde.time_grid)


SUBJECT, CONTROL = reverse, undoubled  # the SDE of a field


def measure(lab: Lab, sde: Callable[[Field], SDE]) -> Finding:
    """Root mean square distance of the SDE's particles and the chain's, at four step counts."""
    x, apart = WIDE.prior(600, 2, lab.seed, torch.float64), {}
    for steps in COUNTS:
        solver = SDESolver("euler", steps, seed=lab.seed)
        a, b = (solver.solve(f, x, 1).x[-1] for f in (sde(exact()), ancestral(exact())))
        apart[steps] = math.sqrt(float(((a - b) ** 2).sum(1).mean()))
    sampling_floor, sd = diagnostics.sampling_floor(data, 600, repeats=4, seed=lab.seed)
    return Finding(
        [
            Check(
                "W2 of SDE and chain at 256 steps, at most",
                apart[256],
                at_most(sampling_floor),
                f"two samples of the data, sd {sd:.1g}",
            )
        ]
        + [
            Check(f"distance at {b} steps / at {a}", apart[b] / apart[a], at_most(1.0), "it falls")
            for a, b in pairwise(COUNTS)
        ],
        notes={f"root mean square distance at {k} steps": v for k, v in apart.items()},
        draw=lambda fig: _draw(fig, apart, (sampling_floor, sd)),
    )


def _draw(fig: plot.Figure, apart: dict[int, float], sampling_floor: tuple[float, float]) -> None:
    """The bound on W2 against the number of steps, over what two samples of the data show."""
    ax = fig.subplots()
    low, high = (
        sampling_floor[0] - 2 * sampling_floor[1],
        sampling_floor[0] + 2 * sampling_floor[1],
    )
    ax.axhspan(low, high, color=plot.GREY, alpha=0.35, lw=0, label="two clouds of the data")
    values, label = list(apart.values()), "SDE and chain, same noise"
    ax.plot(COUNTS, values, "o-", color=plot.BLUE, ms=4, label=label)
    ax.set(xscale="log", xticks=COUNTS, xticklabels=[str(k) for k in COUNTS], ylim=(0, None))
    ax.minorticks_off()
    ax.set(xlabel="steps", ylabel="rms distance (data units)")
    ax.legend(loc="upper right")
