"""A label may be added, appended or attended to: in each way the network learns its classes.

Says: the class goes in by "cross-attention", or one can "add or append" it (000, 003).
Measured: three networks get the label in three ways, and the errors of their noise against the
exact fields of the classes are compared with the best that is possible without labels; a smaller
error means that the label is used.
Control: 99.9 % of the labels are left out in training.
Source: one network, one budget of 1000 steps of `fit`, three ways in. Without the label no network
does better than the exact field of all points; each way must beat its error by four standard
errors.
"""

from __future__ import annotations

import math

from benchmarks.claims.claim import Check, Finding, Lab, below
from benchmarks.claims.class_networks import field_error, our_network
from benchmarks.claims.guided_classes import CLASSES, NAMES, Known, class_clouds, judged
from benchmarks.claims.setting import SURE, exact
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import How

SUBJECT, CONTROL = 0.1, 0.999  # the share of labels left out in training
SLOW = True
WAYS: tuple[How, ...] = ("add", "append", "attend")


def _error(field: Known, seed: int) -> tuple[float, float]:
    """The mean error over the classes; the field of all points may stand for each of them."""
    mine = [field.given(k) if isinstance(field, LearnedField) else field for k in CLASSES]
    rows = [field_error(f, exact().given(k), seed) for k, f in enumerate(mine)]
    return sum(m for m, _ in rows) / 3, math.hypot(*(e for _, e in rows)) / 3


def measure(lab: Lab, drop: float) -> Finding:
    """The error of each way in, compared with that of the best field without labels."""
    learned = {how: our_network(lab, how, drop) for how in WAYS}
    found = {how: _error(field, lab.seed) for how, field in learned.items()}
    blind, doubt = _error(exact(), lab.seed)
    right = {how: judged(class_clouds(f, 1.0, lab.seed))[:, 0] for how, f in learned.items()}
    return Finding(
        [
            Check(
                f"{how}: squared error of eps, per coordinate",
                error,
                below(blind - SURE * doubt - SURE * own),
                "the best without labels, less four standard errors of both",
            )
            for how, (error, own) in found.items()
        ],
        notes={
            "squared error of the best field without labels": blind,
            "standard error of that": doubt,
        }
        | {f"{how}: standard error": own for how, (_, own) in found.items()}
        | {
            f"{how}: accuracy of {name}": float(a)
            for how, row in right.items()
            for name, a in zip(NAMES, row, strict=True)
        },
    )
