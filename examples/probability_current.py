"""Between two heat baths the density is at rest, and its current circles
======================================================================

Two coordinates coupled by a spring feel unlike temperatures, dx_i = -(A x)_i dt + sqrt(2 T_i) dW_i
with A = [[k, -c], [-c, k]]. Their current J_i = -(A x)_i p - T_i dp/dx_i is free of divergence but
not zero: the entropy production int J_i^2 / (T_i p) dx is c^2 (T_1 - T_2)^2 / (2 k T_1 T_2).
"""

import sdeflow as sf

k, c, hot, cold = 1.0, 0.5, 1.0, 0.25
sde = sf.sdes.ornstein_uhlenbeck([[k, -c], [-c, k]], [(2 * hot) ** 0.5, (2 * cold) ** 0.5], 10.0)
p = sde.stationary().on_grid(sf.Grid(-6.0, 6.0, (256, 256)))
current = sf.fokker_planck.probability_current(sde, p, 0.0)
start = sde.stationary().sample(2000, seed=1)
path = sf.SDESolver("heun", steps=500, seed=0).solve(sde, start, save=501)

exact = c**2 * (hot - cold) ** 2 / (2 * k * hot * cold)
by_current = sf.analysis.entropy_production(sde, p, 0.0)
by_particles = sf.analysis.entropy_flow(sde, path)
print(f"entropy production {exact:.4f}, by the current {by_current:.4f}, particles {by_particles}")

with sf.plot.figure(venue="prl", aspect=0.8) as fig:
    ax = fig.subplots()
    sf.plot.colour_bar(ax, sf.plot.density(ax, p))
    sf.plot.arrows(ax, current, None, p.grid, 43, sf.plot.BLACK, proportional=True)
    sf.plot.frame(ax, 2.8, f"$T_1$ = {hot:g}, $T_2$ = {cold:g}", unit="data unit")
    print(sf.plot.write(fig, "runs/probability_current.png", {"seed": 0}))
assert abs(by_current / exact - 1) < 1e-3
assert abs(by_particles.standard_score(exact)) < 4
