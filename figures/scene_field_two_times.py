"""The score after one step and after 100 steps of a random walk: exact, and by a network.

Arrows: direction of the score after k steps of size 0.07. Shades: density of the noised data, up
to the maximum of each panel. After one step neighbouring arrows differ in direction; after 100
steps all point to the mean of the data. Below: the mean angle between the score and the direction
towards the mean.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from benchmarks.claims.random_walk import STEP, WALK, lattice
from benchmarks.claims.setting import POINTS, SPIRAL, exact, our_field
from figures.problems import Problem
from sdeflow import plot

PANELS, ASPECT, PROBLEM = (1, 4), 1.15, None
HALF = 1.5


def draw(fig: plot.Figure, problem: Problem | None, quick: bool) -> None:
    """Draw the exact field beside the learned one at two times."""
    learned = our_field(0, WALK, steps=300 if quick else 2000)
    fields = {"exact": (exact(WALK), plot.BLUE), "network": (learned, plot.VERMILION)}
    shown = [(k, name) for k in (1, 100) for name in fields]
    for ax, (k, name) in zip(fig.subplots(1, 4), shown, strict=True):
        (field, colour), sigma = fields[name], STEP * k**0.5
        density = SPIRAL.smooth(sigma).on_grid(sf.Grid(-5.0, 5.0, (250, 250)))
        plot.density(ax, density, HALF, vmax=1.5 * plot.peak(density))
        plot.cloud(ax, POINTS, plot.BLACK, 1.5)
        plot.arrows(ax, field, sigma, HALF, 13, colour)
        plot.frame(ax, HALF, f"{name}, {k} step" + "s" * (k > 1))
        ax.set_xlabel(rf"$\sigma$ = {sigma:.2g}, {_angle(field, sigma):.0f}$\degree$")
    fig.supxlabel(rf"windows: $\pm${HALF} data units", x=0.01, ha="left")


def _angle(field: sf.fields.Field, sigma: float) -> float:
    """The mean angle (degrees) between the score and the direction towards the mean."""
    y = lattice(HALF)
    with torch.no_grad():
        cosine = torch.cosine_similarity(field.score(y.float(), sigma).double(), SPIRAL.mean - y)
    return float(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).mean())
