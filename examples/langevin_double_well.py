"""Langevin motion in a double well comes to rest in Boltzmann's distribution.

The particles obey dx = -U'(x) dt + sqrt(2 T) dW with U = B (x^2 - 1)^2, and all start in the left
well. Their density obeys dp/dt = (U' p)' + T p'', which is at rest for p ~ exp(-U / T) alone.
Cloud and density agree at t = 1 already, when few particles have crossed the barrier.
"""

import torch

import sdeflow as sf

BARRIER, TEMPERATURE = 1.0, 0.5
potential = sf.sdes.double_well(BARRIER)
sde = sf.sdes.langevin(potential, TEMPERATURE, t_end=40.0)
grid = sf.Grid(-2.5, 2.5, (400,))

well = sf.GaussianMixture.isotropic(torch.tensor([[-1.0]]), 0.2)
solver = sf.SDESolver("heun", steps=6000, seed=0)
path = solver.solve(sde, well.sample(10_000, seed=0), save=[0.0, 1.0, 40.0])
densities = sf.evolve(sde, well.on_grid(grid), path.t, steps=4000)
verdict = sf.diagnostics.check_path(path, densities)
print("share right of the barrier:", (path.x[..., 0] > 0).float().mean(1).tolist())
print(verdict)

mass = torch.exp(-potential(grid.centres()) / TEMPERATURE)
boltzmann = sf.Density(grid, mass / mass.sum())
print("Fokker-Planck to Boltzmann at t = 40:", densities[-1].total_variation(boltzmann))
assert verdict.passed()
assert densities[-1].total_variation(boltzmann) < 1e-3
