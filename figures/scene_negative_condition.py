"""A negative condition removes the class that it names, and moves the others off the data.

Sampling "dog or cat, not dog" with eps = eps_n + w (eps_c - eps_n), where c is dog or cat and n is
dog: exact fields, DDIM over 64 levels from sigma = 10. Colour: class of the nearest data point. As
w grows fewer dogs are left, which stay on the spiral, and the cats leave it. Right: median
distance of all particles to the spiral; dashed, that of fresh data.
"""

from __future__ import annotations

from benchmarks.claims.guided_classes import COLOURS, ends
from benchmarks.claims.setting import CAT, DOG, LABELS, PERSON, POINTS, SPIRAL, WIDE, exact
from benchmarks.claims.spiral_samplers import data
from figures.problems import Problem
from sdeflow import diagnostics, plot
from sdeflow.distributions import PointSet
from sdeflow.fields import ExactField, GuidedField

PANELS, ASPECT, PROBLEM = (1, 4), 1.25, None
SCALES, SHOWN = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0), (1.0, 2.0, 4.0)


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw clouds at three scales w, and the distance to the spiral at all scales."""
    pets = LABELS != PERSON
    asked, n = ExactField(WIDE, PointSet(POINTS[pets], LABELS[pets])), 500 if quick else 2130
    clouds = {w: ends(GuidedField(asked, exact().given(DOG), w), n, seed=0) for w in SCALES}
    axes, window = fig.subplots(1, 4), plot.window(*clouds.values())
    for ax, w in zip(axes, SHOWN, strict=False):
        kinds = LABELS[diagnostics.nearest(clouds[w], POINTS)]
        plot.cloud(ax, POINTS, plot.GREY, 3.0, label="data")
        for k, name in ((DOG, "dog"), (CAT, "cat")):
            plot.cloud(
                ax, clouds[w][kinds == k][:500], COLOURS[k], 2.5, label=f"nearest to a {name}"
            )
        plot.frame(ax, window, f"$w$ = {w:g}")
        ax.set_xlabel(f"dogs: {100 * float((kinds == DOG).double().mean()):.1f} %")
    far = [float(SPIRAL.distance(x).median()) for x in clouds.values()]
    axes[3].semilogy(SCALES, far, "o-", color=plot.BLUE, ms=3)
    fresh = float(SPIRAL.distance(data(n, seed=900)).median())
    axes[3].axhline(fresh, ls="--", lw=0.8, color=plot.GREY, label="fresh data")
    axes[3].legend(loc="lower right")
    axes[3].set(xlabel="scale $w$", ylabel="median distance\nto the spiral (data units)")
    axes[3].set_xticks([1, 2, 3, 4])
    axes[3].set_title("distance")
    width = f"windows {2 * window.half:.2g} data units wide"
    marks = axes[0].get_legend_handles_labels()
    fig.legend(
        *marks, loc="outside lower center", ncols=3, title=width, title_fontsize=7, markerscale=2
    )
