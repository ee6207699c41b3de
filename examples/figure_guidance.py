"""Guidance pushes the samples of a class away from the other classes, and off their own density.

The guided field is eps_u + w (eps_c - eps_u), with the exact fields of one class and of all. At
w = 1 the cloud is a sample of the class; at larger w it is not, and leans away from the others.
Every panel has the density of the class below the cloud, in one window.
"""

import torch

import sdeflow as sf
from sdeflow import plot

means = torch.tensor([[-1.0, -0.6], [1.0, -0.6], [0.0, 1.0]])
every = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(means, 0.5))
one, grid = every.given(2), sf.Grid(-4.0, 4.0, (128, 128))
noise, p = every.process.prior(2000, 2, seed=1), one.density(grid, 1e-4)
with plot.figure(venue="jmlr", panels=(1, 3)) as fig:
    for ax, w in zip(fig.subplots(1, 3), (1.0, 2.0, 5.0), strict=True):
        flow = sf.reverse(sf.fields.GuidedField(one, every, w), eta=0.0)
        x = sf.ODESolver("heun2", steps=50).solve(flow, noise).x[-1]
        verdict = sf.check_density(x, p)
        plot.density(ax, p, where=3.0)
        plot.cloud(ax, x, plot.VERMILION, size=1.0)
        said = "a sample of the class" if verdict.passed() else "not a sample of it"
        plot.frame(ax, 3.0, f"$w$ = {w:g}: {said}")
        assert verdict.passed() == (w == 1.0)
    print(plot.write(fig, "runs/guidance.pdf", {"seed": 1}), "mean at w = 5:", x.mean(0).tolist())
assert float(x[:, 1].mean()) > 1.1
