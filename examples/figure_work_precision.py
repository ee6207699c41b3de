"""Error against evaluations of the field, for three ways to sample one flow.

The error is the distance of each particle from where an exact solution takes it, in the data's
standard deviation. Three clouds of starts give a median and a band. The dashed line is the error
of the reference itself, the difference from one of half the steps; points near it are hollow.
"""

import torch

import sdeflow as sf
from sdeflow import plot

field = sf.ExactField(sf.EDM(), sf.datasets.ring().distribution.to(torch.float64))
flow, fine = sf.reverse(field, eta=0.0), sf.multistep(field, 0.0, 4, 4)
starts = [field.process.prior(100, 2, seed, torch.float64) for seed in range(3)]
truth, half = ([sf.ODESolver("euler", k).solve(fine, x).x[-1] for x in starts] for k in (400, 200))
ways = {"Heun": ("heun2", 2, flow), "RK4": ("rk4", 4, flow)}
ways["multistep"] = ("euler", 1, sf.multistep(field))
calls, curves = [8, 16, 32, 64], {}
for name, (method, each, sde) in ways.items():
    runs = [[sf.ODESolver(method, n // each).solve(sde, x).x[-1] for x in starts] for n in calls]
    curves[name] = (
        calls,
        [[float((a - b).std()) for a, b in zip(row, truth, strict=True)] for row in runs],
    )
with plot.figure(venue="icml") as fig:
    floor = float((truth[0] - half[0]).std())
    plot.work_precision(fig.subplots(), curves, floor)
    print(plot.write(fig, "runs/work_precision.pdf"), {k: v[1][-1][0] for k, v in curves.items()})
assert curves["multistep"][1][-1] < curves["Heun"][1][-1]
