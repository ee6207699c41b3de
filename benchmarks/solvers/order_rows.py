"""Measure the order of every method, a row each, and say why one does not come out."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.solvers.order import STEPS
from benchmarks.solvers.order_methods import Trial, trials
from benchmarks.solvers.rows import Job, Jobs, Row

START = "its first steps are of lower order; see the row with a far start"
LAST_STEP = "its last step is of order 1; see the row with a last step of its order"
EQUAL = "its weights are those of equal steps, which these are not in its clock"
THIRD = "diffusers takes half of the second derivative; with all of it the fitted order is 3"
CAUSES = {
    "multistep 4": START,
    "multistep 3, corrector 4": START,
    "multistep 4, corrector 4": START,
    "DPM++ 3M": THIRD,
    "DPM++ 3M, far start": THIRD,
    "IPNDM": EQUAL,
    "IPNDM, far start": EQUAL,
    "REAB 2 (azula)": "the released factor has sigma at the wrong end; see the row at sigma 1",
    "UniPC 3": LAST_STEP,
    "multistep 3, eta 1": "two terms of its error cancel near 64 steps; beyond 256 its order is 2",
    "UniPC 3, far start": LAST_STEP,
    "SDE-DPM++ 3M": "diffusers' weight of the second derivative is -1 for small steps and not 0",
}
"""Why an order does not come out, each found by a run without the cause."""


def measure(trial: Trial, quick: bool = False) -> Row:
    """The row of one method."""
    torch.set_num_threads(1)
    steps = STEPS[trial.kind]
    found = trial.run(steps[:-1] if quick else steps)
    cause = "" if found.verdict == "as declared" else CAUSES.get(trial.name, "")
    return {"package": trial.package, **found.row, "cause": cause}


def jobs(quick: bool = False) -> Jobs:
    """What is to be measured, in order."""
    for trial in trials():
        yield Job("order", "", 0, trial.name, trial.kind), partial(measure, trial, quick)
