"""Two lines sample: Euler's method, whose error falls as the step; that of RK4 as its fourth.

Says: sampling takes 1,000 steps of "essentially just two lines" (002).
Source: the loop against `ODESolver`, and the slopes of the median distance to the exact end,
which is RK4's at 160 steps; within 0.2 of the order, as everywhere in our tests.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, at_most
from benchmarks.claims.euler_loops import Loop, draw_orders, order, two_lines, whole_span
from benchmarks.claims.setting import board
from sdeflow.processes.schedules import Linear
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, BROKEN = two_lines, whole_span  # the loop


def measure(lab: Lab, loop: Loop) -> Finding:
    """The orders of the loop and of RK4, and the loop against `ODESolver`."""
    field = board(Linear(t_min=0.1))
    p = field.process
    sde, x = reverse(field, 0.0), p.prior(64, 2, lab.seed, torch.float64)

    def by(method: str, steps: int) -> Tensor:
        times = torch.linspace(p.t_max, p.t_min, steps + 1, dtype=torch.float64)
        return ODESolver(method, times=times).solve(sde, x, save=1).x[-1]

    def looped(steps: int) -> Tensor:
        return loop(lambda y, t: -field.velocity(y, 1 - t), x, 1 - p.t_max, 1 - p.t_min, steps)

    truth = by("rk4", 160)
    euler = {k: looped(k) for k in (250, 500, 1000)}
    rk4 = {k: by("rk4", k) for k in (20, 40, 80)}
    same = float((looped(20) - by("euler", 20)).abs().max())
    errors = [
        {k: float((y - truth).norm(dim=1).median()) for k, y in ends.items()}
        for ends in (euler, rk4)
    ]
    slopes = [order(e) for e in errors]
    first, fourth = (about(k, within=0.2) for k in (1.0, 4.0))
    return Finding(
        [
            Check("order of the two lines, from 250 to 1,000 steps", slopes[0], first, "theory"),
            Check("order of RK4, 20 to 80 steps", slopes[1], fourth, "theory"),
            Check(
                "largest distance between the loop and `ODESolver`, 20 steps",
                same,
                at_most(1e-9),
                "rounding, allowed",
            ),
        ],
        draw=draw_orders(errors, slopes),
        notes={"median distance to the exact end at 1,000 steps": errors[0][1000]},
    )
