"""Flow matching on independent pairs and on pairs of least cost: the paths, and what they cost.

The same small network is trained twice on the straight path. Left, pairs of data and noise are
independent; middle, each batch is paired by optimal transport. Right, the cost E int |v|^2 dt of
the paths, the cost E |x(1) - x(0)|^2 between their ends, which is the same for straight paths, and
the least cost between starts and ends in any pairing, W2^2; its floor is that of two sets of as
many draws of the data.
"""

from __future__ import annotations

import torch

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.diagnostics import sampling_floor
from sdeflow.fields.field import Pairs
from sdeflow.training.coupling import optimal_transport

PANELS = (1, 3)
PROBLEM = "moons"
ASPECT = 0.9
SHOWN = 3.0


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Paths of both, and their costs."""
    steps, n = (400, 400) if quick else (4000, 2000)
    axes, costs = fig.subplots(1, 3), {}
    for ax, (name, pairs) in zip(axes, PAIRS.items(), strict=False):
        field = trained(problem, pairs, steps)
        start = field.process.prior(n, 2, seed=1)
        times = torch.linspace(field.process.t_max, field.process.t_min, 101, dtype=torch.float64)
        path = sf.ODESolver("rk4", times=times).solve(sf.reverse(field, 0.0), start, save=101)
        ends = path.x[0], path.x[-1]
        between = float((ends[1] - ends[0]).square().sum(1).mean())
        costs[name] = path_cost(path), between, least_cost(*ends)
        plot.cloud(ax, problem.data.sample(n, seed=2), plot.SKY, size=0.8)
        lines = plot.trajectories(ax, path, range(40), colours="copper")
        plot.frame(ax, SHOWN, name)
        ax.set_xlabel(f"window $\\pm${SHOWN:g} (data unit)")
    plot.colour_bar(axes[1], lines)
    ax = axes[2]
    floor, _ = sampling_floor(problem.data.sample, n, least_cost, repeats=4, seed=10)
    names = *COSTS, f"$W_2^2$, floor {floor:.2g}"
    for k, (label, colour) in enumerate(zip(names, INKS, strict=True)):
        heights = [cost[k] for cost in costs.values()]
        ax.bar([j + 0.27 * (k - 1) for j in range(2)], heights, 0.25, color=colour, label=label)
    ax.set(xticks=(0, 1), xticklabels=("independent", "coupled"), box_aspect=1)
    ax.set(ylabel="cost (data unit$^2$)", ylim=(0, 1.2 * max(map(max, costs.values()))))
    ax.legend(loc="upper right", borderaxespad=0.0, handlelength=1.0)


COSTS = r"$E \int |v|^2\, dt$", "$E |x(1) - x(0)|^2$"
INKS = plot.BLUE, plot.GREEN, plot.GREY
PAIRS = {"independent pairs": Pairs.INDEPENDENT, "pairs of least cost": Pairs.COUPLED}


def trained(problem: Problem, pairs: Pairs, steps: int) -> sf.LearnedField:
    """The same network and batches with these pairs."""
    field = sf.LearnedField(
        sf.Linear(),
        sf.MLP(width=64, depth=3, finest=10.0),
        sf.fields.Prediction.VELOCITY,
        pairs=pairs,
    )
    sf.fit(
        field, lambda n, seed: problem.data.sample(n, seed).float(), steps,
        config=sf.training.TrainingConfig(batch=256),
        coupling=optimal_transport if pairs is Pairs.COUPLED else None,
        time_density=sf.training.uniform_time,
    )  # fmt: skip
    return field


def path_cost(path: sf.solvers.Path) -> float:
    """E int |v|^2 dt over a path (T, n, d), at least E |x(1) - x(0)|^2 / span."""
    rates = path.x.diff(dim=0).square().sum(2).mean(1) / path.t.diff().abs()
    return float(rates.sum())


def least_cost(x: torch.Tensor, y: torch.Tensor) -> float:
    """W2^2, of any pairing of two clouds."""
    return sf.wasserstein(x, y) ** 2
