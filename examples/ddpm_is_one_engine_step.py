"""A step of DDPM is one Euler step of torchsde
============================================

With kappa = beta (1 - abar_s) / (1 - abar_t), Ho et al. (2020) step from t to s = t - 1 by
x_s = (x - beta eps_hat / sqrt(1 - abar_t)) / sqrt(1 - beta) + sqrt(kappa) z. That is the ancestral
step of any process, x_s = alpha_s x0_hat + sqrt(sigma_s^2 - kappa) eps_hat + sqrt(kappa) z.
"""

import torch

import sdeflow as sf

betas, times = torch.linspace(1e-3, 0.2, 50).double(), torch.arange(50, 0, -1)
process, bars = sf.processes.Tabulated.from_betas(betas), (1 - betas).cumprod(0)
field = sf.ExactField(process, sf.datasets.ring().distribution.to(torch.float64))
x = process.prior(1000, 2, seed=0, dtype=torch.float64)
path = sf.SDESolver("euler", times=times, seed=1).solve(sf.ancestral(field), x, save=50)

normal, apart = sf.solvers.Brownian(1, 1000, 2, torch.float64, times=times), []
for k, t in enumerate(range(50, 1, -1)):  # the textbook's loop, with the same normal numbers z
    beta, bar, before = betas[t - 1], bars[t - 1], bars[t - 2]
    mean = (x - beta / (1 - bar).sqrt() * field.noise(x, t)) / (1 - beta).sqrt()
    x = mean + (beta * (1 - before) / (1 - bar)).sqrt() * normal(k, k + 1)
    apart.append(float((path.x[k + 1] - x).abs().max()))

with sf.plot.figure(venue="prl", aspect=1.0) as fig:
    title = f"blue: torchsde, orange: the loop, {max(apart):.0e} apart"
    sf.plot.cloud(*sf.plot.strip(fig, {title: path}, where=3.0, size=16), x, sf.plot.ORANGE, 4)
    print(sf.plot.write(fig, "runs/ddpm_is_one_engine_step.png", {"seed": 1}), max(apart))
assert max(apart) < 1e-10
