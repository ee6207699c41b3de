"""The networks that were told the classes of the spiral: the lecture's, five of them, and ours.

Fields of classes are asked twice: the exact ones say what is true of guidance, the lecture's
networks what it mends in them. A network is trained with five seeds, and a number of it comes with
the 95 % interval of its mean over them (Student's t).
"""

from __future__ import annotations

import math

import torch

from benchmarks.claims.claim import Lab
from benchmarks.claims.setting import WIDE, lecture_field, lecture_network, our_field
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import How
from sdeflow.processes.schedules import VE

SEEDS = 5
STEPS = 1000  # of `fit`, a short budget


def classes_lecture(seed: int) -> LearnedField:
    """The lecture's network with classes, 256 levels from sigma 10."""
    return lecture_field(seed, WIDE, 30_000, 256, classes=3)


def lecture_networks(lab: Lab, process: VE = WIDE) -> list[LearnedField]:
    """Five of them; for another process, the same networks started from other noise."""
    out = []
    for i in range(SEEDS):
        made = lab.trained("classes-lecture", classes_lecture, i, lecture_network(WIDE, 3))
        network = lecture_network(process, 3)
        network.load_state_dict(made.network.state_dict())
        out.append(LearnedField(process, network.eval()))
    return out


def our_network(lab: Lab, how: How = "add", drop: float = 0.1, offset: int = 0) -> LearnedField:
    """Our network with classes, on a short budget."""

    def make(seed: int) -> LearnedField:
        return our_field(seed, steps=STEPS, classes=True, how=how, drop=drop)

    return lab.trained(f"classes-{how}-{drop:g}", make, offset)


def field_error(field: Field, truth: ExactField, seed: int) -> tuple[float, float]:
    """E |eps_hat - eps_hat of the truth|^2 per coordinate at the truth's own x_t, over 24 levels
    even in log SNR; and its standard error.
    """
    x0 = truth.sample(1000, seed).double()
    eps = WIDE.prior(len(x0), 2, seed, torch.float64) / WIDE.sigma_max
    levels = torch.logspace(-2, 1, 24, dtype=torch.float64)
    with torch.no_grad():
        off = [
            field.noise(x0 + s * eps, t) - truth.noise(x0 + s * eps, t)
            for s, t in zip(levels, WIDE.time_of(levels), strict=True)
        ]
    each = (torch.stack(off) ** 2).mean((0, 2))
    return float(each.mean()), float(each.std()) / math.sqrt(len(x0))
