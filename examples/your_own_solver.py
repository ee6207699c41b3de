"""Compare a solver of your own with the package's: error against calls of the field.

A solver is any function (sde, x, times, seed) -> x. Here it is Ralston's method, which has order 2
and asks the field twice a step. The truth is the flow in 600 steps of order 4, and at 32 calls the
package's own sampler is about 30 times nearer to it.
"""

import torch

import sdeflow as sf


def ralston(sde, x, times, seed):
    """dx = drift dt: a step to 2/3 of the interval, and a mean of the two drifts."""
    for k, t in enumerate(times[:-1]):
        h, first = times[k + 1] - t, sde.drift(x, t)
        x = x + h * (first + 3 * sde.drift(x + 2 / 3 * h * first, t + 2 / 3 * h)) / 4
    return x


field = sf.ExactField(sf.EDM(), sf.datasets.ring().distribution.to(torch.float64))
x = field.process.prior(300, 2, seed=0, dtype=torch.float64)
flow, ours = sf.reverse(field, 0.0), sf.multistep(field)
truth = sf.ODESolver("euler", 600).solve(sf.multistep(field, 0.0, 4, 4), x).x[-1]
for calls in (8, 16, 32):
    times = sf.processes.karras_times(field.process, calls // 2)
    ends = ralston(flow, x, times, 0), sf.ODESolver("euler", calls).solve(ours, x).x[-1]
    errors = [float((end - truth).std()) for end in ends]
    print(f"{calls} calls: Ralston {errors[0]:.2e}, multistep {errors[1]:.2e}")
assert errors[1] < errors[0]
