"""One family of SDEs leads from noise to data: one density, many paths
====================================================================

dx = [alpha' x0_hat + (sigma' + eta^2 (sigma' - f sigma)) eps_hat] dt + eta g dW has the same
density at each time for every eta. At eta = 0, the probability flow, the end of a particle is a
function of its start; at eta = 1, the reverse SDE, a particle forgets where it began.
"""

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
noise = field.process.prior(10_000, 2, seed=0)
density = field.density(sf.Grid(-4.0, 4.0, (128, 128)), field.process.t_min)

paths, correlation = {}, []
for eta in (0.0, 0.5, 1.0):
    solver = sf.SDESolver("heun", steps=200, seed=1) if eta else sf.ODESolver("heun2", steps=200)
    path = solver.solve(sf.reverse(field, eta), noise, save=201)
    start, end = path.x[0], path.x[-1]
    correlation.append(float((start * end).mean() / (start.std() * end.std())))
    verdict = sf.check_density(end, density)
    print(f"eta {eta}: {verdict!r}; start and end correlate by {correlation[-1]:.3f}")
    assert verdict.passed()
    paths[f"$\\eta$ = {eta:g}, correlation {correlation[-1]:.2f}"] = path

with sf.plot.figure(venue="neurips", panels=(1, 3), aspect=1.1) as fig:
    for ax, path in zip(sf.plot.strip(fig, paths, where=3.6), paths.values(), strict=True):
        sf.plot.trails(ax, path, range(4), sf.plot.BLACK)
    print(sf.plot.write(fig, "runs/eta_family.png", {"seed": 1}))
assert correlation[0] > correlation[1] > 0.1 > 0.04 > abs(correlation[2])
