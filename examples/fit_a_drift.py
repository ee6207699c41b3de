"""Fit a drift: a neural SDE learns a double well from paths seen now and then
===========================================================================

A network is the drift up to the next observation y, and minimises E|X - y| - E|X - X'| / 2.
"""

import torch

import sdeflow as sf

truth = sf.sdes.langevin(well := sf.sdes.double_well(), 0.5, t_end=1.0)  # dW has factor 1
boltzmann = sf.Density(g := sf.Grid(-2.5, 2.5, (400,)), torch.softmax(-2 * well(g.centres()), 0))
start = torch.linspace(-1.8, 1.8, 60_000)[:, None]
x = sf.SDESolver("heun", steps=100, seed=0).solve(truth, start, save=6).x  # at 0, 0.2, ..., 1
net = sf.MLP(dim=1, width=32, depth=2, waves=0, seed=0)
sde = sf.SDE(lambda x, t: net(x, torch.zeros(())), lambda x, t: torch.ones(()), 0.0, 15.0)
rate = torch.optim.lr_scheduler.OneCycleLR(torch.optim.Adam(net.parameters()), 0.02, 451)
for k in range(450):
    now, y = x.unfold(0, 2, 1).reshape(-1, 2)[k % 150 :: 150].split(1, 1)
    solver = sf.SDESolver("heun", times=torch.linspace(0, 0.2, 9), seed=k)
    a, b = solver.solve(sde, now.repeat(2, 1), differentiable=True).x[-1].split(len(now))
    score = ((a - y).abs() + (b - y).abs() - (a - b).abs()).mean() / 2
    for step in (rate.optimizer.zero_grad, score.backward, rate.optimizer.step, rate.step):
        step()
cloud = sf.SDESolver("heun", 1500, seed=0).solve(sde, start[::60]).x[-1].detach()
with sf.plot.figure(venue="prl") as fig:
    sf.plot.cloud(ax := fig.subplots(), cloud)
    sf.plot.density(ax, boltzmann, g, colour=sf.plot.BLACK)
    print(sf.check_density(cloud, boltzmann), sf.plot.write(fig, "runs/fit_a_drift.png"))
assert sf.check_density(cloud, boltzmann).passed()
