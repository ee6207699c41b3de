"""Measure the order of every method, and state why some orders are not as declared."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.solvers.order import STEPS
from benchmarks.solvers.order_methods import Trial, trials
from benchmarks.solvers.rows import Job, Jobs, Row

START = "its first steps are of lower order; see the row with a far start"
LAST_STEP = "its last step is of order 1; see the row with a last step of its order"
EQUAL = "its weights are those of equal steps, which these are not in its time"
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
"""Why an order is not as declared; each cause was found by a run without it."""


def measure(trial: Trial, quick: bool = False) -> Row:
    """Measure the row of one method."""
    torch.set_num_threads(1)
    steps = STEPS[trial.kind]
    return {"package": trial.package, **trial.run(steps[:-1] if quick else steps).row}


def jobs(quick: bool = False) -> Jobs:
    """Yield the rows to measure, in order."""
    for trial in trials():
        yield Job("order", "", 0, trial.name, trial.kind), partial(measure, trial, quick)


def lines(rows: list[Row]) -> list[Row]:
    """The columns of the table of orders, with the cause of an order that is not as declared."""
    out: list[Row] = []
    for row in rows:
        window = row["window"]
        assert isinstance(window, list)
        fitted = "-" if row["fitted"] is None else f"{row['fitted']:.2f} +- {row['doubt']:.2f}"
        out.append(
            {
                "order": row["kind"],
                "method": row["name"],
                "problem": row["on"],
                "declared": row["declared"],
                "fitted": fitted,
                "steps": f"{window[0]} to {window[-1]}" if window else "-",
                "calls a step": row["per_step"],
                "calls": "as counted" if row["calls_as_counted"] else "NOT as counted",
                "verdict": row["verdict"],
                "cause": ""
                if row["verdict"] == "as declared"
                else CAUSES.get(str(row["name"]), ""),
            }
        )
    return out
