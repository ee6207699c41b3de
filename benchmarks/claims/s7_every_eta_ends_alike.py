"""The flow, the SDE and every amount of noise between and beyond end in the same distribution.

Says: an ordinary differential equation with "the same exact final distribution of points" (000),
by the Fokker-Planck equation.
Measured: clouds of four eta (0 is the flow, 1 the reverse SDE) and the Fokker-Planck equation's
density on a grid for two of them are tested against the exact final density; eta changes the paths
of particles, not where they end as a whole.
Control: the drift has 1 + eta where 1 + eta^2 belongs, which is right at eta = 0 and 1 only.
Source: Song et al. 2021, appendix D. The spiral with width 0.1, sigma from 3 to 0.02. Clouds by
`GoodnessOfFit` with Holm's correction over all tests; the grid by its total variation to the exact
density, over its own estimate of that error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.setting import POINTS, SPIRAL
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.goodness_of_fit import GoodnessOfFit
from sdeflow.diagnostics.hypothesis import holm
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.rescaling import Rescaling
from sdeflow.processes.schedules import VE
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.sde_solver import SDESolver

PROCESS, WIDTH = VE(sigma_min=0.02, sigma_max=3.0), 0.1


def wrong_eta(field: Field, eta: float) -> SDE:
    """The reverse SDE with (1 + eta) where (1 + eta^2) belongs: right at eta = 0 and 1 only."""
    sde = reverse(field, eta)
    drift = reverse(field, math.sqrt(eta)).drift
    return SDE(drift, sde.diffusion, sde.t_start, sde.t_end, time_grid=sde.time_grid)


SUBJECT, CONTROL = reverse, wrong_eta  # the SDE of a field and an eta


def measure(lab: Lab, sde: Callable[[Field, float], SDE]) -> Finding:
    """Clouds and grid solutions for several eta, against the exact distribution at the end."""
    field = ExactField(PROCESS, PointSet(POINTS, width=WIDTH))
    first, last = (SPIRAL.smooth(WIDTH).noised(1.0, s) for s in (3.0, 0.02))
    grid = Grid((-2.7,) * 2, (2.7,) * 2, (72, 72))
    want = last.on_grid(grid)
    solver = SDESolver("heun", 50, seed=lab.seed)
    x = first.sample(3000, lab.seed).float()
    judge, p_values = GoodnessOfFit(want, 3000), []
    for eta in (0.0, 0.5, 1.0, 1.5):
        p_values += [t.p_value for t in judge(solver.solve(sde(field, eta), x, 1).x[-1]).tests]
    least = min(holm(p_values))
    rescaling = Rescaling(PROCESS, SPIRAL.std, WIDTH)
    start = first.on_grid(grid.scaled(rescaling(1.0) / rescaling(0.0)))
    p = Check(
        "smallest p-value of four clouds, after Holm", least, at_least(1e-3), "level of the test"
    )
    name = "grid, eta {}: total variation to the exact density / its own error estimate"
    off = {eta: _off(sde(field, eta), start, want, rescaling) for eta in (0.0, 1.5)}
    return Finding(
        [p]
        + [Check(name.format(e), v, at_most(2.0), "twice the estimate") for e, v in off.items()]
    )


def _off(sde: SDE, start: Density, want: Density, rescaling: Rescaling) -> float:
    """Total variation of the grid's solution to the exact density, over its error estimate."""
    ends = torch.tensor([1.0, 0.0]).double()
    solved = evolve(sde, start, ends, steps=50, rescaling=rescaling)[1]
    assert solved.error is not None
    return solved.total_variation(want) / solved.error
