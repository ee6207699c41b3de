"""Without the noise each kind of picture collapses to one that is nearer the mean than data are.

Says: without noise a "tiny sad blurry tree", the mean of many; here the analogy with the
spiral "breaks down a bit" (000, 003).
Correction: a collapse to one picture of each class always, a blur only in part. Of random detail
(pictures with the spectrum 1 / (1 + k^2) around three means, exact field) the blur is what is
left: a mode of variance v keeps about sqrt(v) / 10 of its height (`analysis.noiseless_law`). Of
handwritten digits (a trained network, told the class) it is one prototype, as sharp as a digit.
Source: on the spiral the collapsed points lie on the curve (S3); "sharp" is the root-mean-square
difference of neighbouring pixels.
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_most, between
from benchmarks.claims.digit_prototypes import class_means, look, made, real
from benchmarks.claims.one_picture import gradient
from benchmarks.claims.setting import WIDE, muted
from benchmarks.claims.spectral_pictures import draw_both, spectral_pictures
from benchmarks.claims.spiral_samplers import RESIDUE
from sdeflow.fields.exact import ExactField
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

SUBJECT, BROKEN = 0.0, 1.0  # share of the noise that is kept
NEEDS, SLOW = ("sklearn",), True
NAME = "distance to the nearest of three means / spread of a class"


def measure(lab: Lab, kept: float) -> Finding:
    """How near pictures made without noise, pictures of DDPM and data are to the means."""
    pictures = spectral_pictures()
    field, n = ExactField(WIDE, pictures), 600
    x0 = WIDE.prior(n, 64, lab.seed, torch.float64)
    solver = SDESolver("euler", 63, seed=lab.seed)
    blur = solver.solve(muted(field, kept), x0, 1).x[-1]
    sharp = solver.solve(ancestral(field), x0, 1).x[-1]
    data = pictures.noised(1.0, RESIDUE).sample(n, lab.seed)
    near, whole, typical = (
        torch.cdist(x, pictures.means).amin(1) / math.sqrt(float(pictures.covariances[0].trace()))
        for x in (blur, sharp, data)
    )
    low, high = typical.quantile(torch.tensor([0.25, 0.75]).double()).tolist()
    above = pictures.log_prob(blur) - pictures.log_prob(data)
    ours = {"real": real(lab.seed), "DDPM": made(lab, 1.0), "no noise": made(lab, kept)}
    seen = {name: look(x) for name, x in ours.items()}
    mean = gradient(class_means())
    return Finding(
        [
            Check(f"{NAME}, without noise, 99th percentile", near.quantile(0.99),
                  at_most(float(typical.min())), "nearest of 600 data"),
            Check(f"{NAME}, DDPM, median", whole.median(), between(low, high),
                  "the middle half of the data"),
            Check("digits: spread within a class, without noise / of real digits",
                  seen["no noise"].spread / seen["real"].spread, at_most(0.1), "a tenth"),
            Check("digits: the same of DDPM", seen["DDPM"].spread / seen["real"].spread,
                  between(0.8, 1.2), "that of the data, to a fifth"),
            Check("digits: distance to the class's mean, without noise / of real digits",
                  seen["no noise"].distance / seen["real"].distance, at_most(0.8), "nearer"),
            Check("digits: sharpness without noise / of real digits",
                  seen["no noise"].gradient / seen["real"].gradient, between(0.9, 1.1),
                  "that of the data, to a tenth: no blur"),
        ],
        notes={
            "digits: sharpness of the class means / of real digits": mean / seen["real"].gradient,
            "digits: sharpness of DDPM / of real digits":
                seen["DDPM"].gradient / seen["real"].gradient,
            f"{NAME}, without noise, mean": float(near.mean()),
            "the same of the data": float(typical.mean()),
            "the same of DDPM": float(whole.mean()),
            "log density above that of the data (nats)": float(above.mean()),
        },
        draw=lambda fig: draw_both(fig, {"data": data, "DDPM": sharp, "no noise": blur}, ours),
        size=(6.9, 1.6),
    )  # fmt: skip
