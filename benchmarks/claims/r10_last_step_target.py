"""Taught to undo one step, the same network with the same budget has a field three times as wrong.

Says: the naive way, to predict the last step, "does not work well" (000).
Measured: one network learns the last step of the walk and another the whole walk; the ratio of
their mean square errors against the exact field says how much worse the naive target is.
Control: the naive network is taught from all steps, too.
Source: docs/sources.md, N10; mean square error of eps over the steps of the walk, three seeds, 500
updates with all 100 points, as in the lecture. The targets have the same mean (R11) but not the
same variance (R12), so larger batches help the naive way most: with 512 points and 1000 updates
the ratio was 3.3 over six networks, and 1.9 to 5.3 for single ones.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.claims.claim import Check, Finding, Lab, at_least
from benchmarks.claims.random_walk import WALK, all_steps, one_step
from benchmarks.claims.setting import exact, lecture_network
from sdeflow import training
from sdeflow.fields.learned import LearnedField

SUBJECT, CONTROL = one_step, all_steps  # how the network is trained
SLOW = True


def measure(lab: Lab, train: Callable[[int], LearnedField]) -> Finding:
    """The mean square error of the field taught one step, over that taught all steps."""
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
        notes={
            "mean square error, taught from one step": naive,
            "mean square error, taught from all steps": whole,
        },
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
