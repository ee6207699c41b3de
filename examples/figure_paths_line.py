"""Paths of particles on a line, over the density that they have
=============================================================

On the line time is an axis: the tube of p(x, t) lies below, and the paths of the reverse SDE
run along it from the noise, right, to the two modes of the data, left. `evolve` gives the density
at the times of the path; the bar names the unit of p.
"""

import torch

import sdeflow as sf

field = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(torch.tensor([[-1.0], [1.0]]), 0.3))
path = sf.SDESolver("heun", 80).solve(sf.reverse(field), field.process.prior(9, 1, 1), save=81)
tube = sf.evolve(sf.reverse(field), field.density(sf.Grid(-5.0, 5.0, (400,)), 1.0), path.t)
with sf.plot.figure(venue="prl") as fig:
    sf.plot.paths(fig.subplots(), path, tube, where=3.5)
    print(sf.plot.write(fig, "runs/paths_line.pdf", {"seed": 1}), path)
assert (path.x[-1].abs() - 1).abs().max() < 1.2  # from the modes, whose std is 0.3
