"""Two lines of code sample: Euler's method, with an error of first order in the step; RK4: fourth.

Says: sampling takes 1,000 steps of "essentially just two lines" (002).
Measured: the ends of the loop and of RK4 are compared with the exact ends at several numbers of
steps; the slope of ln error against ln step is the order of the method.
Control: the step is that of a time span of length 1, though the span is shorter.
Source: the loop against `ODESolver`; the exact ends are RK4's at 160 steps; orders within 0.2, as
everywhere in our tests.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, about, at_most
from benchmarks.claims.euler_loops import Loop, draw_orders, order, two_lines, whole_span
from benchmarks.claims.setting import exact_on_checkerboard
from sdeflow.processes.schedules import Linear
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, CONTROL = two_lines, whole_span  # the loop


def measure(lab: Lab, loop: Loop) -> Finding:
    """The orders of the loop and of RK4, and the loop against `ODESolver`."""
    field = exact_on_checkerboard(Linear(t_min=0.1))
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
            Check("order of Euler's method, 250 to 1,000 steps", slopes[0], first, "theory"),
            Check("order of RK4, 20 to 80 steps", slopes[1], fourth, "theory"),
            Check(
                "largest distance between the loop and `ODESolver`, 20 steps",
                same,
                at_most(1e-9),
                "rounding",
            ),
        ],
        draw=draw_orders(errors, slopes),
        notes={"median distance to the exact end at 1,000 steps": errors[0][1000]},
    )
