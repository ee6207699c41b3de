"""Error against evaluations of the field, for three methods on one flow
=====================================================================

The error is the distance of the particles from where a solution of 400 steps takes them from the
same starts, root mean square per coordinate. The dashed line is the error of that reference: its
difference from one of half the steps; points near it are hollow. Paths count their evaluations.
"""

import sdeflow as sf

flow = sf.reverse(sf.ExactField(sf.EDM(), sf.datasets.ring().distribution), eta=0.0)
methods, x = ("euler", "heun2", "rk4"), sf.EDM().prior(300, 2, seed=0)
truth, half = (sf.ODESolver("rk4", steps).solve(flow, x) for steps in (400, 200))
runs = {m: [sf.ODESolver(m, n).solve(flow, x) for n in (8, 16, 32, 64)] for m in methods}
with sf.plot.figure(venue="icml") as fig:
    sf.plot.work_precision(fig.subplots(), runs, half, error="error (data unit)", truth=truth)
    print(sf.plot.write(fig, "runs/work_precision.pdf"), runs["rk4"][-1])
assert (runs["rk4"][-1].x[-1] - truth.x[-1]).std() < (runs["euler"][-1].x[-1] - truth.x[-1]).std()
