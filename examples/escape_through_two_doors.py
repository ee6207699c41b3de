"""Escape through two doors: which one, and when
=============================================

A particle moves by dx = -U'(x) dt + sqrt(2 T) dW in a tilted double well between two walls that
absorb. The share that survives to time t is the mass of the density that is left between them.
"""

import torch

import sdeflow as sf
from sdeflow.analysis import survival

well = sf.sdes.double_well(barrier=0.3)
walls = sf.sdes.Box(-1.5, 1.4, "absorbing")
sde = sf.sdes.langevin(lambda x: well(x) + 0.2 * x[:, 0], 0.4, t_end=6.0, walls=walls)
grid, start = sf.Grid(-1.5, 1.4, (256,)), sf.GaussianMixture.isotropic(torch.zeros(1, 1), 0.1)
path = sf.SDESolver("euler", steps=1200, seed=0).solve(sde, start.sample(10_000, seed=0))
densities = sf.evolve(sde, start.on_grid(grid), torch.linspace(0, 6, 49).double())
left, right = ((path.absorbed.wall == wall).double().mean() for wall in (0, 1))

with sf.plot.figure(venue="prl") as fig:
    ax, times = fig.subplots(), densities.t
    particles, exact = survival(path, times), survival(densities, times).value
    half = 2 * particles.error
    ax.fill_between(times, particles.value - half, particles.value + half, alpha=0.5)
    ax.plot(times, exact, "k--")
    ax.set(xlabel="$t$", ylabel="share that survives", title=f"left {left:.0%}, right {right:.0%}")
    ax.legend(["10,000 particles, 95 %", "density"])
    print(sf.plot.write(fig, "runs/escape_through_two_doors.png", {"seed": 0}))
assert particles.standard_score(exact)[2:].abs().max() < 4
