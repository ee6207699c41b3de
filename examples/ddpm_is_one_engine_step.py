"""A step of DDPM is one Euler step of torchsde: the textbook's loop gives the same cloud.

x_s = (x - beta eps_hat / sqrt(1 - abar_t)) / sqrt(1 - beta) + sqrt(kappa) z, as Ho et al. 2020
write it, with kappa = beta (1 - abar_s) / (1 - abar_t), is x_s = alpha_s x0_hat + sqrt(sigma_s^2 -
kappa) eps_hat + sqrt(kappa) z: the ancestral step of any process, here of DDPM's own table.
"""

import torch

import sdeflow as sf

betas = torch.linspace(1e-3, 0.2, 50, dtype=torch.float64)
process = sf.processes.Tabulated.from_betas(betas)
field = sf.ExactField(process, sf.datasets.ring().distribution.to(torch.float64))
noise = process.prior(1000, 2, seed=0, dtype=torch.float64)
times = torch.arange(50, 0, -1, dtype=torch.float64)
path = sf.SDESolver("euler", times=times, seed=1).solve(sf.ancestral(field), noise)

increments = sf.solvers.Brownian(1, 1000, 2, torch.float64, times=times)
bars, x = torch.cumprod(1 - betas, 0), noise
for k, t in enumerate(range(50, 1, -1)):
    beta, bar, before = betas[t - 1], bars[t - 1], bars[t - 2]
    mean = (x - beta / (1 - bar).sqrt() * field.noise(x, t)) / (1 - beta).sqrt()
    x = mean + (beta * (1 - before) / (1 - bar)).sqrt() * increments(k, k + 1)
apart = float((path.x[-1] - x).abs().max())
print(f"after 49 steps the two clouds are {apart:.1e} apart, in double precision")
assert apart < 1e-10
