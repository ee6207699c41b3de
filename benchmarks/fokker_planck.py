"""Densities in motion: `evolve` against fplanck and py-pde, and its accuracy by itself.

First table: dx = -x dt + sqrt(2) dW from t = 0 to 0.5 on [-5, 5]^2, begun at the exact cell masses
of five Gaussians on a ring. TV is to the exact cell masses at the end. Everything is CPU time of
one thread, interleaved, median; ratios are medians of paired ratios.

This law is affine, so `evolve` takes its kernel, which is known in closed form: it does not step,
while the peers integrate in time (`x kernel`). The race of integrators is that against the
splitting, which any other law gets: it takes as few steps as leave no larger error than the peer's
(`splitting steps`, `x splitting`). Neither makes an estimate of its own error, for peers make
none; the default, the kernel with its estimate, stands below. Compilation is a column of its own
and in no ratio.

How the peers are set up: fplanck 0.2.2 has k T = 1, drag 1 and the harmonic potential, and the
exact masses for a start; it needs np.product, which numpy 2 dropped. Its matrix can be used again
for another start, so there is a ratio without it. py-pde takes the same masses over the volume,
no slope at the walls, numba, and adaptive steps at its own tolerance: with Euler's method (its
default) and with Runge and Kutta's, for the equation as a divergence and with the product rule
worked out. Its steppers are made once: what is timed is the compiled call alone.

Second table: the reverse laws of the ring by the exact field, and two laws that stay Gaussian;
seconds include our own estimate. Memory is the growth of the peak of resident memory, each row in
a process of its own, but for py-pde's, which is that of a second call.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.constants
import torch

import sdeflow as sf
from benchmarks import record
from sdeflow import Density, Grid
from sdeflow.fokker_planck import Rescaling

try:
    import fplanck
    import numba
    import pde
except ImportError:  # `main` says what is missing
    fplanck = numba = pde = None
else:
    fplanck.solver.np = SimpleNamespace(**vars(np), product=np.prod)

SPAN = torch.tensor([0.0, 0.5], dtype=torch.float64)
SOURCES = {  # div(x c), in two ways
    "divergence": "laplace(c) + d_dx(x * c) + d_dy(y * c)",
    "product rule": "laplace(c) + x * d_dx(c) + y * d_dy(c) + 2 * c",
}
PROCESSES = {"VP": sf.VP(), "VE": sf.VE(), "EDM": sf.EDM(), "Linear": sf.Linear()}


@dataclass(frozen=True)
class Variant:
    """One way to move a density: build() once, propagate(what was built) -> masses (n, n)."""

    build: Callable[[], object]
    propagate: Callable[[object], np.ndarray]


# ------------------------------------------------------------------------------------ the problem


def ring() -> sf.GaussianMixture:
    """Five Gaussians of standard deviation 0.25 on a circle of radius 2."""
    law = sf.datasets.ring().distribution
    assert law is not None
    return law.to(torch.float64)


def problem(cells: int) -> tuple[Density, Density]:
    """The law at both ends of `SPAN`."""
    grid = Grid(-5.0, 5.0, (cells, cells))
    shrunk = math.exp(-float(SPAN[1]))
    later = ring().noised(shrunk, math.sqrt(1 - shrunk**2))
    return ring().on_grid(grid), later.on_grid(grid)


def moved(
    law: sf.GaussianMixture, a: torch.Tensor, g: torch.Tensor, t: float
) -> sf.GaussianMixture:
    """The law at t of dx = A x dt + diag(g) dW, whose covariance is Van Loan's (1978) integral."""
    block = torch.zeros(4, 4, dtype=torch.float64)
    block[:2, :2], block[:2, 2:], block[2:, 2:] = -a, torch.diag(g**2), a.T
    e = torch.matrix_exp(block * t)
    grown, added = e[2:, 2:].T, e[2:, 2:].T @ e[:2, 2:]
    spread = grown @ law.covariances @ grown.T + added
    return sf.GaussianMixture(law.weights, law.means @ grown.T, (spread + spread.mT) / 2)


# ------------------------------------------------------------------------------------- the racers


def by_sdeflow(start: Density, steps: int | None = None, estimate: bool = False) -> Variant:
    """`evolve`: by the law's own kernel, or in these many steps of the splitting."""
    grid = None if steps is None else torch.linspace(*SPAN.tolist(), steps + 1).double()
    root = torch.tensor(math.sqrt(2), dtype=torch.float64)

    def build() -> sf.SDE:
        return sf.SDE(lambda x, t: -x, lambda x, t: root, *SPAN.tolist())

    def propagate(sde: sf.SDE) -> np.ndarray:
        return sf.evolve(sde, start, SPAN, grid=grid, estimate=estimate)[-1].mass.numpy()

    return Variant(build, propagate)


def by_fplanck(start: Density) -> Variant:
    """Rates by detailed balance, in a matrix whose exponential is applied."""

    def build() -> object:
        return fplanck.fokker_planck(
            temperature=1 / scipy.constants.k, drag=1.0, extent=[10.0, 10.0],
            resolution=start.grid.width[0], potential=lambda x, y: (x**2 + y**2) / 2,
        )  # fmt: skip

    def propagate(chain: object) -> np.ndarray:
        return chain.propagate(lambda *_: start.mass.numpy().copy(), float(SPAN[1]))

    return Variant(build, propagate)


def by_pde(start: Density, source: str, method: str) -> Variant:
    """Central differences and explicit steps, compiled by numba."""
    cells, volume = start.grid.shape[0], start.grid.volume

    def build() -> object:
        state = pde.ScalarField(pde.CartesianGrid([[-5, 5], [-5, 5]], [cells, cells]))
        law = pde.PDE({"c": SOURCES[source]}, bc={"derivative": 0})
        kind = pde.solvers.SolverBase.from_name(method, law, backend="numba", adaptive=True)
        return state, kind.make_stepper(state, 0.2 * start.grid.width[0] ** 2)

    def propagate(made: object) -> np.ndarray:
        state, step = made
        state.data = start.mass.numpy() / volume
        step(state, *SPAN.tolist())
        return state.data * volume

    return Variant(build, propagate)


def peers(start: Density) -> dict[str, Variant]:
    """Everyone else."""
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
    """The fewest steps of ours that leave no larger error."""
    for steps in range(1, 200):
        run = by_sdeflow(start, steps)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # too few steps are tried first
            if distance(run.propagate(run.build()), truth) <= error:
                return steps
    raise RuntimeError(f"no number of steps leaves an error of {error:.2g} on {truth.grid.shape}")


def distance(mass: np.ndarray, truth: Density) -> float:
    """Total variation of masses to a law."""
    return float(abs(mass - truth.mass.numpy()).sum() / 2)


# -------------------------------------------------------------------------------------- the tables


def race(cells: int, rounds: int) -> list[dict[str, object]]:
    """One grid: a row for each peer, for our kernel, and for our splitting with as many steps as a
    peer calls for.
    """
    start, truth = problem(cells)
    others = peers(start)
    made, compiled, final, grown = {}, {}, {}, {}
    for name, v in others.items():
        begun = time.process_time()
        made[name] = v.build()
        v.propagate(made[name])
        compiled[name] = time.process_time() - begun
        final[name], grown[name] = peak(lambda v=v, n=name: v.propagate(made[n]))
    grown["fplanck"] = in_its_own_process(fplanck_memory, cells)
    steps = {name: fewest(start, truth, distance(m, truth)) for name, m in final.items()}
    ours = {"sdeflow, exact kernel": (None, False)}
    ours |= {f"sdeflow, splitting, {k} steps": (k, False) for k in sorted(set(steps.values()))}
    ours["sdeflow, default: kernel, estimate"] = (None, True)
    racers = {name: by_sdeflow(start, *how) for name, how in ours.items()}
    runs = {name: lambda v=v: v.propagate(v.build()) for name, v in racers.items()}
    runs |= {name: lambda n=name: others[n].propagate(made[n]) for name in others}
    runs["build"] = others["fplanck"].build
    spent = record.interleaved(runs, rounds, time.process_time)
    kernel = spent["sdeflow, exact kernel"]
    rows = []
    for name in others:
        build = spent["build"] if name == "fplanck" else [0.0] * rounds
        total = [a + b for a, b in zip(build, spent[name], strict=True)]
        stepped = spent[f"sdeflow, splitting, {steps[name]} steps"]
        alone = statistics.median(spent[name])
        jit = max(0.0, compiled[name] - alone) if name != "fplanck" else 0.0
        rows.append(
            _row(name, final[name], start, truth)
            | {"compile s": jit, "build s": statistics.median(build), "propagate s": alone}
            | {"x kernel": record.ratio(total, kernel), "splitting steps": steps[name]}
            | {"x splitting": record.ratio(total, stepped)}
            | {"without build": record.ratio(spent[name], stepped), "peak MB": grown[name]}
        )
    for name, v in racers.items():
        rows.append(
            _row(name, v.propagate(v.build()), start, truth)
            | {"compile s": 0.0, "build s": 0.0, "propagate s": statistics.median(spent[name])}
            | {"x kernel": record.ratio(spent[name], kernel), "splitting steps": ""}
            | {"x splitting": "", "without build": ""}
            | {"peak MB": in_its_own_process(our_memory, cells, *ours[name])}
        )
    return rows


def _row(name: str, mass: np.ndarray, start: Density, truth: Density) -> dict[str, object]:
    return {
        "cells": f"{len(mass)}^2",
        "variant": name,
        "TV": distance(mass, truth),
        "mass": float(mass.sum()) - start.total(),
    }


def gaussian(turn: float, noise: list[float], end: float, steps: int, cells: int) -> dict:
    """A law that stays Gaussian: dx = -x dt + turn (rotation) + noise, to t = end."""
    a = torch.tensor([[-1.0, -turn], [turn, -1.0]], dtype=torch.float64)
    g = torch.tensor(noise, dtype=torch.float64)
    sde = sf.SDE(lambda x, t: x @ a.T, lambda x, t: g.expand_as(x), 0.0, end)
    grid = Grid(-5.0, 5.0, (cells, cells))
    times = torch.tensor([0.0, end], dtype=torch.float64)
    start = ring().on_grid(grid)
    truth = moved(ring(), a, g, end).on_grid(grid)
    name = "rotating OU" if turn else "forward OU"
    clock = sde.times(steps)  # by the splitting, also the one that has its own kernel
    return _measured(
        {"law": name, "process": "", "eta": "", "cells": f"{cells}^2", "steps": steps},
        lambda: sf.evolve(sde, start, times, grid=clock), start, lambda _: truth,
    )  # fmt: skip


def reversed_ring(name: str, eta: float, cells: int, steps: int) -> dict:
    """The ring back from noise, by its exact field, in a box that breathes."""
    process = PROCESSES[name]
    rescaling = Rescaling(process, 1.0, 0.25)
    size = 5.0 * rescaling(process.t_max)
    grid = Grid(-size, size, (cells, cells))

    def exact(t: float, grid: Grid) -> Density:
        c = process(torch.tensor(t, dtype=torch.float64))
        return ring().noised(c.alpha, c.sigma).on_grid(grid)

    sde, start = sf.reverse(sf.ExactField(process, ring()), eta), exact(process.t_max, grid)
    times = torch.tensor([process.t_max, process.t_min], dtype=torch.float64)
    return _measured(
        {"law": "ring, reverse", "process": name, "eta": eta, "cells": f"{cells}^2",
         "steps": steps},
        lambda: sf.evolve(sde, start, times, steps=steps, rescaling=rescaling), start,
        lambda grid: exact(process.t_min, grid),
    )  # fmt: skip


def _measured(
    about: dict,
    run: Callable[[], sf.fokker_planck.DensityPath],
    start: Density,
    exact: Callable[[Grid], Density],
) -> dict:
    begun = time.process_time()
    densities, grown = peak(run)
    seconds, end = time.process_time() - begun, densities[-1]
    return about | {
        "TV": end.total_variation(exact(end.grid)),
        "own estimate": end.error,
        "mass": end.total() - start.total(),
        "min": float(end.mass.min()),
        "clipped": densities.diagnostics.negative_mass,
        "seconds": seconds,
        "peak MB": grown,
    }


def accuracy(quick: bool) -> list[dict[str, object]]:
    """The second table."""
    sizes = [(64, 100)] if quick else [(128, 200), (256, 400)]
    root = math.sqrt(2)
    jobs = [
        (gaussian, 0.0, [root, root], 0.5, 20, 128),
        (gaussian, 2.0, [1.0, 0.6], 1.0, 80, 128),
        *(
            (reversed_ring, name, eta, cells, steps)
            for cells, steps in sizes
            for name in PROCESSES
            for eta in (1.0, 0.5, 0.0)
        ),
    ]
    return [in_its_own_process(*job) for job in jobs]


# ------------------------------------------------------------------------------------------ memory


def resident(key: str) -> float:
    """VmRSS or VmHWM of this process, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def peak(run: Callable[[], object]) -> tuple:
    """What `run` gives, and by how many MiB the peak of resident memory rose above the start."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    out = run()
    return out, resident("VmHWM") - before


def in_its_own_process(work: Callable[..., object], *given: object):
    """work(*given), in a fresh process of one thread."""
    fresh = get_context("spawn")
    with ProcessPoolExecutor(1, fresh, torch.set_num_threads, (1,)) as pool:
        return pool.submit(work, *given).result()


def fplanck_memory(cells: int) -> float:
    """MiB to build and propagate."""
    v = by_fplanck(problem(cells)[0])
    return peak(lambda: v.propagate(v.build()))[1]


def our_memory(cells: int, steps: int | None, estimate: bool) -> float:
    """MiB to propagate."""
    start = problem(cells)[0]
    warm = by_sdeflow(problem(64)[0], 2)
    warm.propagate(warm.build())
    v = by_sdeflow(start, steps, estimate)
    return peak(lambda: v.propagate(v.build()))[1]


def machine() -> str:
    """The processor's name (Linux)."""
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
        rows = race(cells, 9 if cells < 256 else 5)
        print(record.table(rows) + "\n", flush=True)
        record.append("fokker_planck", [{"question": "peers"} | row | about for row in rows])
    rows = accuracy(quick)
    print(record.table(rows))
    record.append("fokker_planck", [{"question": "accuracy"} | row | about for row in rows])
