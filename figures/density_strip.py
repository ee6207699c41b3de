"""The density and the cloud of the reverse SDE at five times from noise to data.

Above, the density under the Fokker-Planck equation; below, particles under the same SDE. The
colours are logarithmic and the same in all panels. The times are equally spaced in the square root
of the angle arctan(sigma / alpha), so that the density changes about as much between each two.
"""

from __future__ import annotations

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot

PANELS = (2, 5)
ASPECT = 0.9


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw particles and densities at the same five times."""
    n, cells = (1000, 128) if quick else (4000, 256)
    field = problem.resolved()
    sde, process = sf.reverse(field), field.process
    noise = process.prior(n, 2, seed=0)
    times = sf.processes.angle_times(process, 100)
    path = sf.SDESolver("heun", times=times, seed=0).solve(sde, noise, save=5)
    start = field.density(problem.grid(cells), process.t_max)
    densities = sf.evolve(sde, start, path.t)
    peak, shown = plot.peak(*densities), 3.0
    axes = fig.subplots(2, 5)
    for k, t in enumerate(path.t.tolist()):
        image = plot.density(axes[0, k], densities[k], shown, peak, decades=2.5)
        plot.cloud(axes[1, k], path.x[k], size=0.5)
        level = float(process(t).sigma)
        plot.frame(axes[0, k], shown, f"$t$ = {t:.2g}\n$\\sigma$ = {level:.2g}")
        plot.frame(axes[1, k], shown)
        axes[0, k].set_xlabel("")
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel(f"{n:,} particles")
    axes[1, 2].set_xlabel(f"every panel: $\\pm${shown:g} data units around the mean")
    plot.colour_bar(axes[0], image)
