"""Loss of a network against noise level, with the part that no network can remove.

The expected squared error of the noise is the variance that a noisy point leaves open (grey,
exact; under the blue line where the two are equal) and what the network adds (red). Two networks,
trained for 300 and for 3,000 steps with batches of 512 (40 and 400 steps in a quick picture).
"""

from __future__ import annotations

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.training import loss_decomposition

PANELS = (1, 2)
ASPECT = 0.85


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """A panel for each length of training."""
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
