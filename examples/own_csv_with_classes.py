"""A network learns three columns and a class of your own csv, and is guided
=========================================================================

Guidance pushes a class away from the whole, eps = eps_u + w (eps_c - eps_u), and changes it.
"""

import numpy as np

import sdeflow as sf

rng = np.random.default_rng(0)  # a file of your own takes the place of this one
kind = rng.integers(2, size=3000)
px, py = rng.normal([kind * 1.0, kind * 0.8], 0.5)
rows = np.c_[px, py, px**2 + rng.normal(0, 0.3, 3000), np.array(["cat", "dog"])[kind]]
np.savetxt("animals.csv", rows, "%s", ",", header="px,py,energy,species", comments="")
table = sf.datasets.from_file("animals.csv", columns="px,py,energy", label="species").split(0.4)
data, noise = table.standardised(), sf.VP().prior(1000, 3, seed=0)
field = sf.LearnedField(sf.VP(), sf.MLP(3, 64, 3, labels=2), data_std=data.std)
sf.fit(field, data.sample_labelled, steps=500, seed=0)
k, p = data.label("dog"), []
dogs = data.held_out.distribution.given(k).points.float()
with sf.plot.figure(venue="neurips", panels=(1, 2)) as fig:
    for w, ax in zip((1, 3), fig.subplots(1, 2, sharex=True, sharey=True), strict=True):
        flow = sf.reverse(sf.GuidedField(field.given(k), field, w), eta=0.0)
        x = sf.ODESolver("heun2", steps=12).solve(flow, noise).x[-1]
        p += [min(test.p_value for test in sf.diagnostics.two_sample_test(x, dogs))]
        ax.plot(*table.restore(x).T[[0, 2]], "C1.", *table.restore(dogs).T[[0, 2]], "C0.", ms=2)
        ax.set(xlabel="px", ylabel="energy", title=f"dogs, blue; w = {w}, p = {p[-1]:.1g}")
    print(sf.plot.write(fig, "runs/own_csv_with_classes.png", {"seed": 0}), table, p)
assert p[0] > 1e-3 > p[1]
