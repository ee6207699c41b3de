"""Compare a solver of your own with the package's: error against calls of the field.

A solver is any function (sde, x, times, seed) -> x. Here: Ralston's method, of order 2 in 2 calls.
"""

import torch

import sdeflow as sf


def ralston(sde, x, times, seed):
    """dx = drift dt: a step to 2/3 of the interval, and a mean of the two drifts."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        first = sde.drift(x, t)
        second = sde.drift(x + 2 / 3 * (s - t) * first, t + 2 / 3 * (s - t))
        x = x + (s - t) * (first + 3 * second) / 4
    return x


field = sf.ExactField(sf.EDM(0.01, 20.0), sf.datasets.ring().distribution.to(torch.float64))
x = field.process.prior(300, 2, seed=0, dtype=torch.float64)
flow, ours = sf.reverse(field, 0.0), sf.multistep(field)
truth = sf.ODESolver("euler", 600).solve(sf.multistep(field, order=4, corrector=4), x).x[-1]
for calls in (8, 16, 32):
    times = sf.processes.karras_times(field.process, calls // 2)
    ends = ralston(flow, x, times, 0), sf.ODESolver("euler", calls).solve(ours, x).x[-1]
    errors = [float((end - truth).square().mean().sqrt()) for end in ends]
    print(f"{calls} calls: Ralston {errors[0]:.2e}, multistep {errors[1]:.2e}")
assert errors[1] < errors[0]
