"""The loss of a network against the noise level, beside the part that no network can remove.

The expected squared error of the predicted noise (solid black) is the sum of the variance of the
noise given the noisy point (dashed, from the exact field) and of the excess of the network
(purple). Left, after 300 training steps; right, after 3,000, with batches of 512.
"""

from __future__ import annotations

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.training import loss_decomposition

PANELS = (1, 2)
ASPECT = 0.85


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a panel for each length of training."""
    total, levels, n = (400, 16, 500) if quick else (3000, 48, 4000)
    axes = fig.subplots(1, 2, sharey=True)
    for ax, steps in zip(axes, (total // 10, total), strict=True):
        network = sf.MLP(dim=2, seed=0)
        field = sf.LearnedField(problem.process, network, data_std=1.0)
        sf.fit(field, lambda n, seed: problem.data.sample(n, seed).float(), steps)
        report = loss_decomposition(field, problem.field, levels=levels, n=n)
        plot.loss_levels(ax, report, problem.process.noise_level(report.t))
        ax.set_title(f"{steps} steps")
    axes[1].set_ylabel("")
    axes[0].get_legend().remove()
