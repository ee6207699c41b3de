"""Measure the speed and accuracy of `evolve`, compared with fplanck and py-pde.

First table: dx = -x dt + sqrt(2) dW from t = 0 to 0.5 on [-5, 5]^2, from the exact cell masses of
five Gaussians on a ring; TV is the total variation from the exact masses at the end. Times are CPU
times of one thread, interleaved, medians; ratios are medians of paired ratios. `evolve` uses the
exact transition kernel of this SDE (`x kernel`), or Strang splitting with the fewest steps whose
error is no larger than the peer's (`splitting steps`, `x splitting`). Neither estimates its own
error, as peers do not; the last row has the default, with the estimate.

Second table: `density_accuracy`. Memory is the growth of the peak of resident memory, each row in
a process of its own, except py-pde's, which is that of a second call.
"""

# Setup of the peers: fplanck 0.2.2 has k T = 1, drag 1, the harmonic potential, and starts from
# the exact masses; it needs np.product, which numpy 2 removed. Its matrix can be reused for
# another start, so one ratio is without the time to build it. py-pde has the same masses over the
# volume, zero slope at the walls, numba, and adaptive steps with its default tolerance: by the
# Euler method (its default) and by Runge-Kutta, for the equation as a divergence and with the
# product rule expanded. Its steppers are made once: only the compiled call is timed.

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.constants
import torch

import sdeflow as sf
from benchmarks import record
from benchmarks.density_accuracy import accuracy, ring
from benchmarks.resident_memory import in_its_own_process, peak
from sdeflow import Density, Grid

try:
    import fplanck
    import numba
    import pde
except ImportError:  # `main` prints what is missing
    fplanck = numba = pde = None
else:
    fplanck.solver.np = SimpleNamespace(**vars(np), product=np.prod)

SPAN = torch.tensor([0.0, 0.5], dtype=torch.float64)
SOURCES = {  # div(x c), in two ways
    "divergence": "laplace(c) + d_dx(x * c) + d_dy(y * c)",
    "product rule": "laplace(c) + x * d_dx(c) + y * d_dy(c) + 2 * c",
}


@dataclass(frozen=True)
class Variant:
    """A method that moves a density: build() once, then propagate(built) -> masses (n, n)."""

    build: Callable[[], object]
    propagate: Callable[[object], np.ndarray]


# ------------------------------------------------------------------------------------ the problem


def problem(cells: int) -> tuple[Density, Density]:
    """The exact densities at both ends of `SPAN`."""
    grid = Grid(-5.0, 5.0, (cells, cells))
    shrunk = math.exp(-float(SPAN[1]))
    later = ring().noised(shrunk, math.sqrt(1 - shrunk**2))
    return ring().on_grid(grid), later.on_grid(grid)


# ------------------------------------------------------------------------------------ the methods


def by_sdeflow(start: Density, steps: int | None = None, estimate: bool = False) -> Variant:
    """`evolve` by the transition kernel, or by this many steps of the splitting."""
    time_grid = None if steps is None else torch.linspace(*SPAN.tolist(), steps + 1).double()
    identity = torch.eye(2, dtype=torch.float64)

    def build() -> sf.SDE:
        return sf.sdes.ornstein_uhlenbeck(identity, math.sqrt(2), float(SPAN[1]))

    def propagate(sde: sf.SDE) -> np.ndarray:
        return sf.evolve(sde, start, SPAN, time_grid=time_grid, estimate=estimate)[-1].mass.numpy()

    return Variant(build, propagate)


def by_fplanck(start: Density) -> Variant:
    """fplanck: rates by detailed balance, in a matrix whose exponential is applied."""

    def build() -> object:
        return fplanck.fokker_planck(
            temperature=1 / scipy.constants.k, drag=1.0, extent=[10.0, 10.0],
            resolution=start.grid.width[0], potential=lambda x, y: (x**2 + y**2) / 2,
        )  # fmt: skip

    def propagate(chain: object) -> np.ndarray:
        return chain.propagate(lambda *_: start.mass.numpy().copy(), float(SPAN[1]))

    return Variant(build, propagate)


def by_pde(start: Density, source: str, method: str) -> Variant:
    """py-pde: central differences and explicit steps, compiled by numba."""
    cells, volume = start.grid.shape[0], start.grid.volume

    def build() -> object:
        state = pde.ScalarField(pde.CartesianGrid([[-5, 5], [-5, 5]], [cells, cells]))
        equation = pde.PDE({"c": SOURCES[source]}, bc={"derivative": 0})
        kind = pde.solvers.SolverBase.from_name(method, equation, backend="numba", adaptive=True)
        return state, kind.make_stepper(state, 0.2 * start.grid.width[0] ** 2)

    def propagate(made: object) -> np.ndarray:
        state, step = made
        state.data = start.mass.numpy() / volume
        step(state, *SPAN.tolist())
        return state.data * volume

    return Variant(build, propagate)


def peers(start: Density) -> dict[str, Variant]:
    """The methods of the other packages."""
    return {
        "fplanck": by_fplanck(start),
        **{
            f"py-pde, {source}, {method}": by_pde(start, source, method)
            for source, method in (
                ("divergence", "euler"), ("divergence", "runge-kutta"),
                ("product rule", "runge-kutta"),
            )
        },
    }  # fmt: skip


def fewest(start: Density, truth: Density, error: float) -> int:
    """The fewest steps of our splitting whose error is no larger."""
    for steps in range(1, 200):
        run = by_sdeflow(start, steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # too few steps are tried first
            if distance(run.propagate(run.build()), truth) <= error:
                return steps
    raise RuntimeError(f"no number of steps leaves an error of {error:.2g} on {truth.grid.shape}")


def distance(mass: np.ndarray, truth: Density) -> float:
    """The total variation between masses and a density."""
    return float(abs(mass - truth.mass.numpy()).sum() / 2)


def compared(cells: int, rounds: int) -> list[dict[str, object]]:
    """The rows of one grid: each peer, our kernel, and our splitting with as few steps as match a
    peer's error.
    """
    start, truth = problem(cells)
    others = peers(start)
    made, compiled, final, grown = _first_runs(others)
    grown["fplanck"] = in_its_own_process(fplanck_memory, cells)
    steps = {name: fewest(start, truth, distance(m, truth)) for name, m in final.items()}
    ours: dict[str, tuple[int | None, bool]] = {KERNEL: (None, False)}
    ours |= {splitting(k): (k, False) for k in sorted(set(steps.values()))}
    ours["sdeflow, default: kernel, estimate"] = (None, True)
    racers = {name: by_sdeflow(start, *how) for name, how in ours.items()}
    runs = {name: lambda v=v: v.propagate(v.build()) for name, v in racers.items()}
    runs |= {name: lambda n=name: others[n].propagate(made[n]) for name in others}
    runs["build"] = others["fplanck"].build
    spent = record.interleaved(runs, rounds, time.process_time)
    rows = [
        _row(name, final[name], start, truth)
        | _peer_times(name, spent, compiled[name], steps[name])
        | {"peak MB": grown[name]}
        for name in others
    ]
    for name, v in racers.items():
        rows.append(
            _row(name, v.propagate(v.build()), start, truth)
            | {"compile s": 0.0, "build s": 0.0, "propagate s": statistics.median(spent[name])}
            | {"x kernel": record.ratio(spent[name], spent[KERNEL]), "splitting steps": ""}
            | {"x splitting": "", "without build": ""}
            | {"peak MB": in_its_own_process(our_memory, cells, *ours[name])}
        )
    return rows


KERNEL = "sdeflow, exact kernel"


def splitting(steps: int) -> str:
    """The name of our splitting in this number of steps."""
    return f"sdeflow, splitting, {steps} steps"


def _first_runs(others: dict[str, Variant]) -> tuple[dict, dict, dict, dict]:
    """For each peer: what it builds, the times of the first run, its masses, a second's memory."""
    made, compiled, final, grown = {}, {}, {}, {}
    for name, v in others.items():
        begun = time.process_time()
        made[name] = v.build()
        v.propagate(made[name])
        compiled[name] = time.process_time() - begun
        final[name], grown[name] = peak(lambda v=v, n=name: v.propagate(made[n]))
    return made, compiled, final, grown


def _peer_times(
    name: str, spent: dict[str, list[float]], compiled: float, steps: int
) -> dict[str, object]:
    """The times of a peer in seconds, and their ratios to ours."""
    build = spent["build"] if name == "fplanck" else [0.0] * len(spent[name])
    total = [a + b for a, b in zip(build, spent[name], strict=True)]
    stepped = spent[splitting(steps)]
    alone = statistics.median(spent[name])
    jit = max(0.0, compiled - alone) if name != "fplanck" else 0.0
    return {
        "compile s": jit,
        "build s": statistics.median(build),
        "propagate s": alone,
        "x kernel": record.ratio(total, spent[KERNEL]),
        "splitting steps": steps,
        "x splitting": record.ratio(total, stepped),
        "without build": record.ratio(spent[name], stepped),
    }


def _row(name: str, mass: np.ndarray, start: Density, truth: Density) -> dict[str, object]:
    return {
        "cells": f"{len(mass)}^2",
        "variant": name,
        "TV": distance(mass, truth),
        "mass": float(mass.sum()) - start.total(),
    }


# ------------------------------------------------------------------------------------------ memory


def fplanck_memory(cells: int) -> float:
    """The memory (MiB) to build and propagate."""
    v = by_fplanck(problem(cells)[0])
    return peak(lambda: v.propagate(v.build()))[1]


def our_memory(cells: int, steps: int | None, estimate: bool) -> float:
    """The memory (MiB) to propagate."""
    start = problem(cells)[0]
    warm = by_sdeflow(problem(64)[0], 2)
    warm.propagate(warm.build())
    v = by_sdeflow(start, steps, estimate)
    return peak(lambda: v.propagate(v.build()))[1]


def machine() -> str:
    """The name of the processor (Linux)."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))


def main(quick: bool) -> None:
    """Print the tables and append their rows."""
    if pde is None:
        raise SystemExit("fplanck and py-pde are missing: python -m pip install -e '.[bench]'")
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    about = {"machine": machine(), "scipy": scipy.__version__, "numpy": np.__version__}
    for cells in (64,) if quick else (64, 128, 256):
        rows = compared(cells, 9 if cells < 256 else 5)
        print(record.table(rows) + "\n", flush=True)
        record.append("fokker_planck", [{"question": "peers"} | row | about for row in rows])
    rows = accuracy(quick)
    print(record.table(rows))
    record.append("fokker_planck", [{"question": "accuracy"} | row | about for row in rows])
