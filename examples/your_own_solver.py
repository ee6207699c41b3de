"""A solver of your own beside the package's: error against calls of the field
===========================================================================

A solver is any function (sde, x, times, seed) -> x. This is Ralston's, of order 2, for dx = v dt:
x + h (v(x, t) + 3 v(x + 2/3 h v, t + 2/3 h)) / 4. It calls the field twice a step, so that twice
as many calls leave a quarter of the error. The package's `multistep` reuses old calls.
"""

import sdeflow as sf


def ralston(sde, x, times, seed):
    """Go 2/3 of each step, and mean the two drifts."""
    for k, t in enumerate(times[:-1]):
        h, first = times[k + 1] - t, sde.drift(x, t)
        x = x + h * (first + 3 * sde.drift(x + 2 / 3 * h * first, t + 2 / 3 * h)) / 4
    return x


field, calls = sf.ExactField(sf.EDM(), sf.datasets.ring().distribution), (8, 16, 32, 64)
x, flow, ours = sf.EDM().prior(300, 2, seed=0), sf.reverse(field, eta=0.0), sf.multistep(field)
truth = sf.ODESolver("euler", steps=600).solve(sf.multistep(field, 0.0, 4, 4), x).x[-1]
ends = [ralston(flow, x, sf.processes.karras_times(sf.EDM(), n // 2), seed=0) for n in calls]
ends += [sf.ODESolver("euler", steps=n).solve(ours, x).x[-1] for n in calls]
errors = [float((end - truth).norm(dim=1).median()) for end in ends]
with sf.plot.figure(venue="prl") as fig:
    curves = {"Ralston": (calls, errors[:4]), "multistep": (calls, errors[4:])}
    sf.plot.work_precision(fig.subplots(), curves, error="median error (data unit)")
    print(sf.plot.write(fig, "runs/your_own_solver.png", {"seed": 0}), curves)
assert 3.5 < errors[2] / errors[3] < 4.5
