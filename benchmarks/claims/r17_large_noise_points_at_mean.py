"""In large noise the model points at the mean of the data and knows nothing else.

Says: near t = 1 the model "points towards the center or average of our dataset" (000).
Measured: at sigma 1, 3 and 10 the direction of the arrows is compared with that to the mean of the
data, and the size of E[x_0 | x] - mean with that for a Gaussian of the same covariance; equality
means that only mean and covariance are left to see.
Control: the mean of the cats in the place of the mean of all.
Source: for a Gaussian of covariance C, E[x_0 | x] - mean = C (C + sigma^2)^-1 (x - mean), of size
sqrt(tr C^2 / (C + sigma^2)), which falls as 1 / sigma.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_least, at_most
from benchmarks.claims.random_walk import lattice, normal
from benchmarks.claims.setting import CAT, COVARIANCE, LABELS, POINTS, SPIRAL, exact
from sdeflow import plot
from sdeflow.processes.schedules import EDM

SUBJECT, CONTROL = SPIRAL.mean, POINTS[LABELS == CAT].mean(0)  # where the arrows are to point
LEVELS = (1.0, 3.0, 10.0)


def measure(lab: Lab, centre: Tensor) -> Finding:
    """Direction of the arrows, and size of E[x_0 | x] - mean, at three large noise levels."""
    n, field, y = 20_000, exact(EDM()), lattice(1.5)
    checks, sizes, off = [], {}, []
    for i, sigma in enumerate(LEVELS):
        t = torch.tensor(sigma, dtype=torch.float64)
        cosine = float(torch.cosine_similarity(-field.noise(y, t), centre - y).mean())
        name = f"mean cosine between arrows and direction of the mean, sigma {sigma:g}"
        checks.append(Check(name, cosine, at_least(0.999), "asked for"))
        x = SPIRAL.sample(n, lab.seed, torch.float64) + sigma * normal(n, lab.seed, i)
        square = ((field.data(x, t) - centre) ** 2).sum(1)
        want = _gaussian(torch.tensor([[sigma]], dtype=torch.float64))[0] ** 2
        off.append((square.mean() - want).abs() / square.std() * math.sqrt(n))
        sizes[sigma] = float(square.mean().sqrt())
    checks.append(
        Check(
            "largest deviation of the mean square of x0_hat - mean (standard errors)",
            float(torch.stack(off).max()),
            at_most(4.0),
            "a Gaussian of the same covariance; four standard errors",
        )
    )
    return Finding(
        checks,
        notes={f"rms of x0_hat - mean, sigma {s:g}": v for s, v in sizes.items()},
        draw=lambda fig: _draw(fig, sizes),
    )


def _gaussian(sigma: Tensor) -> Tensor:
    """Root mean square of E[x_0 | x] - mean (L,) at levels (L, 1), for Gaussian data."""
    spectrum = torch.linalg.eigvalsh(COVARIANCE)
    return torch.sqrt((spectrum**2 / (spectrum + sigma**2)).sum(1))


def _draw(fig: plot.Figure, sizes: dict[float, float]) -> None:
    """How far E[x_0 | x] is from the mean, over the Gaussian's curve."""
    ax = fig.subplots()
    sigma = torch.logspace(-0.3, 1.3, 50, dtype=torch.float64)[:, None]
    label = "Gaussian of the same covariance"
    ax.plot(sigma[:, 0], _gaussian(sigma), color=plot.GREY, label=label)
    ax.plot(list(sizes), list(sizes.values()), "o", color=plot.BLUE, label="spiral")
    ax.set(xscale="log", yscale="log", xlabel=r"noise level $\sigma$ (data units)")
    ax.set_ylabel(r"rms of $E[x_0 | x_\sigma]$ - mean (data units)")
    ax.legend(loc="lower left")
