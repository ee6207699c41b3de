"""Guided sampling of one class does not sample the tilted density p_c^w / p^(w - 1).

From the left: the density p_c of the class, and particles without guidance; the density of guided
sampling by the Fokker-Planck equation, and guided particles, w = 3; the tilted density for w = 3;
the second minus the third. All at noise level 0.15 data std. Lengths are in data std; colours end
at the largest p of the first and the third panel. TV: total variation from the tilted density; its
floor is the error of the cells. p: p-value of 4,000 guided particles against the density shown
with them, after Holm.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.analysis import guided_law
from sdeflow.plot.densities import colour_map
from sdeflow.plot.verdicts import p_value_label

PANELS = (1, 4)
ASPECT = 1.1
SCALE, LABEL, HALF = 3.0, 0, 5.6
PROCESS = sf.VP(t_min=float(sf.VP().time_of(torch.tensor(0.15))))


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw four panels of one window and one scale."""
    cells, steps = (192, 100) if quick else (256, 200)
    field = sf.ExactField(PROCESS, problem.data)
    guided = sf.GuidedField(field.given(LABEL), field, SCALE)
    found = guided_law(guided, sf.Grid(-HALF, HALF, (cells, cells)), n=4000, steps=steps)
    window = plot.window(found.conditional, found.guided, found.tilted)
    top = plot.peak(found.conditional, found.tilted)
    axes = fig.subplots(1, 4)
    noise = PROCESS.prior(4000, 2, 0, torch.float64)
    plain = sf.ODESolver("rk4", steps=50).solve(sf.reverse(field.given(LABEL), 0.0), noise).x[-1]
    for ax, p, x in zip(
        axes,
        (found.conditional, found.guided, found.tilted),
        (plain, found.cloud, None),
        strict=False,
    ):
        image = plot.density(ax, p, window, top)
        if x is not None:
            plot.cloud(ax, x[:250], colour=plot.VERMILION, size=1.5)
    difference = (found.guided.mass - found.tilted.mass) / found.guided.grid.volume
    colours = colour_map(
        axes[3], difference, found.guided, "PuOr", (-top, top), window, "data std"
    )
    tv, error = found.from_tilted
    size = f"width {2 * window.half:.2g}"
    labels = size, p_value_label(found.verdict.p_value), "", f"TV {tv:.3f}, floor {error:.1g}"
    titles = "$w$ = 1", f"$w$ = {SCALE:g}", "tilted", "guided $-$ tilted"
    for ax, title, label in zip(axes, titles, labels, strict=True):
        plot.frame(ax, window, title).set_xlabel(label)
    for ax, artist, name in ((axes[2], image, "$p$"), (axes[3], colours, r"$\Delta p$")):
        bar = fig.colorbar(artist, ax=ax, location="bottom", extend="max")
        bar.set_label(f"{name} (1 / std$^2$)")
        bar.outline.set_linewidth(0.6)
