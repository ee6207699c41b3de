"""The error at the end of the probability flow against the evaluations of the exact field.

The error is the RMS distance per coordinate from the true end of the flow from the same start,
without the worst 1 % of the particles. Lines and bands: median and quartiles over ten clouds of
200 particles. Dashed: the error of the truth itself; points below ten times this error are hollow.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sdeflow as sf
from figures.palette import SAMPLERS
from figures.problems import Problem
from sdeflow import plot
from sdeflow.fields.field import Field
from sdeflow.processes import angle_times, karras_times

COLUMNS = 1
ASPECT = 0.62
EACH = 200


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a curve for each sampler."""
    seeds, calls = (4, (6, 10, 16)) if quick else (10, (6, 8, 10, 12, 16, 24, 32, 48, 64))
    field = problem.field
    x = torch.cat([field.process.prior(EACH, 2, s, torch.float64) for s in range(seeds)])
    end = truth(field, x, 600)
    curves = {
        name: (calls, torch.stack([error(sampler(field, x, k), end) for k in calls]))
        for name, sampler in RUNS.items()
    }
    reference = float(error(truth(field, x, 300), end).max())
    ax = fig.subplots()
    plot.work_precision(ax, curves, reference, names=SAMPLERS)
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, columnspacing=1.2)


def error(x: Tensor, end: Tensor) -> Tensor:
    """RMS distance per coordinate of each cloud, without the worst 1 % of particles, (seeds,)."""
    square = (x - end).square().mean(1).view(-1, EACH).sort(1).values
    return square[:, : int(0.99 * EACH)].mean(1).sqrt()


def truth(field: Field, x: Tensor, steps: int) -> Tensor:
    """The end of the flow by a method of order 4 in many steps."""
    sde = sf.multistep(field, order=4, corrector=4)
    times = angle_times(field.process, steps)
    return sf.ODESolver("euler", times=times).solve(sde, x).x[-1]


def multistep(field: Field, x: Tensor, calls: int) -> Tensor:
    """Multistep sampling with its default steps."""
    return sf.ODESolver("euler", steps=calls).solve(sf.multistep(field), x).x[-1]


def calibrated(field: Field, x: Tensor, calls: int) -> Tensor:
    """Multistep sampling with steps fitted to the field, on particles of other seeds."""
    sde = sf.sdes.calibrate(field, calls, seed=1000)
    return sf.ODESolver("euler", steps=calls).solve(sde, x).x[-1]


def heun(field: Field, x: Tensor, calls: int) -> Tensor:
    """Heun's method for x / alpha at the noise levels of Karras."""
    p = field.process
    levels = p.noise_level(karras_times(p, calls // 2))
    y = sf.ODESolver("heun2", times=levels).solve(sf.sdes.comoving(field), x / p(p.t_max).alpha)
    return y.x[-1] * p(p.t_min).alpha


def ddim(field: Field, x: Tensor, calls: int) -> Tensor:
    """DDIM with steps uniform in log SNR."""
    return sf.ODESolver("euler", steps=calls).solve(sf.ancestral(field, 0.0), x).x[-1]


RUNS = {
    "multistep, calibrated": calibrated,
    "multistep": multistep,
    "Heun (EDM)": heun,
    "DDIM": ddim,
}
