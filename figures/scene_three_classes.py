"""Samples of three classes, without guidance (w = 1) and with guidance (w = 2).

DDIM over 64 levels from sigma = 10 draws 480 points of each class, of which 100 are shown. Some
points of the lecture's network are not in the class asked for, fewer with guidance; all points of
the exact field are. Below: the share of points in their class, and the Wasserstein distance W2 to
the points of the class (data units), means over the classes; floor: W2 of as many fresh data.
Guidance increases the distance.
"""

from __future__ import annotations

from benchmarks.claims.guided_classes import (
    CLASSES,
    COLOURS,
    EACH,
    NAMES,
    class_clouds,
    fresh_distance,
    judged,
)
from benchmarks.claims.setting import POINTS, WIDE, exact, lecture_field
from figures.problems import Problem
from sdeflow import plot

PANELS, ASPECT, PROBLEM = (1, 4), 1.5, None
SCALES = 1.0, 2.0


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw the lecture's network and the exact field, at two scales of guidance."""
    steps = 1000 if quick else 30_000
    fields = {"network": lecture_field(0, WIDE, steps, 256, classes=3), "exact": exact()}
    clouds = {
        f"{name}, $w$ = {w:g}": class_clouds(known, w, seed=0)
        for name, known in fields.items()
        for w in SCALES
    }
    window = plot.window(*(x[:, :100].flatten(0, 1) for x in clouds.values()), POINTS)
    fresh = sum(fresh_distance(k, EACH, seed=0)[0] for k in CLASSES) / 3
    axes = fig.subplots(1, 4)
    for ax, (title, x) in zip(axes, clouds.items(), strict=True):
        plot.cloud(ax, POINTS, plot.GREY, 3.0)
        for k in CLASSES:
            plot.cloud(ax, x[k, :100], COLOURS[k], 3.0, f"asked for: {NAMES[k]}")
        plot.frame(ax, window, title)
        right, _, far, _ = judged(x).mean(0).tolist()
        ax.set_xlabel(f"{100 * right:.1f} % in class\n$W_2$ {far:.2f}, floor {fresh:.2f}")
    width = f"windows {2 * window.half:.2g} data units wide"
    marks = axes[0].get_legend_handles_labels()
    fig.legend(
        *marks, loc="outside lower center", ncols=3, title=width, title_fontsize=7, markerscale=2
    )
