"""A cloud beside the density that it should have, and the distance between them over time.

Above, the cloud of a rough sampler (Euler, 10 steps) at its end, and the density under the same
reverse SDE. Below, left: the total variation between cloud and density from noise to data, for the
rough sampler and for a fine one; grey: the distance of perfect clouds of this size, mean +- 2
standard deviations. Below, right: the residual (count - expected) / sd of the rough sampler in
each bin at the end.
"""

from __future__ import annotations

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.diagnostics import PathVerdict, check_path
from sdeflow.plot.style import Axes

PANELS = (2, 2)
COLUMNS = 1
ASPECT = 0.72
SHOWN = 2.8


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a rough sampler against its density, and beside a fine one over time."""
    n, cells = (2000, 128) if quick else (20_000, 256)
    field = problem.resolved()
    sde, process = sf.reverse(field), field.process
    noise = process.prior(n, 2, seed=0)
    times = sf.processes.angle_times(process, 200)
    rough = sf.SDESolver("euler", times=times[::20], seed=0).solve(sde, noise, save=11)
    fine = sf.SDESolver("heun", times=times, seed=0).solve(sde, noise, save=11)
    start = field.density(problem.grid(cells), process.t_max)
    densities = sf.evolve(sde, start, rough.t)
    found = {name: check_path(path, densities)
             for name, path in (("Euler, 10", rough), ("Heun, 200", fine))}  # fmt: skip
    axes = fig.subplots(2, 2)
    plot.cloud(axes[0, 0], rough, size=0.4, colour=plot.VERMILION)
    plot.frame(axes[0, 0], SHOWN, f"cloud, $n$ = {n:,}")
    axes[0, 0].set_xlabel(f"window $\\pm${SHOWN:g} (data unit)")
    image = plot.density(axes[0, 1], densities[-1], SHOWN)
    axes[0, 1].set_title("density")
    plot.colour_bar(axes[0, 1], image)
    verdict = found["Euler, 10"].verdicts[-1]
    residual = plot.residual(axes[1, 1], verdict, densities[-1], where=SHOWN)
    axes[1, 1].set_title("residual")
    plot.colour_bar(axes[1, 1], residual)
    _distances(axes[1, 0], problem, found)


def _distances(ax: Axes, problem: Problem, found: dict[str, PathVerdict]) -> None:
    """Draw the total variation at each time, and the band of perfect clouds."""
    for (name, path), colour in zip(found.items(), (plot.VERMILION, plot.ORANGE), strict=True):
        level = problem.process.noise_level(path.t).numpy()
        distance = [v.distance for v in path.verdicts]
        ax.plot(level, distance, "o-", ms=2, lw=0.8, color=colour, label=f"{name} steps")
    mean, sd = zip(*(v.sampling_floor for v in path.verdicts), strict=True)
    low, high = ([m + k * s for m, s in zip(mean, sd, strict=True)] for k in (-2, 2))
    ax.fill_between(level, low, high, color=plot.GREY, alpha=0.6, lw=0, label="perfect clouds")
    ax.set(
        xscale="log",
        yscale="log",
        ylim=(min(low) / 1.6, 9),
        xlabel=r"noise level $\sigma/\alpha$ (data std)",
    )
    ax.set(title="distance", ylabel="total variation", box_aspect=1)
    ax.invert_xaxis()
    ax.legend(handlelength=0.8, loc="upper right", borderaxespad=0.0)
