"""Train networks on the classes of the spiral: five of the lecture's, and ours.

Claims on guidance measure the exact fields and these networks: the first show what is true of
guidance, the second what it repairs in a network. Each network is trained with five seeds, and its
numbers are means over them with a 95 % interval (Student's t).
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
STEPS = 1000  # of `fit`


def classes_lecture(seed: int) -> LearnedField:
    """The lecture's network with classes, 256 levels from sigma 10."""
    return lecture_field(seed, WIDE, 30_000, 256, classes=3)


def lecture_networks(lab: Lab, process: VE = WIDE) -> list[LearnedField]:
    """The lecture's five networks; on another process, the same with its noise levels."""
    out = []
    for i in range(SEEDS):
        made = lab.trained("classes-lecture", classes_lecture, i, lecture_network(WIDE, 3))
        network = lecture_network(process, 3)
        network.load_state_dict(made.network.state_dict())
        out.append(LearnedField(process, network.eval()))
    return out


def our_network(lab: Lab, how: How = "add", drop: float = 0.1, offset: int = 0) -> LearnedField:
    """Our network with classes, trained for a short time."""

    def make(seed: int) -> LearnedField:
        return our_field(seed, steps=STEPS, classes=True, how=how, drop=drop)

    return lab.trained(f"classes-{how}-{drop:g}", make, offset)


def field_error(field: Field, truth: ExactField, seed: int) -> tuple[float, float]:
    """The mean square difference of eps_hat from that of the true field, and its standard error.

    Per coordinate, at noised draws of the true field's data, over 24 levels even in log SNR.
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
