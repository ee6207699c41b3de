"""The chain is Markov: given x_t, the next step does not depend on where the chain was before.

Says: a "Markov process with Gaussian transitions", of "a thousand steps" (001).
Measured: the correlation of x_{t+1} with x_{t-1} that remains when x_t is known is compared with
zero, and the end of the chain with N(0, I); zero means that a step depends on the present alone.
Control: the noise of each step is correlated by 0.5 with that of the step before.
Source: the partial correlation of x_{t+1} and x_{t-1} given x_t, whose standard error is 1 /
sqrt(n); at the end the KL divergence to N(0, I), bounded by its mean over x_0.
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.noising import BETAS, DDPM, noise_step
from benchmarks.claims.setting import SPIRAL, SURE
from sdeflow.analysis.elbo import gaussian_kl
from sdeflow.random_streams import KeyedNormals, Stream

SUBJECT, CONTROL = 0.0, 0.5  # correlation of the noise with that of the step before


def measure(lab: Lab, memory: float) -> Finding:
    """Partial correlations along the chain, and what is left of the data at its end."""
    n = 10_000
    x0 = SPIRAL.sample(n, lab.seed, torch.float64)
    noise = KeyedNormals(lab.seed, Stream.MOTION, n, 2, torch.float64)
    x, z, worst = [x0], torch.zeros_like(x0), 0.0
    for k, beta in enumerate(BETAS.tolist()):
        z = memory * z + math.sqrt(1 - memory**2) * noise.read(k)
        x = [*x[-2:], noise_step(x[-1], beta, z)]
        if k + 1 in (2, 30, 300, 1000):
            for before, now, after in zip(*(v.T for v in x), strict=True):
                r = torch.corrcoef(torch.stack([before, now, after])).inverse()
                worst = max(worst, abs(float(r[0, 2] / torch.sqrt(r[0, 0] * r[2, 2]))))
    c = DDPM(torch.tensor(1000.0, dtype=torch.float64))
    end = gaussian_kl(c.alpha * x0, c.sigma**2, torch.zeros_like(x0), 1.0)
    return Finding(
        [
            Check(
                "largest partial correlation of x_{t+1} and x_{t-1} given x_t",
                worst,
                below(SURE / math.sqrt(n)),
                "four standard errors",
            ),
            Check(
                "KL divergence of the end from N(0, I), at most (nats)",
                end.mean(),
                below(1e-3),
                "pure noise to a thousandth of a nat",
            ),
        ],
        notes={"variance at the end": float(x[-1].var())},
    )
