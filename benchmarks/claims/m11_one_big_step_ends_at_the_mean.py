"""One big step takes every point to the mean of the data; many small ones to its own place.

Says: one big step drifts off, or would "overshoot the actual destination" (002).
Measured: the root mean square distance to the exact end is taken for 1, 2, 4, ..., 64 Euler steps;
that of one step must be the size of the data, as for points that are all at the mean, and each
doubling must bring the points nearer.
Correction: one big step drifts off, but it falls short. A step over all the time that is left
leads to the mean of the destinations that are still possible, E[x1 | x_t]: at the start, to the
mean of all.
Control: data of a single point, to which every path is straight.
Source: the size of the data is sqrt(2 * 16 / 3) = 3.266; the straightness of Liu et al. 2023 is E
int |(x1 - x0) - u|^2 dt / E |x1 - x0|^2, 0 for a straight path.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from benchmarks.claims.big_steps import draw_ways, euler_errors, overshooting, straightness
from benchmarks.claims.claim import Check, Finding, Lab, about, above, below
from benchmarks.claims.flow_matching import EXACT, SIZE
from benchmarks.claims.setting import FLOW, SURE
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

ONE_POINT = ExactField(FLOW, PointSet(torch.tensor([[3.0, -1.0]], dtype=torch.float64)))
SUBJECT, CONTROL = EXACT, ONE_POINT  # the field whose flow is run


def measure(lab: Lab, field: ExactField) -> Finding:
    """The distance of 1, 2, ..., 64 Euler steps from the end of the flow."""
    p = field.process
    x = p.prior(400, 2, lab.seed, torch.float64)
    times = torch.linspace(p.t_max, p.t_min, 65, dtype=torch.float64)
    path = ODESolver("rk4", times=times).solve(reverse(field, 0.0), x, save=65).x
    error, doubt = euler_errors(field, x, path[-1], times)
    beyond = {k: overshooting(field, path, times, k) for k in (0, 32)}
    return Finding(
        [
            Check(
                "root mean square distance of one big step from the exact end",
                error[1],
                about(SIZE, within=SURE * doubt),
                "the size of the data, as at their mean; within four standard errors",
            ),
            Check(
                "smallest fall of that distance from k to 2 k steps",
                min(a - b for a, b in pairwise(error.values())),
                above(0.0),
                "more steps end nearer",
            ),
            Check(
                "share of points that one step from t = 0 takes beyond their end",
                beyond[0],
                below(0.5),
                "most fall short",
            ),
        ],
        draw=draw_ways(path[:, :12], error),
        size=(7.0, 2.9),
        notes={f"root mean square distance in {k} steps": e for k, e in error.items() if k > 1}
        | {
            "standard error of the distance of one step": doubt,
            "share of points that one step from t = 1/2 takes beyond their end": beyond[32],
            "straightness (0: straight)": straightness(path, times),
        },
    )
