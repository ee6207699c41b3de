"""Simulate up to 10^8 particles: agreement with `evolve`, time and memory per particle.

    python -m benchmarks large                      one process: time and memory against n
    python -m benchmarks large --particles 1e8      one run, compared with the density of evolve
    torchrun --nproc-per-node 2 -m benchmarks large --particles 1e8

The field of the comparison is exact, so that its histogram differs from the density by the steps
of the sampler, the error of `evolve` and the sampling noise, of which the expected total variation

    floor = sum_i sqrt(m_i (1 - m_i) / (2 pi n))

is known for cell masses m_i. Time and memory are those of a network of 2 x 64.
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from typing import Any

import torch

import sdeflow as sf
from benchmarks import record
from sdeflow.distributed import layout
from sdeflow.fokker_planck import Rescaling
from sdeflow.simulation import Histogram, Moments

CELLS, FINE = 64, 256
SIZES = (10**5, 10**6, 3 * 10**6)


def mixture() -> sf.GaussianMixture:
    """Three tilted ellipses of unequal weight."""
    angles = torch.tensor([0.3, -0.8, 1.9], dtype=torch.float64)
    axes = torch.tensor([[0.5, 0.2], [0.7, 0.15], [0.3, 0.4]], dtype=torch.float64)
    turn = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], 1)
    turn = turn.reshape(3, 2, 2)
    return sf.GaussianMixture(
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
        torch.tensor([[1.0, 0.3], [-0.7, 0.9], [0.2, -1.1]], dtype=torch.float64),
        turn @ torch.diag_embed(axes**2) @ turn.mT,
    )


def density(process: sf.VP, data: sf.GaussianMixture) -> sf.Density:
    """The density at the end of the probability flow from the prior, by `evolve`."""
    rescaling = Rescaling(process, 0.42 * float(data.sample(20_000, 0).abs().max()), 0.05)
    half, first = 5 * rescaling(process.t_max), process(process.t_max)
    grid = sf.Grid((-half, -half), (half, half), (FINE, FINE))
    centre = torch.zeros(1, 2, dtype=torch.float64)
    start = sf.GaussianMixture.isotropic(centre, float(first.sigma)).on_grid(grid)
    flow = sf.reverse(sf.ExactField(process, data), eta=0)
    ends = [process.t_max, process.t_min]
    return sf.evolve(flow, start, ends, rescaling=rescaling).densities[-1]


def compared(n: int, calls: int, chunk: int, out: str | None) -> dict[str, Any]:
    """One row: the total variation of n particles to the density of evolve, and its floor."""
    process, data = sf.VP(), mixture()
    known = density(process, data)
    coarse = known.coarsen(FINE // CELLS)
    began = time.perf_counter()
    found, moments = sf.simulate(
        sf.multistep(sf.ExactField(process, data.to(torch.float32))), process, n,
        [Histogram(coarse.grid), Moments()], solver=sf.SDESolver("euler", steps=calls),
        chunk=chunk, out=out, progress=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    m = coarse.mass
    floor = float((m * (1 - m) / (2 * math.pi * n)).sqrt().sum())
    distance = found.total_variation(coarse)
    return {
        "part": "agreement", "particles": n, "calls": calls, "processes": layout().size,
        "total variation": distance, "floor": floor, "ratio": distance / floor,
        "error of evolve": known.error, "seconds": seconds, **memory(),
        "mean": moments.mean.tolist(), "chunk": chunk,
    }  # fmt: skip


def timed(n: int, calls: int = 10, chunk: int = 65_536, out: str | None = None) -> dict[str, Any]:
    """One row: the time of n particles of a reverse SDE whose network is 2 x 64."""
    process = sf.VP()
    field = sf.LearnedField(process, sf.MLP(2, 64, 2), data_std=1.0)
    began, used = time.perf_counter(), time.process_time()
    sf.simulate(
        sf.multistep(field, eta=1), process, n,
        [Histogram(sf.Grid(-4.0, 4.0, (CELLS, CELLS))), Moments()],
        solver=sf.SDESolver("euler", steps=calls), chunk=chunk, out=out,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    return {
        "part": "time", "particles": n, "calls": calls, "processes": layout().size,
        "seconds": seconds, "us per particle": seconds / n * 1e6,
        "CPU us per particle": (time.process_time() - used) / n * 1e6, **memory(),
    }  # fmt: skip


def memory() -> dict[str, float]:
    """The peak of resident memory of this process so far."""
    return {"peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


SHOWN = {
    "time": ("particles", "processes", "seconds", "CPU us per particle", "peak MB"),
    "agreement": (
        "particles", "calls", "processes", "total variation", "floor", "ratio",
        "error of evolve", "seconds", "peak MB",
    ),
}  # fmt: skip
"""The columns of each part on the page."""


def recorded(part: str) -> list[dict[str, Any]]:
    """The latest row of each number of particles, calls and processes, for the page."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in record.stored(record.RESULTS / "large.jsonl"):
        if row["part"] == part:
            key = tuple(row[name] for name in ("particles", "calls", "processes"))
            found[key] = {name: row[name] for name in SHOWN[part]}
            found[key]["particles"] = f"{row['particles']:.0e}".replace("e+0", "e")
    return [found[key] for key in sorted(found)]  # type: ignore[type-var]


def add_parser(names: Any) -> None:
    """Add the command to those of `python -m benchmarks`."""
    one: argparse.ArgumentParser = names.add_parser("large")
    one.add_argument("--particles", type=float, help="compare so many with evolve")
    one.add_argument("--timed", type=float, help="only time so many")
    one.add_argument("--calls", type=int, default=40)
    one.add_argument("--chunk", type=int, default=65_536)
    one.add_argument("--out", help="folder that keeps the state of the run")
    one.set_defaults(run=main)


def main(given: argparse.Namespace) -> None:
    """Print the table and append its rows."""
    torch.set_num_threads(1)
    if given.particles:
        rows = [compared(int(given.particles), given.calls, given.chunk, given.out)]
    elif given.timed:
        rows = [timed(int(given.timed), chunk=given.chunk, out=given.out)]
    else:
        timed(10**5)  # not counted
        rows = [timed(n) for n in SIZES]
    if layout().is_writer:
        print(record.table(rows))
        record.append("large", rows)
