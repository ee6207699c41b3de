"""Write the tests of a run's samples as Markdown, and as numbers."""

from __future__ import annotations

import math

from sdeflow._wording import markdown_table
from sdeflow.experiment.problem import Problem
from sdeflow.experiment.sample_tests import SampleTests


def report(found: SampleTests, problem: Problem, seconds: float) -> str:
    """The report of a check without a grid, as Markdown."""
    told = markdown(found)
    return f"### {problem.config.data}: the check\n\n{told}\n\nTime: {seconds:.0f} s.\n"


def markdown(found: SampleTests) -> str:
    """The tests as Markdown."""
    rows = []
    for part in found.parts:
        row = [part.name, part.n, part.held_out]
        row.append(f"{part.martingale.p_value:.2g}" if part.martingale else "too few")
        row += [f"{p:.2g}" for p in part.two_sample.values()] or ["too few"] * 3
        row += ["{:.3f} ({:.3f} +- {:.3f})".format(*v) for v in part.distances.values()]
        rows.append(row)
    headers = [
        "class", "samples", "held out", "p, martingale", "p, chi-square", "p, characteristic",
        "p, lines",
        "W2 (floor)", "sliced W2 (floor)",
    ]  # fmt: skip
    learned = (
        "No rows were held out (--held-out), so that samples are compared with the data that were "
        "learned: the tests do not find copies. "
        if found.learned_too
        else ""
    )
    obeyed = "obey" if found.passed() else "DO NOT obey"
    return (
        f"Particles {obeyed} the reverse SDE of the learned field: the martingale test follows "
        f"{found.steps} steps of Heun's method down to noise level {found.noise_level:.3g}. "
        f"Samples of `sdeflow sample` and held-out data {found.said()}; a difference is an error "
        f"of the network. {learned}Distances are in data std ({found.units}); their sampling "
        "floor is that of learned data in place of samples.\n\n" + markdown_table(headers, rows)
    )


def numbers(found: SampleTests) -> dict[str, object]:
    """The tests as numbers for JSON."""
    return {
        "units": found.units,
        "obeys": found.passed(),
        "two_sample_p_value": found.p_value(),
        "noise_level": found.noise_level,
        "steps": found.steps,
        "learned": found.learned_too,
        "parts": [
            {
                "class": part.name, "samples": part.n, "held_out": part.held_out,
                "martingale": part.martingale.p_value if part.martingale else math.nan,
                "two_sample": part.two_sample,
                "distances": {name: list(v) for name, v in part.distances.items()},
            }
            for part in found.parts
        ],
    }  # fmt: skip
