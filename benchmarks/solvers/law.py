"""Measure the distance between the distribution of a sampler's particles and exact data.

A row has one sampler on one problem, time grid and number of calls, and for each seed the
distances between its cloud and an exact cloud of as many particles. The row of the sampler EXACT
is the sampling floor, the same distances between two exact clouds. All seeds run as one cloud of
independent particles, of which each is a block; WHOLE is the distance of the whole cloud, whose
floor is lower. Every sampler has the same starts and the same exact clouds.

The floor of W2 and sliced W2 decreases as n^(-1/2) for connected data, but as n^(-1/4) for
separate modes, because surplus particles of one mode must move to another.

Two samplers tie if the 95 % confidence intervals of their means overlap. The best peer is chosen
by its result, so that at the floor it is the luckiest of some fifty. The distribution of a
network's samples is not known, so that its problems have no rows.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from scipy.stats import t
from torch import Tensor

import sdeflow as sf
from benchmarks.solvers.contender import Contender, Counted
from benchmarks.solvers.contenders import FLOWS, NOISY
from benchmarks.solvers.problems import PROBLEMS, PROCESS, problem
from benchmarks.solvers.rows import Job, Jobs, Row

CALLS = (10, 20)
SEEDS = 10
PARTICLES = 10_000
FEWER = 4_000
EXPENSIVE = ("moons", "mixture, d 64")
GRIDS = ("log SNR", "angle 2")
EXACT = "exact data"
WHOLE = "sliced W2, all seeds"


class Distance(NamedTuple):
    """A distance between the first `most` particles of two clouds."""

    of: Callable[[Tensor, Tensor], float]
    most: int


DISTANCES = {
    "sliced W2": Distance(lambda x, y: sf.diagnostics.sliced_wasserstein(x, y, 32), PARTICLES),
    "energy": Distance(sf.diagnostics.energy_distance, 500),
    "W2": Distance(sf.wasserstein, 300),
}


def jobs(
    quick: bool,
    noisy: Sequence[Contender] = tuple(NOISY),
    problems: Sequence[str] | None = None,
    calls: Sequence[int] | None = None,
) -> Jobs:
    """Yield the rows to measure, in order; of solvers without noise only ours."""
    known = [name for name in PROBLEMS if not name.endswith("network")]
    names = known[1:3] if quick else known
    for name in names if problems is None else [p for p in problems if p in known]:
        job = Job("law", name, 0, EXACT, "none", SEEDS)
        yield job, partial(measure, job, None)
        for k in calls or (CALLS[:1] if quick else CALLS):
            for one in [*noisy, *(flow for flow in FLOWS if flow.ours)]:
                every = [g for g in one.grids if one.ours or g in (one.grids[0], *GRIDS)]
                for grid in every if one in noisy and not quick else every[:1]:
                    job = Job("law", name, k, one.name, grid, SEEDS, one.version)
                    yield job, partial(measure, job, one)


def particles(name: str) -> int:
    """The number of particles of one seed."""
    return min(PARTICLES, FEWER) if name in EXPENSIVE else PARTICLES


@lru_cache(maxsize=3)
def exact(name: str, n: int, seed: int) -> Tensor:
    """Exact data at t_min, (n, d)."""
    p = problem(name)
    noise = torch.randn(n, p.data.dim, generator=torch.Generator().manual_seed(seed)).double()
    return p.data.sample(n, 177_000 + seed).double() + PROCESS.t_min * noise


@lru_cache(maxsize=1)
def _start(name: str, n: int) -> Tensor:
    return problem(name).start(n, 10)  # 0 to 9 chose the recipe


def measure(job: Job, one: Contender | None) -> Row:
    """Measure the row of one job; a solver that fails gives a gap and the reason."""
    n = particles(job.problem)
    row: Row = {**job._asdict(), "particles": n}
    if one is not None:
        row |= {**one.about, "noisy": one.name not in {flow.name for flow in FLOWS}}
    if one is None:
        return {**row, **distances(exact(job.problem, n * SEEDS, 11), job.problem)}
    p, asked = problem(job.problem), [0]
    x = _start(job.problem, n * SEEDS)
    field, started = Counted(p.field.process, p.field, asked), time.process_time()
    try:
        sde = one.sde(p, field, job.calls)
        end = one.solve(sde, x.clone(), one.times(p, sde, job.grid, job.calls), 0)
        if not bool(end.isfinite().all()):
            raise ArithmeticError("the cloud is not finite")
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        return {**row, "gap": f"{type(error).__name__}: {error}"}
    row |= {"cpu s": rounded(time.process_time() - started), "counted": asked[0] / len(x)}
    return {**row, **distances(end, job.problem)}


def distances(end: Tensor, name: str) -> Row:
    """The distances to exact data of each block of a cloud (SEEDS n, d), and of all of it."""
    data = exact(name, len(end), 10)
    pairs = list(zip(end.chunk(SEEDS), data.chunk(SEEDS), strict=True))
    found: Row = {
        kind: [rounded(of(x[:most], y[:most])) for x, y in pairs]
        for kind, (of, most) in DISTANCES.items()
    }
    return {**found, WHOLE: rounded(sf.diagnostics.sliced_wasserstein(end, data, 32))}


def rounded(value: float) -> float:
    """Round to four digits."""
    return float(f"{value:.4g}")


class Interval(NamedTuple):
    """A mean and its 95 % confidence interval."""

    low: float
    mean: float
    high: float

    @staticmethod
    def of(values: list[float]) -> Interval:
        """The interval of the mean of normal values, by Student's t."""
        mean, n = statistics.fmean(values), len(values)
        if n < 2:
            return Interval(mean, mean, mean)
        error = float(t.ppf(0.975, n - 1)) * statistics.stdev(values) / math.sqrt(n)
        return Interval(mean - error, mean, mean + error)

    def __str__(self) -> str:
        """The mean, and the interval in brackets."""
        return f"{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})"


def summary(rows: list[Row], distance: str = "sliced W2") -> list[Row]:
    """Compare ours with the best stochastic peer on any grid, by problem and number of calls."""
    out: list[Row] = []
    known = [row for row in rows if row.get("part") == "law" and distance in row]
    floors = {row["problem"]: row for row in known if row["solver"] == EXACT}
    for name, calls in dict.fromkeys((r["problem"], r["calls"]) for r in known if r["calls"]):
        here = [r for r in known if (r["problem"], r["calls"]) == (name, calls) and r["noisy"]]
        rivals = [row for row in here if not row["ours"] and not row["version"]]
        own = [row for row in here if row["ours"]]
        if own and rivals and name in floors:
            best = min(rivals, key=lambda row: statistics.fmean(_values(row, distance)))
            line = {
                "problem": name,
                "calls": calls,
                "best peer": f"{best['solver']}, {best['grid']}",
            }
            out.append({**line, **compared(floors[name], own[0], best, distance)})
    return out


def table(rows: list[Row], distance: str = "sliced W2") -> list[Row]:
    """The mean of a distance, a row for each solver on its own grid, a column for each problem."""
    known = [row for row in rows if distance in row]
    firsts = {str(row["solver"]): row["grid"] for row in reversed(known)}
    return [
        {
            "solver": name,
            "grid": grid,
            **{
                f"{row['problem']}, {row['calls']}": statistics.fmean(_values(row, distance))
                for row in known
                if (row["solver"], row["grid"]) == (name, grid)
            },
        }
        for name, grid in firsts.items()
        if name != EXACT
    ]


def compared(perfect: Row, own: Row, peer: Row, distance: str) -> Row:
    """Compare ours with a peer, and both with `perfect`, a sampler without error.

    `difference` is ours minus the peer's, seed by seed.
    """
    least, us, them = (Interval.of(_values(row, distance)) for row in (perfect, own, peer))
    pairs = zip(_values(own, distance), _values(peer, distance), strict=True)
    return {
        "floor": str(least),
        "ours": str(us),
        "peer's": str(them),
        "difference": str(Interval.of([a - b for a, b in pairs])),
        "at the floor": us.low <= least.high,
        "at least a tie": us.low <= them.high,
        WHOLE: " / ".join(f"{row[WHOLE]:.4f}" for row in (perfect, own, peer)),
    }


def _values(row: Row, distance: str) -> list[float]:
    found = row[distance]
    assert isinstance(found, list)
    return found
