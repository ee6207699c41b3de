"""A class of the data without guidance and with, beside the density that guidance aims at.

From the left: the density of the class, p_c, and particles without guidance; the density of guided
sampling after Fokker and Planck, and guided particles, w = 3; the tilted density p_c^3 / p^2,
which guidance does not sample; what it samples less that. All at noise level 0.15 data std.
Lengths in data std, p in 1 / data std^2; colours end at the largest p of first and third panel.
TV: total variation from the tilted density; its floor is the error of the cells. p: of the tests
of 4,000 guided particles against the density under them, after Holm.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.analysis import guided_law
from sdeflow.diagnostics.verdict import format_p_value
from sdeflow.plot.densities import colour_map

PANELS = (1, 4)
ASPECT = 1.1
SCALE, LABEL, HALF = 3.0, 0, 5.6
PROCESS = sf.VP(t_min=float(sf.VP().time_of(torch.tensor(0.15))))


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Four panels of one window and one scale."""
    cells, steps = (192, 100) if quick else (256, 200)
    field = sf.ExactField(PROCESS, problem.data)
    guided = sf.GuidedField(field.given(LABEL), field, SCALE)
    law = guided_law(guided, sf.Grid(-HALF, HALF, (cells, cells)), n=4000, steps=steps)
    window = plot.window(law.conditional, law.guided, law.tilted)
    top = plot.peak(law.conditional, law.tilted)
    axes = fig.subplots(1, 4)
    noise = PROCESS.prior(4000, 2, 0, torch.float64)
    plain = sf.ODESolver("rk4", steps=50).solve(sf.reverse(field.given(LABEL), 0.0), noise).x[-1]
    for ax, p, x in zip(
        axes, (law.conditional, law.guided, law.tilted), (plain, law.cloud, None), strict=False
    ):
        image = plot.density(ax, p, window, top)
        if x is not None:
            plot.cloud(ax, x[:250], colour=plot.VERMILION, size=1.5)
    difference = (law.guided.mass - law.tilted.mass) / law.guided.grid.volume
    colours = colour_map(axes[3], difference, law.guided, "PuOr", (-top, top), window, "data std")
    tv, error = law.from_tilted
    size = f"width {2 * window.half:.2g}"
    labels = size, format_p_value(law.verdict.p_value), "", f"TV {tv:.3f}, floor {error:.1g}"
    titles = "$w$ = 1", f"$w$ = {SCALE:g}", "tilted", "guided $-$ tilted"
    for ax, title, label in zip(axes, titles, labels, strict=True):
        plot.frame(ax, window, title).set_xlabel(label)
    for ax, artist, name in ((axes[2], image, "$p$"), (axes[3], colours, r"$\Delta p$")):
        bar = fig.colorbar(artist, ax=ax, location="bottom", extend="max")
        bar.set_label(f"{name} (1 / std$^2$)")
        bar.outline.set_linewidth(0.6)
