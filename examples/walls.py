"""Walls: a sediment settles on a floor, and keeps the shape of its density
========================================================================

Particles fall by dx = -dt + sqrt(2) dW onto a wall that reflects. Their density tends to the
barometric law exp(-x), which holds at each of ten large steps: within a step the wall pushes a
particle back by just as much as the Brownian bridge from one end to the other would cross it.
"""

import math

import torch

import sdeflow as sf

walls = sf.sdes.Box(0.0, math.inf, "reflecting")
sde = sf.sdes.langevin(lambda x: x.sum(1), temperature=1.0, t_end=8.0, walls=walls)
high = sf.GaussianMixture.isotropic(torch.tensor([[4.0]]), 0.5)
path = sf.SDESolver("euler", steps=10, seed=0).solve(sde, high.sample(20_000, seed=0), save=6)
densities = sf.evolve(sde, high.on_grid(sf.Grid(0.0, 16.0, (256,))), path.t)
verdict = sf.diagnostics.check_path(path, densities)

with sf.plot.figure(venue="prl2", panels=(1, 3)) as fig:
    axes = fig.subplots(1, 3, sharey=True)
    for ax, k in zip(axes, (0, 2, 5), strict=True):
        sf.plot.cloud(ax, path.x[k])
        sf.plot.density(ax, densities[k], densities[k].grid, colour=sf.plot.BLACK)
        ax.set(title=f"$t$ = {path.t[k]:.3g}", xlim=(0, 8))
    print(verdict, sf.plot.write(fig, "runs/walls.png", {"seed": 0}), sep="\n")
assert verdict.passed()
assert abs(float(path.x[-1].mean()) - float(densities[-1].mean())) < 0.03
