"""Escape over a barrier: the mean time grows like exp(barrier / T)
================================================================

Particles of dx = -U' dt + sqrt(2 T) dW in U = (x^2 - 1)^2 start in the left well, x = -1, and
reach the top, x = 0, in a mean time (1 / T) int_{-1}^0 dy int_{-inf}^y dz exp((U(y) - U(z)) / T).
At small T it tends, slowly, to Kramers' pi / sqrt(-U''(-1) U''(0)) exp(1 / T).
"""

from math import exp

import torch

import sdeflow as sf

start, well, scores = torch.full((2000, 1), -1.0), sf.sdes.double_well(barrier=1.0), []
with sf.plot.figure(venue="prl") as fig:
    ax, barriers = fig.subplots(), [b / 10 for b in range(10, 61)]
    exact = [sf.analysis.mean_first_passage_time(well, -1.0, 0.0, 1 / b) for b in barriers]
    ax.plot(barriers, [time * exp(-b) for time, b in zip(exact, barriers, strict=True)])
    ax.axhline(sf.analysis.kramers_time(well, -1.0, 0.0, 0.1) / 2 * exp(-10.0), ls="--")
    for b, time in ((barriers[k], exact[k]) for k in (0, 7, 15, 23)):
        sde = sf.sdes.langevin(well, 1 / b, t_end=15 * time)
        solver = sf.SDESolver("heun", steps=4000, seed=0)
        mean = sf.analysis.first_passage(sde, start, lambda x: -x[:, 0], solver).mean()
        scores.append(abs(float(mean.standard_score(time))))
        ax.errorbar(b, mean.value * exp(-b), mean.error * exp(-b), fmt="ko", ms=3)
    ax.set(xlabel="barrier / $T$", ylabel="mean time / exp(barrier / $T$)")
    ax.legend(["exact", "Kramers", "2,000 particles"])
    print(sf.plot.write(fig, "runs/first_passage.png", {"seed": 0}), scores)
assert max(scores) < 4
