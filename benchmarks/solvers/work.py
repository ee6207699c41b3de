"""Measure the endpoint error of each solver at few calls of the field, and compare.

The error is the RMS distance per coordinate from the true end of the flow from the same start,
without the worst 1 % of the particles: those at a boundary between two modes dominate the plain
RMS, which is given too, and the share of particles that end in another mode than the true flow's.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.solvers.contender import Contender, Counted
from benchmarks.solvers.problems import PROBLEMS, Problem, problem
from benchmarks.solvers.rows import Job, Jobs, Row

CALLS = (6, 8, 10, 12, 15, 20)
SEEDS = 10
PARTICLES = 400

QUICK_PROBLEMS, QUICK_CALLS = tuple(PROBLEMS)[:6], (8, 20)


def jobs(
    contenders: Sequence[Contender],
    problems: Sequence[str],
    calls: Sequence[int],
    seeds: int,
    most_grids: int | None = None,
) -> Jobs:
    """Yield the rows to measure, problem by problem."""
    for name in problems:
        for budget in calls:
            for one in contenders:
                for grid in one.grids[:most_grids]:
                    job = Job("endpoint", name, budget, one.name, grid, seeds, one.version)
                    yield job, partial(measure, job, one)


class Truth(NamedTuple):
    """Starts (n, d), their true ends (n, d), and the RMS error of these."""

    start: Tensor
    end: Tensor
    off: float


_truths: dict[tuple[str, int], Truth] = {}


def truth(p: Problem, seeds: int) -> Truth:
    """The clouds of all seeds, one after the other."""
    if (p.name, seeds) not in _truths:
        x = torch.cat([p.start(PARTICLES, seed) for seed in range(seeds)])
        end = p.end(x)
        off = float((p.end(x, 300) - end).square().mean().sqrt())
        _truths[p.name, seeds] = Truth(x, end, off)
    return _truths[p.name, seeds]


def measure(job: Job, one: Contender) -> Row:
    """Measure the row of one job; a solver that fails gives a gap and the reason."""
    p = problem(job.problem)
    x, end, off = truth(p, job.seeds)
    field = Counted(p.field.process, p.field, [0])
    about, begun = one.about, time.process_time()
    try:
        sde = one.sde(p, field, job.calls)
        times = one.times(p, sde, job.grid, job.calls)
        made = time.process_time()
        got = one.solve(sde, x, times, 0)
    except (ArithmeticError, ValueError, RuntimeError) as error:
        return {**about, "failed": f"{type(error).__name__}: {error}", "errors": []}
    if not bool(got.isfinite().all()):
        return {**about, "failed": "the end is not finite", "errors": []}
    square = (got - end).square().mean(1).view(job.seeds, -1)
    kept = square.sort(1).values[:, : int(0.99 * PARTICLES)]
    return {
        **about,
        "counted": field.asked[0] / len(x),
        "errors": rounded(kept.mean(1).sqrt()),
        "rms": rounded(square.mean(1).sqrt()),
        "flipped": float(p.other_mode(got, end).double().mean()),
        "truth error": off,
        "cpu s": round(time.process_time() - made, 4),
        "cpu s to prepare": round(made - begun, 4),
    }


def rounded(values: Tensor) -> list[float]:
    """Round to four significant digits."""
    return [float(f"{value:.4g}") for value in values.tolist()]


# ------------------------------------------------------------------------------- comparing


class Point(NamedTuple):
    """The error of a solver at a number of calls, over the seeds; NaN where it failed."""

    typical: float
    median: float
    quartiles: tuple[float, float]
    resolved: bool


def point(row: Row) -> Point:
    """The geometric mean, median and quartiles, and whether they exceed 10 errors of the truth."""
    errors = [max(float(e), 1e-300) for e in row["errors"]]  # type: ignore[attr-defined]
    if not errors:
        return Point(math.nan, math.nan, (math.nan, math.nan), False)
    typical = geometric(errors)
    low, median, high = statistics.quantiles(errors, n=4) if len(errors) > 1 else errors * 3
    return Point(typical, median, (low, high), typical > 10 * float(str(row["truth error"])))


def errors(rows: list[Row], problem_: str) -> list[Row]:
    """The median error of each solver on its own grid, a column for each number of calls."""
    here = [r for r in rows if r["problem"] == problem_ and r["grid"] == r["own grid"]]
    table: dict[object, Row] = {}
    for row in here:
        line = table.setdefault(row["solver"], {"solver": row["solver"], "grid": row["grid"]})
        line[f"{row['calls']} calls"] = point(row).median
    return list(table.values())


class Ratio(NamedTuple):
    """The ratios of a solver's error to those of peers, and the best peer on any grid."""

    to_own: float
    to_best: float
    to_unipc: float
    best: str
    flipped: float
    flipped_best: float


def ratios(rows: list[Row], name: str) -> dict[tuple[str, int], Ratio]:
    """The ratios for each problem and number of calls; a user's solvers are not peers."""
    out = {}
    for cell in dict.fromkeys((str(r["problem"]), int(str(r["calls"]))) for r in rows):
        here = [r for r in rows if (r["problem"], r["calls"]) == cell and r["errors"]]
        mine = min((r for r in here if r["solver"] == name), key=_error, default=None)
        peers = [r for r in here if not r["ours"] and not r["version"] and r["solver"] != name]
        if mine is None or not peers:
            continue
        error, best = _error(mine), min(peers, key=_error)
        alone = min((_error(r) for r in peers if r["grid"] == r["own grid"]), default=math.nan)
        uni = [_error(r) for r in peers if (r["solver"], r["grid"]) == ("UniPC 2", "log SNR")]
        out[cell] = Ratio(
            error / alone, error / _error(best), error / uni[0] if uni else math.nan,
            f"{best['solver']}, {best['grid']}",
            float(str(mine["flipped"])), float(str(best["flipped"])),
        )  # fmt: skip
    return out


def _error(row: Row) -> float:
    return point(row).typical


def geometric(values: Sequence[float]) -> float:
    """The geometric mean; NaN without values."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def summary(rows: list[Row], names: Sequence[str] = ()) -> list[Row]:
    """Geometric means over calls and problems, of ours and of the solvers named; without the
    Gaussian, for which multistep is exact."""
    out: list[Row] = []
    for name in [*dict.fromkeys(str(r["solver"]) for r in rows if r["ours"]), *names]:
        cells = {c: r for c, r in ratios(rows, name).items() if c[0] != "gaussian"}
        if not cells:
            continue
        worst = max(cells, key=lambda cell: cells[cell].to_best)
        out.append(
            {
                "solver": name,
                "/ best peer, its own grid": geometric([r.to_own for r in cells.values()]),
                "/ best peer, any grid": geometric([r.to_best for r in cells.values()]),
                "/ UniPC 2, its own grid": geometric([r.to_unipc for r in cells.values()]),
                "worst / best peer": cells[worst].to_best,
                "where": f"{worst[0]}, {worst[1]} calls",
            }
        )
    return out
