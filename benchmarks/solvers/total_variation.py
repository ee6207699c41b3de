"""Measure the total variation between a sampler's density and the exact one, without particles.

If a step depends on the last state alone, the density of a sampler's particles can be computed
(`sampler_density`), and the total variation to the exact density has no sampling noise. Every row
states its numerical error; a row is solid if that is at most a tenth of the value. A sampler that
uses earlier steps, or leaves the grid, gives a gap and the reason.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import sdeflow as sf
from benchmarks.solvers.contender import grids
from benchmarks.solvers.law import CALLS, rounded
from benchmarks.solvers.problems import PROCESS, Problem, problem
from benchmarks.solvers.rows import Job, Jobs, Row
from sdeflow.density import Density
from sdeflow.fokker_planck import REFUSE, Rescaling
from sdeflow.sdes.sde import SDE

GRIDS = ("Karras", "log SNR", "angle 2")
Make = Callable[[Problem], SDE]

CHAINS: dict[str, Make] = {
    "DDIM": lambda p: sf.ancestral(p.field, 0.0),
    "DDIM, eta 0.5": lambda p: sf.ancestral(p.field, 0.5),
    "DDPM": lambda p: sf.ancestral(p.field, 1.0),
    "Euler-Maruyama, eta 0.5": lambda p: sf.reverse(p.field, 0.5),
    "Euler-Maruyama": lambda p: sf.reverse(p.field, 1.0),
    "multistep, eta 0.5": lambda p: sf.multistep(p.field, 0.5, spread=p.spread),
}

CELLS = {
    "gaussian": 128,
    "two modes": 192,
    "eight modes": 256,
    "stiff": 512,
    "squeezed": 512,
    "checkerboard": 256,
    "moons": 256,
    "spiral": 512,
}
"""Cells along each axis of the grid of a problem, which is 10 standard deviations wide."""

# Steps without noise make negative masses near narrow modes. They are set to zero, which the
# error estimate contains.
LIMITS = replace(REFUSE, negative_mass=1e-2)
RESCALING = Rescaling(PROCESS, 1.0)


def jobs(
    quick: bool, problems: Sequence[str] | None = None, calls: Sequence[int] | None = None
) -> Jobs:
    """Yield the rows to measure, in order."""
    names = list(CELLS)[1:3] if quick else list(CELLS)
    for name in names if problems is None else [p for p in problems if p in CELLS]:
        for k in calls or (CALLS[:1] if quick else CALLS):
            for solver, make in CHAINS.items():
                for grid in GRIDS[:1] if quick else GRIDS:
                    job = Job("total variation", name, k, solver, grid)
                    yield job, partial(measure, job, make)


@lru_cache(maxsize=1)
def start(name: str, cells: int) -> Density:
    """The exact density at t_max."""
    half = 5 * RESCALING(PROCESS.t_max)
    return problem(name).data.on_grid(sf.Grid(-half, half, (cells, cells)), 1.0, PROCESS.t_max)


def measure(job: Job, make: Make) -> Row:
    """Measure the row of one job; each call is a step."""
    p, cells, started = problem(job.problem), CELLS[job.problem], time.process_time()
    row: Row = {**job._asdict(), "cells": cells}
    times = grids(p)[job.grid](job.calls)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the row states the error
            end = sf.fokker_planck.sampler_density(
                make(p), start(job.problem, cells), times, rescaling=RESCALING, refuse=LIMITS
            )[-1]
    except (ValueError, RuntimeError) as error:
        return {**row, "gap": str(error)}
    found = end.total_variation(p.data.on_grid(end.grid, 1.0, PROCESS.t_min))
    assert end.error is not None
    return {
        **row,
        "total variation": rounded(found),
        "error": rounded(end.error),
        "solid": 10 * end.error <= found,
        "cpu s": rounded(time.process_time() - started),
    }


def summary(rows: list[Row]) -> list[Row]:
    """The total variation of each sampler on its best grid, by problem and number of calls."""
    known = [row for row in rows if "total variation" in row]
    out: list[Row] = []
    for name, calls in dict.fromkeys((row["problem"], row["calls"]) for row in known):
        line: Row = {"problem": name, "calls": calls}
        for solver in CHAINS:
            here = [
                (float(str(row["total variation"])), float(str(row["error"])), str(row["grid"]))
                for row in known
                if (row["problem"], row["calls"], row["solver"]) == (name, calls, solver)
            ]
            best = min(here, default=None)
            line[solver] = f"{best[0]:.4f} +- {best[1]:.4f}, {best[2]}" if best else "gap"
        out.append(line)
    return out
