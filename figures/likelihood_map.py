"""The log-likelihood of a learned field beside the exact one, and their difference.

Left, ln p of a small network after a short training, by its probability flow; middle, the exact
ln p of the data at the same noise level; right, the first minus the second, where the exact p is
above e^-10 of its largest. p is in 1 / data unit^2. KL: the Kullback-Leibler divergence of the
model from the data, which is the mean of exact minus learned ln p over exact draws: mean and
standard deviation over three trainings, the first of which is shown.
"""

from __future__ import annotations

import torch
from torch import Tensor

import sdeflow as sf
from figures.problems import Problem
from sdeflow import plot
from sdeflow.analysis import log_likelihood

PANELS = (1, 3)
ASPECT = 0.85
SHOWN, DEPTH, LIMIT = 2.8, 10.0, 2.0
TRAININGS = 3


def draw(fig: plot.Figure, problem: Problem, quick: bool) -> None:
    """Draw learned and exact log-likelihood, and their difference."""
    nodes, draws, steps = (40, 400, 300) if quick else (128, 4000, 3000)
    fields = [problem.learned(steps, seed=seed) for seed in range(TRAININGS)]
    row = SHOWN * ((2 * torch.arange(nodes, dtype=torch.float64) + 1) / nodes - 1)
    x = torch.cartesian_prod(row, row)
    x_drawn = _noised(problem, draws)
    solver = sf.ODESolver("dopri5", rtol=1e-4)
    learned = log_likelihood(fields[0], x.float(), solver).double()
    c = problem.process(problem.process.t_min)
    exact = problem.data.log_prob(x, c.alpha, c.sigma)
    known = problem.data.log_prob(x_drawn, c.alpha, c.sigma).mean()
    found = [log_likelihood(field, x_drawn.float(), solver).double().mean() for field in fields]
    kl = known - torch.stack(found)
    top = float(exact.max())
    inside = exact > top - DEPTH
    maps = {
        "learned": learned, "exact": exact,
        "difference": torch.where(inside, learned - exact, torch.nan),
    }  # fmt: skip
    axes = fig.subplots(1, 3)
    for ax, (name, values) in zip(axes, maps.items(), strict=True):
        difference = name == "difference"
        low, high = (-LIMIT, LIMIT) if difference else (top - DEPTH, top)
        image = ax.imshow(
            values.reshape(nodes, nodes).T.numpy(), origin="lower",
            extent=(-SHOWN, SHOWN, -SHOWN, SHOWN), cmap="PuOr" if difference else "Blues",
            vmin=low, vmax=high, interpolation="nearest",
        )  # fmt: skip
        plot.frame(ax, SHOWN, name)
        ax.set_xlabel(f"window $\\pm${SHOWN:g} (data unit)")
        if name != "learned":
            label = "learned $-$ exact (nat)" if difference else "$\\ln p$ (nat)"
            plot.colour_bar(ax, image, label)
    axes[2].set_title(f"KL = {kl.mean():.3f} $\\pm$ {kl.std():.3f} nat")


def _noised(problem: Problem, n: int) -> Tensor:
    """Exact draws of the noised data at t_min."""
    c = problem.process(problem.process.t_min)
    noise = torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return c.alpha * problem.data.sample(n, seed=0).double() + c.sigma * noise
