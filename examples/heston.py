"""Heston's model: a matrix of noise couples a price and its variance
==================================================================

d ln S = -v / 2 dt + sqrt(v) dW_1 and dv = k (m - v) dt + c sqrt(v) (r dW_1 + sqrt(1 - r^2) dW_2).
With `noises=2` the diffusion is a matrix (n, 2, 2). The mean of S stays 1, that of v relaxes to m
as exp(-k t), and a negative r gives falling prices the higher variance.
"""

import math

import torch

import sdeflow as sf

k, m, c, r, n = 2.0, 0.3, 0.5, -0.7, 20_000
mix = torch.tensor([[1.0, 0.0], [c * r, c * math.sqrt(1 - r * r)]])
sde = sf.SDE(
    lambda x, t: torch.stack([-x[:, 1].clamp_min(0) / 2, k * (m - x[:, 1])], 1),
    lambda x, t: x[:, 1].clamp_min(0).sqrt()[:, None, None] * mix, 0.0, 1.0, noises=2,
)  # fmt: skip
start = torch.tensor([[0.0, 0.2]]).repeat(n, 1)
log_s, v = sf.SDESolver("euler", steps=100, seed=0).solve(sde, start).x[-1].T
with sf.plot.figure(venue="prl") as fig:
    ax = fig.subplots()
    ax.hexbin(log_s, v, gridsize=40, bins="log", cmap="Blues", linewidths=0)
    ax.set(xlabel=r"$\ln S$", ylabel="variance $v$")
    print(sf.plot.write(fig, "runs/heston.png", {"seed": 0}))
assert abs(float(log_s.exp().mean()) - 1) < 4 * float(log_s.exp().std()) / n**0.5
assert abs(float(v.mean()) - (m - 0.1 * math.exp(-k))) < 4 * float(v.std()) / n**0.5
