"""Noise schedules, and the noise levels at which time grids place the steps.

Above: alpha, sigma and log SNR of five processes against the share of their time interval. Below:
the noise levels of twelve steps from noise (right) to data (left), for four time grids of the VP
and of the EDM process. The figure does not depend on the data.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.palette import SCHEDULES
from figures.problems import Problem
from sdeflow import plot
from sdeflow.processes import angle_times, karras_times, log_snr_times, uniform_times

PANELS = (2, 3)
ASPECT = 0.85
STEPS = 12
PROCESSES = {
    "VP": (sf.VP(), "-"),
    "sub-VP": (sf.processes.SubVP(), "--"),
    "EDM": (sf.EDM(), "-"),
    "cosine": (sf.processes.Cosine(), "-."),
    "linear": (sf.Linear(), "-"),
}
GRIDS = {
    "uniform in $t$": lambda p: uniform_times(p.t_max, p.t_min, STEPS),
    "log SNR": lambda p: log_snr_times(p, STEPS),
    "Karras": lambda p: karras_times(p, STEPS),
    "angle": lambda p: angle_times(p, STEPS),
}


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw three panels of the processes, two of the time grids."""
    above, below = fig.subfigures(2, 1)
    axes = above.subplots(1, 3)
    share = torch.sin(torch.linspace(0.0, torch.pi / 2, 400, dtype=torch.float64)) ** 2
    for name, (p, style) in PROCESSES.items():
        t = p.t_min + (p.t_max - p.t_min) * share
        c = p(t)
        for ax, curve in zip(axes, (c.alpha, c.sigma, p.log_snr(t)), strict=True):
            ax.plot(share, curve, style, color=SCHEDULES[name], label=name)
    for ax, quantity in zip(axes, (r"$\alpha$", r"$\sigma$ (data unit)", "log SNR"), strict=True):
        ax.set(xlabel="share of the time interval", ylabel=quantity)
    axes[1].set(yscale="log", ylim=(1e-3, 200))
    above.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    for ax, name in zip(below.subplots(1, 2, sharey=True), ("VP", "EDM"), strict=True):
        p, _ = PROCESSES[name]
        for row, grid in enumerate(GRIDS.values()):
            level = p.noise_level(grid(p))
            ax.plot(level, torch.full_like(level, row), "|", color=SCHEDULES[name], ms=9)
        ax.set(xscale="log", xlabel=r"noise level $\sigma/\alpha$ (data std)", title=name)
        ax.set(yticks=range(len(GRIDS)), yticklabels=list(GRIDS), ylim=(3.6, -0.6))
