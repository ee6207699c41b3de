"""One SDE moves particles and their density; the two must agree, and a bad sampler shows.

Particles: dx = b dt + g dW. Density, in the order of the run: dp/dt = -div(b p) + g^2 / 2 lap p.
The cloud is counted on the density's own cells, so that a p-value needs no smoothing; a sampler
with steps too long is rejected, and the error budget names the step and not the field.
"""

import sdeflow as sf

data = sf.datasets.ring().distribution
field = sf.ExactField(sf.VP(), data)
sde, grid = sf.reverse(field), sf.Grid(-5.0, 5.0, (96, 96))
noise = field.process.prior(10_000, 2, seed=0)

path = sf.SDESolver("heun", steps=200, seed=0).solve(sde, noise, save=3)
densities = sf.evolve(sde, field.density(grid, field.process.t_max), path.t)
good = sf.diagnostics.check_path(path, densities)
print(good)

rough = sf.SDESolver("euler", steps=32, seed=0).solve(sde, noise).x[-1]
bad = sf.check_density(rough, densities[-1])
budget = sf.diagnostics.error_budget(rough, sde, sde.times(32), field, grid)
print(f"Euler in 32 steps: p = {bad.p_value:.1e}\n{budget}")
assert good.passed()
assert not bad.passed()
assert budget.causes == ("step",)
