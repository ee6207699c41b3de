"""A network that is not told a tenth of the labels also learns the field of all classes.

Says: leave out the class "for a subset of our training examples" (000, 003).
Measured: the network's output for "no label" is compared with the exact field of all points; it
must be nearer to that field than the outputs for single classes are, so that one network gives
both fields that guidance needs.
Control: no label is left out in training.
Source: five networks of 1000 steps of `fit`; the output for "no label" must be nearer in each of
them, since a network that was never asked for it in training does not know it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Finding, Lab, at_most, below
from benchmarks.claims.class_networks import SEEDS, field_error, our_network
from benchmarks.claims.guided_classes import CLASSES, NONE
from benchmarks.claims.seed_intervals import mean_and_interval, with_interval
from benchmarks.claims.setting import exact

SUBJECT, CONTROL = 0.1, 0.0  # the share of labels left out in training
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
                "squared error of the output for no label, per coordinate of eps",
                float(mean),
                at_most(float(nearest.mean())),
                "the nearest output for a class",
            ),
            Check(
                "that error minus that of the nearest output for a class, worst network",
                float((null - nearest).max()),
                below(0.0),
                "nearer in each network",
            ),
        ],
        notes={"half of the 95 % interval of the error for no label": float(half)}
        | with_interval("error of the outputs for the classes, each of its own", own.mean(1)),
    )
