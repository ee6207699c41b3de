"""Paths of particles on a line, over the density that they have, and in the plane.

On the line time is an axis: the tube of p(x, t) lies below, and the paths follow its two ridges.
In the plane a path has the colour of its time; an open dot is its start in the noise, a full one
its end in the data. The probability flow moves it there without noise.
"""

import torch

import sdeflow as sf
from sdeflow import plot

line = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(torch.tensor([[-1.0], [1.0]]), 0.3))
plane = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
sde, flow, times = sf.reverse(line), sf.reverse(plane, eta=0.0), torch.linspace(1.0, 1e-4, 81)
tube = sf.evolve(sde, line.density(sf.Grid(-5.0, 5.0, (400,)), 1.0), times)
noisy = sf.SDESolver("heun", times=times, seed=0).solve(sde, line.process.prior(9, 1, 1), save=81)
smooth = sf.ODESolver("heun2", times=times).solve(flow, line.process.prior(30, 2, 1), save=81)
with plot.figure(venue="prl", panels=(2, 1), aspect=0.6) as fig:
    above, below = fig.subplots(2, 1)
    plot.colour_bar(above, plot.tube(above, tube, where=3.5))
    plot.trails(above, noisy, range(9), colour=plot.VERMILION)
    plot.colour_bar(below, plot.trajectories(below, smooth, range(30)))
    plot.frame(below, plot.window(smooth), unit="data unit")
    file = plot.write(fig, "runs/paths.pdf", {"seed": 1})

off = float((noisy.x[-1].abs() - 1).abs().max())
print(f"{file}: on the line the last particle is {off:.2f} from its mode, whose std is 0.3")
assert off < 1.2
