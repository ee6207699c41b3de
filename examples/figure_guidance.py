"""Guidance pushes the samples of a class away from the other classes
==================================================================

The guided field is eps_u + w (eps_c - eps_u), with the exact fields of one class and of all. At
w = 1 the cloud is a sample of the class; at larger w it is not, and leans away from the others.
Every panel has the density of the class below the cloud, in one window.
"""

import sdeflow as sf

every = sf.ExactField(sf.VP(), sf.datasets.ring().distribution)
one, noise = every.given(1), every.process.prior(2000, 2, seed=1)
guided = {f"w = {w:g}": sf.reverse(sf.GuidedField(one, every, w), 0.0) for w in (1.0, 2.0, 5.0)}
ends = {name: sf.ODESolver("heun2", 50).solve(flow, noise).x[-1] for name, flow in guided.items()}
with sf.plot.figure(venue="jmlr", panels=(1, 3)) as fig:
    sf.plot.strip(fig, ends, below=one.density(sf.Grid(-4.0, 4.0, (256, 256)), 1e-4))
    print(sf.plot.write(fig, "runs/guidance.pdf", {"seed": 1}), ends["w = 5"].mean(0).tolist())
assert ends["w = 5"].mean(0).norm() > ends["w = 1"].mean(0).norm() + 0.1
