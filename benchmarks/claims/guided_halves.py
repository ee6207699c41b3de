"""Guide towards one of two equal Gaussians, where every density is known."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sdeflow import plot
from sdeflow.analysis.guidance import GuidedLaw
from sdeflow.density import Grid
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.fields.guided import GuidedField
from sdeflow.processes.schedules import VP

HALVES = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)  # two Gaussians of width 1/2
LINE = Grid((-5.0,), (5.0,), (500,))


def guided_right(scale: float) -> GuidedField:
    """The field guided towards the right one of two equal Gaussians, away from both."""
    one, both = (ExactField(VP(), GaussianMixture.isotropic(m, 0.5)) for m in (HALVES[1:], HALVES))
    return GuidedField(one, both, scale)


def draw_three(fig: plot.Figure, runs: Sequence[GuidedLaw]) -> None:
    """Draw the three densities at the last scale, and fidelity over coverage at all scales."""
    top, below = fig.subplots(2, 1)
    last = runs[-1]
    x, h = LINE.middles(0), LINE.volume
    top.fill_between(x, last.conditional.mass / h, color=plot.GREY, alpha=0.5, lw=0,
                     label="the class's")  # fmt: skip
    top.plot(x, last.tilted.mass / h, "--", color=plot.ORANGE, label=r"tilted, $p\,p(c|x)^w$")
    top.plot(x, last.guided.mass / h, color=plot.BLUE, label=f"guided, $w = {last.scale:g}$")
    top.hist(
        last.cloud[:, 0].tolist(),
        80,
        density=True,
        histtype="step",
        color=plot.VERMILION,
        lw=0.6,
        label="4000 guided particles",
    )
    top.set(xlim=(-1, 5), xlabel="x", ylabel="density")
    top.legend(loc="center right")
    below.plot([a.coverage for a in runs], [a.fidelity for a in runs], "o-", color=plot.BLUE)
    for a in runs:
        below.annotate(
            f"{a.scale:g}", (a.coverage, a.fidelity), (4, 4), textcoords="offset points"
        )
    below.set(xlabel="coverage", ylabel="fidelity", title="scales $w$, exact fields")
