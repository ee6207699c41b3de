"""Flow matching with independent pairs of data and noise, and with pairs of least cost.

A small network is trained by flow matching, three times for each kind of pairs. Left, pairs are
independent; middle, each batch is paired by optimal transport; both show the first training.
Right, three costs: E int |v|^2 dt of the paths; E |x(1) - x(0)|^2 between their ends, which equals
the first for straight paths; and W2^2, the least cost of any pairing of starts and ends. Bars:
means; error bars: smallest and largest of three trainings. Floor: W2^2 between two sets of as many
draws of the data.
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
SHOWN, SEEDS = 3.0, 3


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw the paths of both kinds of pairs, and their costs."""
    steps, n = (400, 400) if quick else (4000, 2000)
    axes, costs = fig.subplots(1, 3), {}
    for ax, (name, pairs) in zip(axes, PAIRS.items(), strict=False):
        paths = [sampled(trained(problem, pairs, steps, seed), n, seed) for seed in range(SEEDS)]
        path = paths[0]
        costs[name] = torch.tensor([three_costs(each) for each in paths])
        plot.cloud(ax, problem.data.sample(n, seed=2), plot.SKY, size=0.8)
        lines = plot.trajectories(ax, path, range(40), colours="copper")
        plot.frame(ax, SHOWN, name)
        ax.set_xlabel(f"window $\\pm${SHOWN:g} (data unit)")
    plot.colour_bar(axes[1], lines)
    ax = axes[2]
    floor, _ = sampling_floor(problem.data.sample, n, least_cost, repeats=4, seed=10)
    names = *COSTS, f"$W_2^2$, floor {floor:.2g}"
    for k, (label, colour) in enumerate(zip(names, INKS, strict=True)):
        each = torch.stack([cost[:, k] for cost in costs.values()])
        mean, at = each.mean(1).numpy(), [j + 0.27 * (k - 1) for j in range(2)]
        ends = [mean - each.amin(1).numpy(), each.amax(1).numpy() - mean]
        ax.bar(at, mean, 0.25, color=colour, label=label)
        ax.errorbar(at, mean, ends, fmt="none", color=plot.BLACK, lw=0.8, capsize=1.5)
    ax.set(xticks=(0, 1), xticklabels=("independent", "coupled"), box_aspect=1)
    ax.set(
        ylabel="cost (data unit$^2$)", ylim=(0, 1.25 * max(float(c.max()) for c in costs.values()))
    )
    ax.legend(loc="upper right", borderaxespad=0.0, handlelength=1.0)


COSTS = r"$E \int |v|^2\, dt$", "$E |x(1) - x(0)|^2$"
INKS = plot.BLUE, plot.GREEN, plot.GREY
PAIRS = {"independent pairs": Pairs.INDEPENDENT, "pairs of least cost": Pairs.COUPLED}


def trained(problem: Problem, pairs: Pairs, steps: int, seed: int) -> sf.LearnedField:
    """Train the same network on the same batches, with these pairs."""
    field = sf.LearnedField(
        sf.Linear(),
        sf.MLP(width=64, depth=3, finest=10.0, seed=seed),
        sf.fields.Prediction.VELOCITY,
        pairs=pairs,
    )
    sf.fit(
        field, lambda n, s: problem.data.sample(n, s).float(), steps, seed,
        config=sf.training.TrainingConfig(batch=256),
        coupling=optimal_transport if pairs is Pairs.COUPLED else None,
        time_density=sf.training.uniform_time,
    )  # fmt: skip
    return field


def sampled(field: sf.LearnedField, n: int, seed: int) -> sf.solvers.Path:
    """n paths of the probability flow, from noise of this seed."""
    process = field.process
    times = torch.linspace(process.t_max, process.t_min, 101, dtype=torch.float64)
    solver = sf.ODESolver("rk4", times=times)
    return solver.solve(sf.reverse(field, 0.0), process.prior(n, 2, seed + 1), save=101)


def three_costs(path: sf.solvers.Path) -> tuple[float, float, float]:
    """The cost of the paths, between their ends, and of the best pairing of the ends."""
    start, end = path.x[0], path.x[-1]
    return path_cost(path), float((end - start).square().sum(1).mean()), least_cost(start, end)


def path_cost(path: sf.solvers.Path) -> float:
    """E int |v|^2 dt of paths (T, n, d), which is at least E |x(1) - x(0)|^2 / span."""
    rates = path.x.diff(dim=0).square().sum(2).mean(1) / path.t.diff().abs()
    return float(rates.sum())


def least_cost(x: torch.Tensor, y: torch.Tensor) -> float:
    """W2^2, the least cost of any pairing of two clouds."""
    return sf.wasserstein(x, y) ** 2
