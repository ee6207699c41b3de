"""Taught to undo one step, the same net with the same budget has a field three times as wrong.

Says: the naive way, to predict the last step, "does not work well" (000).
Source: docs/sources.md, N10; mean square error of eps over the steps of the walk, three seeds,
500 updates with all 100 points, as in the lecture. The targets have one mean (R11), but not
one variance (R12); so larger batches help the naive way most: with 512 points and 1000 updates
the ratio was 3.3 over six nets, 1.9 to 5.3 one by one.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.claims.claim import Check, Finding, Lab, at_least
from benchmarks.claims.random_walk import WALK, all_steps, one_step
from benchmarks.claims.setting import exact, lecture_network
from sdeflow import training
from sdeflow.fields.learned import LearnedField

SUBJECT, BROKEN = one_step, all_steps  # how the network is trained
SLOW = True


def measure(lab: Lab, train: Callable[[int], LearnedField]) -> Finding:
    """Mean square error of the network's field, beside that of one taught from all steps."""
    naive, whole = _error(lab, train), _error(lab, all_steps)
    return Finding(
        [
            Check(
                "mean square error of the field, one step / all steps",
                naive / whole,
                at_least(3.0),
                "asked for",
            )
        ],
        notes={"taught from one step": naive, "taught from all steps": whole},
    )


def _error(lab: Lab, train: Callable[[int], LearnedField]) -> float:
    """Mean square error of eps over the walk's steps, mean of three networks."""
    total = 0.0
    for i in range(3):
        field = lab.trained(f"walk-{train.__name__}", train, i, lecture_network(WALK))
        loss = training.loss_decomposition(field, exact(WALK), levels=24, n=1000, seed=lab.seed)
        share = loss.t**2 / (loss.t**2).sum()  # of the steps n = (sigma / step)^2
        total += float((share * loss.excess).sum()) / 3
    return total
