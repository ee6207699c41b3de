"""A network that another program trained samples here, in its own convention
==========================================================================

Its s runs from noise, 0, to data, 1, our t = 1 - s. The loop learns E[data - noise | x_s].
"""

from torch import cat, lerp, manual_seed, nn, optim, rand, randn

import sdeflow as sf


class Net(nn.Sequential):  # noqa: D101
    def forward(self, x, s):
        return super().forward(cat([x, s[:, None]], 1))


data, generator = sf.datasets.s_curve(), manual_seed(0)
network = Net(nn.Linear(3, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
noise, optimiser = sf.Linear().prior(1000, 2, seed=0), optim.Adagrad(network.parameters(), 0.03)
for step in range(2500):
    x1, x0, s = data.sample(256, step), randn(256, 2), rand(256)
    loss = (network(lerp(x0, x1, s[:, None]), s) - (x1 - x0)).square().mean()
    optimiser.zero_grad(), loss.backward(), optimiser.step()
field = sf.integrations.from_torch(network, sf.integrations.FlowMatching(data_at=1))
x = sf.ODESolver("heun2", steps=40).solve(sf.reverse(field, eta=0.0), noise).x[-1]
distance = sf.wasserstein(x, data.sample(1000, seed=9))
with sf.plot.figure(venue="neurips", panels=(1, 2)) as fig:
    sf.plot.strip(fig, {"data": data.sample(1000, 9), f"flow: W2 {distance:.2f} (data unit)": x})
    print(sf.plot.write(fig, "runs/your_own_network.png", {"seed": 0}), field, distance)
assert distance < 2 * sf.diagnostics.sampling_floor(data.sample, 1000)[0]
