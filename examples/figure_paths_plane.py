"""Paths of particles in the plane, over the density of the data
=============================================================

A path has the colour of its time; an open dot is its start in the noise, a full one its end in
the data. The probability flow moves it there without noise. The window holds all of the paths;
their bar names the times.
"""

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
flow, noise = sf.reverse(field, eta=0.0), field.process.prior(30, 2, seed=1)
path = sf.ODESolver("heun2", 80).solve(flow, noise, save=81)
with sf.plot.figure(venue="prl") as fig:
    sf.plot.paths(fig.subplots(), path, field.density(sf.Grid(-5.0, 5.0, (256, 256)), 1e-4))
    print(sf.plot.write(fig, "runs/paths_plane.pdf", {"seed": 1}), path)
assert field.log_prob(path.x[-1], 1e-4).min() > field.log_prob(noise, 1e-4).min()
