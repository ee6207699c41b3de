"""Measure the endpoint error of each solver at few calls of the field, and compare.

The error is the RMS distance per coordinate to the true end of the flow from the same start,
without the worst 1 % of the particles (those at a boundary between two ends decide a plain RMS,
which is given too), and the share of particles that end nearer to another particle's mode.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.solvers.contender import Contender, Counted
from benchmarks.solvers.contenders import FLOWS
from benchmarks.solvers.problems import PROBLEMS, Problem, problem

CALLS = (6, 8, 10, 12, 15, 20)
SEEDS = 10
PARTICLES = 400

Row = dict[str, object]


class Job(NamedTuple):
    """One number of the comparison."""

    problem: str
    calls: int
    solver: str
    grid: str
    seed: int


def jobs(quick: bool) -> Iterator[tuple[Job, Contender]]:
    """What is to be measured, in order."""
    names = list(PROBLEMS)[:6] if quick else list(PROBLEMS)
    for name in names:
        for calls in (8, 20) if quick else CALLS:
            for one in FLOWS:
                if calls % one.stages:
                    continue
                for grid in one.grids[: 2 if quick else None]:
                    for seed in range(1 if quick else SEEDS):
                        yield Job(name, calls, one.name, grid, seed), one


_truths: dict[tuple[str, int], tuple[Tensor, Tensor, float]] = {}


def truth(p: Problem, seed: int) -> tuple[Tensor, Tensor, float]:
    """Starts (n, d), their true ends, and the RMS error of these."""
    if (p.name, seed) not in _truths:
        x = p.start(PARTICLES, seed)
        end = p.end(x)
        off = float((p.end(x, 300) - end).square().mean().sqrt())
        _truths[p.name, seed] = x, end, off
    return _truths[p.name, seed]


def measure(job: Job, one: Contender) -> Row:
    """The row of one job."""
    p = problem(job.problem)
    x, end, off = truth(p, job.seed)
    asked = [0]
    field = Counted(p.field.process, p.field, asked)
    sde = one.sde(p, field, job.calls)
    times, started = one.times(p, sde, job.grid, job.calls), time.process_time()
    got = one.solve(sde, x, times, job.seed)
    spent = time.process_time() - started
    square = (got - end).square().mean(1)
    kept = square.sort().values[: int(0.99 * len(square))]
    return {
        **job._asdict(),
        "counted": asked[0] / len(x),
        "error": float(kept.mean().sqrt()) if bool(kept.isfinite().all()) else math.inf,
        "rms": float(square.mean().sqrt()),
        "flipped": float((square > 0.25 * p.spread.std**2).double().mean()),
        "truth error": off,
        "cpu s": spent,
    }


def typical(rows: list[Row], **where: object) -> float:
    """The geometric mean over the seeds of the error of these rows; NaN without any."""
    found = [
        float(row["error"]) for row in rows if all(row[k] == v for k, v in where.items())
    ]  # fmt: skip
    if not found:
        return math.nan
    return math.exp(statistics.fmean(math.log(max(e, 1e-300)) for e in found))


class Ratio(NamedTuple):
    """Of one of our solvers to others, per problem and calls."""

    to_own: float
    to_best: float
    to_unipc: float


def ratios(rows: list[Row], name: str) -> dict[tuple[str, int], Ratio]:
    """The error of our solver over that of the best peer: on its own grid, on any, and UniPC's."""
    peers = [one for one in FLOWS if not one.ours]
    pairs = dict.fromkeys((str(r["problem"]), int(str(r["calls"]))) for r in rows)
    out = {}
    for problem_, calls in pairs:
        here = [r for r in rows if r["problem"] == problem_ and r["calls"] == calls]
        mine = typical(here, solver=name)
        own = [typical(here, solver=p.name, grid=p.grids[0]) for p in peers]
        every = [typical(here, solver=p.name, grid=g) for p in peers for g in p.grids]
        uni = typical(here, solver="UniPC 2", grid="log SNR")
        least, best = (min(v for v in vs if not math.isnan(v)) for vs in (own, every))
        out[problem_, calls] = Ratio(mine / least, mine / best, mine / uni)
    return out


def geometric(values: list[float]) -> float:
    """The geometric mean."""
    return math.exp(statistics.fmean(math.log(v) for v in values))


def summary(rows: list[Row]) -> list[Row]:
    """The geometric means over problems and calls, of which the data are not Gaussian."""
    out: list[Row] = []
    for one in FLOWS:
        if one.ours:
            found = [r for (p, _), r in ratios(rows, one.name).items() if p != "gaussian"]
            out.append(
                {
                    "solver": one.name,
                    "/ best peer, own grid": geometric([r.to_own for r in found]),
                    "/ best peer, any grid": geometric([r.to_best for r in found]),
                    "/ UniPC 2, own grid": geometric([r.to_unipc for r in found]),
                    "worst / best peer": max(r.to_best for r in found),
                }
            )
    return out


def run(quick: bool, done: dict[Job, Row], keep: object) -> list[Row]:
    """Measure what is not done yet, and hand each row to `keep`."""
    torch.set_num_threads(1)
    rows = []
    for job, one in jobs(quick):
        row = done.get(job)
        if row is None:
            row = measure(job, one)
            assert callable(keep)
            keep(row)
        rows.append(row)
    return rows
