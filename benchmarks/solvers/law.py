"""Measure the error in law of stochastic solvers: sliced W2 of their cloud to fresh exact data.

The floor is the same distance between two exact clouds. Two solvers tie where the intervals of
their means over the seeds overlap.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.contender import Contender, Counted
from benchmarks.solvers.contenders import NOISY
from benchmarks.solvers.problems import PROBLEMS, PROCESS, problem
from benchmarks.solvers.work import Job, Row

CALLS = (10, 20)
SEEDS = 10
PARTICLES = 10_000
SLICES = 32
GRIDS = ("Karras", "log SNR", "angle 2")


@cache
def fresh(name: str, seed: int) -> Tensor:
    """Exact data at t_min, (n, d)."""
    p, n = problem(name), PARTICLES
    noise = torch.randn(n, p.data.dim, generator=torch.Generator().manual_seed(seed)).double()
    return p.data.sample(n, 177_000 + seed).double() + PROCESS.t_min * noise


def jobs(quick: bool) -> Iterator[tuple[Job, Contender]]:
    """What is to be measured, in order."""
    for name in list(PROBLEMS)[:2] if quick else list(PROBLEMS):
        if name.endswith("network"):  # its law is not known
            continue
        for calls in CALLS:
            for one in NOISY:
                grids = [g for g in one.grids if one.ours or g in GRIDS]
                for grid in grids[: 1 if quick else None]:
                    for seed in range(2 if quick else SEEDS):
                        yield Job(name, calls, one.name, grid, seed), one


def measure(job: Job, one: Contender) -> Row:
    """The row of one job."""
    p, asked = problem(job.problem), [0]
    field = Counted(p.field.process, p.field, asked)
    sde = one.sde(p, field, job.calls)
    times = one.times(p, sde, job.grid, job.calls)
    end = one.solve(sde, p.start(PARTICLES, job.seed), times, job.seed)
    exact, other = fresh(job.problem, job.seed), fresh(job.problem, job.seed + 1000)
    return {
        **job._asdict(),
        "counted": asked[0] / len(end),
        "sliced W2": sf.diagnostics.sliced_wasserstein(end, exact, SLICES, seed=job.seed),
        "floor": sf.diagnostics.sliced_wasserstein(other, exact, SLICES, seed=job.seed),
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Two standard errors around the mean."""
    mean = statistics.fmean(values)
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return mean - 2 * error, mean + 2 * error


def summary(rows: list[Row]) -> list[Row]:
    """For each problem and calls: ours, the best peer on any grid, and whether ours ties."""
    out: list[Row] = []
    for name, calls in dict.fromkeys((r["problem"], r["calls"]) for r in rows):
        here = [r for r in rows if (r["problem"], r["calls"]) == (name, calls)]
        runs: dict[tuple[str, str], list[float]] = {}
        for r in here:
            runs.setdefault((str(r["solver"]), str(r["grid"])), []).append(
                float(str(r["sliced W2"]))
            )
        best, values = min(
            ((k, v) for k, v in runs.items() if not k[0].startswith("multistep")),
            key=lambda pair: statistics.fmean(pair[1]),
        )
        mine = runs["multistep, eta 0.5", "own"]
        out.append(
            {
                "problem": name,
                "calls": calls,
                "floor": statistics.fmean(float(str(r["floor"])) for r in here),
                "eta 0.5": statistics.fmean(mine),
                "eta 1": statistics.fmean(runs["multistep, eta 1", "own"]),
                "best peer": statistics.fmean(values),
                "which": ", ".join(best),
                "at least a tie": interval(mine)[0] <= interval(values)[1],
            }
        )
    return out
