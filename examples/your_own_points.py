"""A network learns a table of your own, and its samples are compared with it
==========================================================================

The network learns E[eps | x_t] for x_t = alpha x_0 + sigma eps. Columns of unlike units are made
alike, scale^-1 (x - centre), and samples go back. Their W2 from the table stands beside chance.
"""

import numpy as np

import sdeflow as sf

rng = np.random.default_rng(0)  # a file of your own takes the place of this one
height = rng.normal([[1.62], [1.78]], 0.06, (2, 500)).ravel()
weight = 22 * height**2 * rng.lognormal(0.0, 0.12, 1000)
np.savetxt("people.csv", np.c_[height, weight], delimiter=",")
table, process = sf.datasets.from_file("people.csv"), sf.VP()
data, noise = table.standardised(), process.prior(1000, 2, seed=0)
field = sf.LearnedField(process, sf.MLP(), data_std=data.std)
sf.fit(field, data.sample, steps=600, seed=0)
x = sf.ODESolver("euler", steps=20).solve(sf.multistep(field), noise).x[-1]
distance = sf.wasserstein(x, data.sample(1000, seed=9))
chance, sd = sf.diagnostics.sampling_floor(data.sample, 1000)
with sf.plot.figure(venue="neurips", panels=(1, 2)) as fig:
    left, right = fig.subplots(1, 2, sharex=True, sharey=True)
    left.plot(height, weight, ".", ms=2, color=sf.plot.BLUE)
    right.plot(*table.restore(x).T, ".", ms=2, color=sf.plot.BLUE)
    left.set(xlabel="height (m)", ylabel="weight (kg)", title="table")
    right.set(xlabel="height (m)", title=f"samples: W2 {distance:.2f}, by chance {chance:.2f}")
    print(sf.plot.write(fig, "runs/your_own_points.png", {"seed": 0}), table)
assert distance < chance + 4 * sd
