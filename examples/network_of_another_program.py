"""A flow-matching network, trained by a loop in plain torch, samples here in its own convention.

The loop counts s from noise, s = 0, to data, s = 1, and learns the velocity data - noise. Our time
t runs from data to noise. `FlowMatching(data_at=1)` calls the network at s = 1 - t and turns the
sign of what it gives. One that gives eps, v or x_0 at the timesteps of a table: see `DDPM`.
"""

import torch
from torch.nn import Linear, Sequential, SiLU

import sdeflow as sf


class Net(Sequential):  # noqa: D101
    def forward(self, x, s):
        return super().forward(torch.cat([x, s[:, None]], 1))


data, network = sf.datasets.ring().distribution, Net(Linear(3, 96), SiLU(), Linear(96, 2))
adam = torch.optim.Adam(network.parameters(), 1e-2)
for step in range(2000):
    x1, x0, s = data.sample(512, step).float(), torch.randn(512, 2), torch.rand(512)
    loss = (network(torch.lerp(x0, x1, s[:, None]), s) - (x1 - x0)).square().mean()
    adam.zero_grad(), loss.backward(), adam.step()
field = sf.integrations.from_torch(network, sf.integrations.FlowMatching(data_at=1))
noise = field.process.prior(999, 2, seed=0)
flow = sf.ODESolver("heun2", steps=40).solve(sf.reverse(field, eta=0.0), noise)
off, floor = (sf.wasserstein(x, data.sample(999, 9)) for x in (flow.x[-1], data.sample(999, 8)))
print(f"{field}: W2 {off:.3f}, at the floor {floor:.3f}")
assert off < 2 * floor
