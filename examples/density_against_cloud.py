"""One SDE moves particles and a density, and the two must agree
=============================================================

Particles move by dx = b dt + g dW, their density by dp/dt = -div(b p) + (g^2 / 2) lap p. The cloud
is counted in bins of the density's own cells, so that its p-value needs no smoothing. Too few
steps are found, and the error budget names the step as the cause, and not the field.
"""

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
sde, grid = sf.reverse(field), sf.Grid(-5.0, 5.0, (96, 96))
noise = field.process.prior(10_000, 2, seed=0)

path = sf.SDESolver("heun", steps=200, seed=0).solve(sde, noise, save=3)
densities = sf.evolve(sde, field.density(grid, field.process.t_max), path.t)
print(sf.diagnostics.check_path(path, densities))

rough = sf.SDESolver("euler", steps=32, seed=0).solve(sde, noise).x[-1]
budget = sf.diagnostics.error_budget(rough, sde, sde.times(32), field, grid)
print(budget)

with sf.plot.figure(venue="prl2", panels=(2, 3), aspect=1.2) as fig:
    above, below = fig.subfigures(2, 1)
    good = sf.plot.comparison(above, path, densities[-1], where=3.2)
    bad = sf.plot.comparison(below, rough, densities[-1], where=3.2)
    above.suptitle("Heun, 200 steps"), below.suptitle("Euler, 32 steps")
    print(sf.plot.write(fig, "runs/density_against_cloud.png", {"seed": 0}))
assert good.passed() and not bad.passed()  # noqa: PT018
assert budget.causes == ("step",)
