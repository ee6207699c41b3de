"""One family of SDEs runs from noise to data: the marginals do not depend on eta, the paths do.

dx = [alpha' x0_hat + (sigma' + eta^2 (sigma' - f sigma)) eps_hat] dt + eta g dW, from t_max down.
At eta = 0 this is the probability-flow ODE, whose end is a function of its start; at eta = 1 it
is the reverse SDE, which forgets its start. Every eta ends in the distribution of the data.
"""

import sdeflow as sf

data = sf.datasets.ring()
field = sf.ExactField(sf.VP(), data.distribution)
noise = field.process.prior(10_000, 2, seed=0)
density = data.distribution.on_grid(sf.Grid(-4.0, 4.0, (128, 128)))

correlation = {}
for eta in (0.0, 0.5, 1.0):
    sde = sf.reverse(field, eta)
    if eta == 0:
        end = sf.ODESolver("heun2", steps=100).solve(sde, noise).x[-1]
    else:
        end = sf.SDESolver("heun", steps=200, seed=1).solve(sde, noise).x[-1]
    verdict = sf.check_density(end, density)
    norms = noise.norm(dim=1) * end.norm(dim=1)
    correlation[eta] = float((noise * end).sum(1).mean() / norms.mean())
    print(
        f"eta {eta}: p = {verdict.p_value:.2f}, start and end correlate by {correlation[eta]:.3f}"
    )
    assert verdict.passed()

assert correlation[0.0] > correlation[0.5] > correlation[1.0]
