"""The causes of DDPM's error, for several numbers of steps with a roughly trained network.

Each bar stacks the total variations that the causes contribute between the data and the cloud, for
a small network after a short training and runs that end at noise level 0.05; its height is an
upper bound on the distance of the cloud from the data. Error bars: the interval of the cause below
them. Diamonds: the distance of the cloud from the exact density at its end, in bins; perfect
clouds of its size lie below the dashed line (mean + 2 standard deviations). Causes below 0.001
throughout are left out.
"""

from __future__ import annotations

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.diagnostics import ErrorBudget
from sdeflow.diagnostics.error_budget import intermediate_densities, split_error
from sdeflow.distributions.mixture import prior_density
from sdeflow.fokker_planck import Rescaling, sampler_density, tabulate_field

ASPECT = 0.6
COLUMNS = 1
CAUSES = {
    "truncation": plot.PURPLE, "field": plot.VERMILION, "prior": plot.YELLOW, "step": plot.BLUE,
    "sampler": plot.BLACK, "sampling": plot.GREY,
}  # fmt: skip
STEPS = 10, 20, 40, 80, 160
SMALL, HIGH = 1e-3, 1e-2  # least size of a cause that is drawn, and of one with an error bar


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw a bar for each number of steps."""
    budgets = measured(problem, quick)
    largest = {c: max(b[c].value for b in budgets.values()) for c in CAUSES}
    kept = {c: colour for c, colour in CAUSES.items() if largest[c] > SMALL}
    ax = fig.subplots()
    for k, budget in enumerate(budgets.values()):
        level = 0.0
        for shift, (name, colour) in enumerate(kept.items()):
            source = budget[name]
            ax.bar(k, source.value, 0.6, level, color=colour, label=None if k else name)
            level += source.value
            if source.value > HIGH:
                ends = [[max(source.value - source.low, 0.0)], [source.high - source.value]]
                ax.errorbar(
                    k + 0.09 * (shift - 3), level, ends, color=plot.BLACK, lw=0.8, capsize=1.5
                )
        distance, (mean, sd) = budget.total.distance, budget.total.sampling_floor
        ax.plot(k + 0.38, distance, "D", color=plot.GREEN, ms=3, label=None if k else "cloud")
    ax.axhline(mean + 2 * sd, color=plot.BLACK, ls="--", lw=0.8, label="perfect clouds")
    ax.set(xticks=range(len(budgets)), xticklabels=list(budgets), xlabel="steps of DDPM")
    ax.set_ylabel("total variation")
    ax.legend(ncols=3, loc="lower left", bbox_to_anchor=(0.0, 1.0), columnspacing=1.0)


def measured(problem: Problem, quick: bool) -> dict[int, ErrorBudget]:
    """The error budget of each number of steps; only the sampler's density differs."""
    n, cells = (2000, 144) if quick else (20_000, 256)
    truth = problem.resolved()
    process = truth.process
    field = problem.learned(300, process)
    grid, rescaling = problem.grid(cells), Rescaling(process, 1.0, problem.data.narrowest())
    wide = grid.scaled(rescaling(process.t_max) / rescaling(process.t_min))
    table = tabulate_field(field, wide, [process.t_max, process.t_min], rescaling=rescaling)
    prior, found, known = prior_density(wide, process), {}, None
    for steps in STEPS[: 3 if quick else 5]:
        times = sf.processes.angle_times(process, steps)
        sde = sf.ancestral(table)
        if known is None:
            known = intermediate_densities(sde, times, truth, grid, rescaling=rescaling)
        own = sampler_density(sde, prior, times, rescaling=rescaling)[-1]
        x = process.prior(n, 2, seed=1)
        path = sf.SDESolver("euler", times=times, seed=2).solve(sf.ancestral(field), x, save=1)
        found[steps] = split_error(path.x[-1], {**known, "sampler": own})
    return found
