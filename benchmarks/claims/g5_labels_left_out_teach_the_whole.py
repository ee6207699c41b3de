"""A network that was not told a tenth of the labels also knows the field of all classes.

Says: leave out the class "for a subset of our training examples" (000, 003).
Source: the output for "no label" against the exact field of all points, five networks of 1000
steps of `fit`; in each of them it must be nearer to it than the outputs for a class are: what
was never asked for in training is not. `drop` is the share of labels left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_most, below
from benchmarks.claims.class_networks import SEEDS, field_error, our_network
from benchmarks.claims.guided_classes import CLASSES, NONE
from benchmarks.claims.seed_intervals import mean_and_interval, with_interval
from benchmarks.claims.setting import exact

SUBJECT, BROKEN = 0.1, 0.0  # the share of labels left out in training
SLOW = True


def _errors(lab: Lab, drop: float) -> tuple[Tensor, Tensor, Tensor]:
    """For each network: of no label (5,), of each class as that of all points (5, 3) and as its
    own (5, 3).
    """
    whole, seed = exact(), lab.seed
    learned = [our_network(lab, "add", drop, i) for i in range(SEEDS)]
    none = [field_error(f.given(NONE), whole, seed)[0] for f in learned]
    asked = [[field_error(f.given(k), whole, seed)[0] for k in CLASSES] for f in learned]
    own = [[field_error(f.given(k), whole.given(k), seed)[0] for k in CLASSES] for f in learned]
    return (
        torch.tensor(none).double(),
        torch.tensor(asked).double(),
        torch.tensor(own).double(),
    )


def measure(lab: Lab, drop: float) -> Finding:
    """The errors of the outputs for no label and for a class, against the field of all points."""
    null, others, own = _errors(lab, drop)
    nearest = others.amin(1)
    mean, half = mean_and_interval(null)
    return Finding(
        [
            Check(
                "error of the output for no label, squared, of eps per coordinate",
                float(mean),
                at_most(float(nearest.mean())),
                "the nearest of the outputs for a class",
            ),
            Check(
                "that error less the nearest of the outputs for a class, in the worst network",
                float((null - nearest).max()),
                below(0.0),
                "no label is nearer in each network",
            ),
        ],
        notes={"half of the 95 % interval of the error for no label": float(half)}
        | with_interval("error of the outputs for the classes, each of its own", own.mean(1)),
    )
