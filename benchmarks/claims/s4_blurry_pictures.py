"""In many dimensions what is left without the noise is a blur that no datum is near.

Says: without noise a "tiny sad blurry tree", the mean of many; here the analogy with the
spiral "breaks down a bit" (000, 003).
Source: on the spiral the collapsed points lie on the curve (S3); pictures of 64 pixels with
the spectrum 1 / (1 + k^2) around three means, exact field. `analysis.noiseless_law` has why it
is the detail that goes: a mode of variance v keeps about sqrt(v) / 10 of its height.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.fft import dct

from benchmarks.claims import drawings
from benchmarks.claims.claim import Check, Finding, Lab, at_most, between
from benchmarks.claims.setting import WIDE, muted
from benchmarks.claims.spiral_samplers import RESIDUE
from sdeflow.distributions.mixture import GaussianMixture
from sdeflow.fields.exact import ExactField
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, BROKEN = 0.0, 1.0  # share of the noise that is kept
NAME = "distance to the nearest of three means / spread of a class"


def measure(lab: Lab, kept: float) -> Finding:
    """How near pictures made without noise, pictures of DDPM and data are to the means."""
    pictures = _pictures()
    field, n = ExactField(WIDE, pictures), 600
    x0 = WIDE.prior(n, 64, lab.seed, torch.float64)
    solver = SDESolver("euler", 63, seed=lab.seed)
    blur = solver.solve(muted(field, kept), x0, 1).x[-1]
    sharp = solver.solve(ancestral(field), x0, 1).x[-1]
    real = pictures.noised(1.0, RESIDUE).sample(n, lab.seed)
    near, whole, typical = (
        torch.cdist(x, pictures.means).amin(1) / math.sqrt(float(pictures.covariances[0].trace()))
        for x in (blur, sharp, real)
    )
    low, high = typical.quantile(torch.tensor([0.25, 0.75]).double()).tolist()
    above = pictures.log_prob(blur) - pictures.log_prob(real)
    return Finding(
        [
            Check(
                f"{NAME}, without noise, 99th percentile",
                float(near.quantile(0.99)),
                at_most(float(typical.min())),
                "nearest of 600 data",
            ),
            Check(
                f"{NAME}, DDPM, median",
                float(whole.median()),
                between(low, high),
                "the middle half of the data",
            ),
        ],
        notes={
            f"{NAME}, without noise, mean": float(near.mean()),
            "the same of the data": float(typical.mean()),
            "the same of DDPM": float(whole.mean()),
            "log density above that of the data (nats)": float(above.mean()),
        },
        draw=lambda fig: drawings.pictures(fig, {"data": real, "DDPM": sharp, "no noise": blur}),
        size=(3.4, 2.0),
    )


def _pictures() -> GaussianMixture:
    """Three kinds of 8 x 8 pictures: a smooth mean each, and random detail, 1 / (1 + k^2)."""
    waves = torch.from_numpy(dct(np.eye(8), axis=0, norm="ortho"))  # row k: the wave of number k
    basis = torch.einsum("ax,by->abxy", waves, waves).reshape(64, 64)
    k = torch.arange(8, dtype=torch.float64)
    power = 0.3 / (1 + k[:, None] ** 2 + k**2).flatten()
    means = 3 * basis[[16, 2, 9]]  # two bars across, two bars up, a diagonal
    covariance = basis.T @ torch.diag(power) @ basis
    return GaussianMixture(torch.ones(3), means, covariance.expand(3, 64, 64))
