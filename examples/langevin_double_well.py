"""Langevin motion in a double well relaxes to Boltzmann's distribution
====================================================================

Particles move by dx = -U'(x) dt + sqrt(2 T) dW in U = (x^2 - 1)^2 and all start in the left well.
Their density obeys dp/dt = (U' p)' + T p'', which vanishes for p ~ exp(-U / T) alone. Cloud and
density agree at each time, also at t = 1, when few particles have crossed the barrier.
"""

import torch

import sdeflow as sf

potential, temperature, grid = sf.sdes.double_well(), 0.5, sf.Grid(-2.5, 2.5, (400,))
sde = sf.sdes.langevin(potential, temperature, t_end=30.0)
left = sf.GaussianMixture.isotropic(torch.tensor([[-1.0]]), 0.3)
solver = sf.SDESolver("heun", steps=3000, seed=0)
path = solver.solve(sde, left.sample(10_000, seed=0), save=[0.0, 1.0, 30.0])
densities = sf.evolve(sde, left.on_grid(grid), path.t, steps=2000)
verdict = sf.diagnostics.check_path(path, densities)
boltzmann = torch.softmax(-potential(grid.centres()) / temperature, 0)  # exp(-U / T) / Z

with sf.plot.figure(venue="prl2", panels=(1, 3)) as fig:
    axes = fig.subplots(1, 3, sharey=True)
    for ax, t, x, p in zip(axes, path.t, path.x, densities, strict=True):
        sf.plot.cloud(ax, x)
        sf.plot.density(ax, p, grid, colour=sf.plot.BLACK)
        ax.set_title(f"$t$ = {t:g}: {(x > 0).double().mean():.0%} in the right well")
    print(verdict, sf.plot.write(fig, "runs/langevin_double_well.png", {"seed": 0}), sep="\n")
assert verdict.passed()
assert densities[-1].total_variation(sf.Density(grid, boltzmann)) < 2e-3
