"""Without its noise DDPM makes one picture of each kind, nearer to the mean than any real one.

Says: without noise a "tiny sad blurry tree", the mean of many; here the analogy with the spiral
"breaks down a bit" (000, 003).
Measured: pictures made with and without the noise are compared with data: how far they are from
the mean of their class, how much they differ within it, and how sharp they are.
Correction: one picture of each class always, a blur only in part. Pictures of random detail (the
spectrum 1 / (1 + k^2) around three means, exact field) do become blurred: a mode of variance v
keeps about sqrt(v) / 10 of its height (`analysis.noiseless_law`). Handwritten digits (a trained
network, told the class) become one prototype, as sharp as a real digit.
Control: DDPM with all of its noise.
Source: sharpness is the root-mean-square difference of neighbouring pixels. On the spiral the
collapsed points lie on the curve (S3).
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_most, between
from benchmarks.claims.digit_prototypes import as_digits, class_means, look, made, real
from benchmarks.claims.one_picture import gradient
from benchmarks.claims.setting import WIDE, noiseless
from benchmarks.claims.spectral_pictures import draw_both, spectral_pictures
from benchmarks.claims.spiral_samplers import RESIDUE
from sdeflow.fields.exact import ExactField
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, CONTROL = 0.0, 1.0  # share of the noise that is kept
NEEDS, SLOW = ("sklearn",), True
NAME = "distance to the nearest of three means / spread of a class"


def measure(lab: Lab, kept: float) -> Finding:
    """How near pictures made without noise, pictures of DDPM and data are to the means."""
    pictures = spectral_pictures()
    field, n = ExactField(WIDE, pictures), 600
    x0 = WIDE.prior(n, 64, lab.seed, torch.float64)
    solver = SDESolver("euler", 63, seed=lab.seed)
    blur = solver.solve(noiseless(field, kept), x0, 1).x[-1]
    sharp = solver.solve(ancestral(field), x0, 1).x[-1]
    data = pictures.noised(1.0, RESIDUE).sample(n, lab.seed)
    near, whole, typical = (
        torch.cdist(x, pictures.means).amin(1) / math.sqrt(float(pictures.covariances[0].trace()))
        for x in (blur, sharp, data)
    )
    low, high = typical.quantile(torch.tensor([0.25, 0.75]).double()).tolist()
    above = pictures.log_prob(blur) - pictures.log_prob(data)
    ours = {"real": real(lab.seed), "DDPM": made(lab, 1.0), "no noise": made(lab, kept)}
    looks = {name: look(x) for name, x in ours.items()}
    return Finding(
        [
            Check(f"{NAME}, without noise, 99th percentile", near.quantile(0.99),
                  at_most(float(typical.min())), "the nearest of 600 data"),
            Check(f"{NAME}, DDPM, median", whole.median(), between(low, high),
                  "the middle half of the data"),
            *as_digits(looks),
        ],
        notes={
            f"{NAME}, without noise, mean": float(near.mean()),
            f"{NAME}, data, mean": float(typical.mean()),
            f"{NAME}, DDPM, mean": float(whole.mean()),
            "mean of ln p without noise - mean of ln p of the data (nats)": float(above.mean()),
            "digits: sharpness of the class means / of real digits":
                gradient(class_means()) / looks["real"].gradient,
        },
        draw=lambda fig: draw_both(fig, {"data": data, "DDPM": sharp, "no noise": blur}, ours),
        size=(6.9, 1.6),
    )  # fmt: skip
