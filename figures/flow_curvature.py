"""The curvature of the probability flow's paths under four noise schedules.

Left, the mean angle by which a path has turned since it left the noise, against the noise level
sigma / alpha. Right, the length of a path over the distance between its ends, 1 for a straight
line; boxes: median and quartiles of the particles; whiskers: 5 % and 95 %. All schedules have the
same data and the same random numbers. VP and cosine trace nearly the same curves, at different
times.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sdeflow as sf
from figures.palette import SCHEDULES
from figures.problems import Problem
from sdeflow import plot
from sdeflow.processes import EDM, VP, Cosine, Linear

PANELS = (1, 2)
COLUMNS = 1
ASPECT = 0.9
PROCESSES = {"VP": VP(), "cosine": Cosine(), "linear": Linear(), "EDM": EDM()}


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw the angle turned against the noise level, and the ratio of length to distance."""
    n, steps = (200, 300) if quick else (4000, 1000)
    left, right = fig.subplots(1, 2)
    ratios = []
    for name, process in PROCESSES.items():
        path = flow_paths(sf.ExactField(process, problem.data), n, steps)
        level = process.noise_level(path.t).numpy()
        turned = turning(path.x).mean(1).rad2deg()
        dashes = (0, (2, 2)) if name == "cosine" else "-"
        left.plot(level[1:-1], turned.numpy(), color=SCHEDULES[name], ls=dashes, label=name)
        ratios.append((length(path.x) / (path.x[-1] - path.x[0]).norm(dim=-1)).numpy())
    left.set(
        xscale="log", xlabel=r"noise level $\sigma/\alpha$ (data std)", ylabel="turned (degrees)"
    )
    left.invert_xaxis()
    left.legend(handlelength=1.2, borderaxespad=0.0, loc="upper left")
    boxes = right.boxplot(
        ratios, whis=(5, 95), showfliers=False, patch_artist=True, widths=0.6,
        medianprops={"color": plot.BLACK},
    )  # fmt: skip
    for box, name in zip(boxes["boxes"], PROCESSES, strict=True):
        box.set_facecolor(SCHEDULES[name])
    right.axhline(1.0, color=plot.GREY, ls="--", lw=0.8)
    right.set(xticks=range(1, 5), xticklabels=list(PROCESSES), ylabel="length / distance")


def flow_paths(field: sf.ExactField, n: int, steps: int) -> sf.solvers.Path:
    """n paths of the probability flow, with every step saved."""
    start = field.process.prior(n, 2, seed=0).double()
    times = sf.processes.log_snr_times(field.process, steps)
    return sf.ODESolver("rk4", times=times).solve(sf.reverse(field, 0.0), start, steps + 1)


def turning(x: Tensor) -> Tensor:
    """The angle (K - 1, n) by which paths (K + 1, n, 2) have turned up to each inner point."""
    step = x.diff(dim=0)
    a, b = step[:-1], step[1:]
    cross = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return torch.atan2(cross, (a * b).sum(-1)).abs().cumsum(0)


def length(x: Tensor) -> Tensor:
    """The length of each path (K + 1, n, d), (n,)."""
    return x.diff(dim=0).norm(dim=-1).sum(0)
