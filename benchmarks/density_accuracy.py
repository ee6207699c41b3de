"""Measure the accuracy and the time of `evolve`.

The SDEs: the reverse SDE of the ring with the exact field, and two SDEs under which Gaussians stay
Gaussian. TV is the total variation from the exact cell masses; seconds include the estimate of the
error. Memory is the growth of the peak of resident memory, each row in a process of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

import sdeflow as sf
from benchmarks.resident_memory import in_its_own_process, peak
from sdeflow import Density, Grid
from sdeflow.fokker_planck import Rescaling

PROCESSES = {"VP": sf.VP(), "VE": sf.VE(), "EDM": sf.EDM(), "Linear": sf.Linear()}


def ring() -> sf.GaussianMixture:
    """Five Gaussians of standard deviation 0.25 on a circle of radius 2."""
    mixture = sf.datasets.ring().distribution
    assert mixture is not None
    return mixture.to(torch.float64)


def linear_solution(
    mixture: sf.GaussianMixture, a: torch.Tensor, g: torch.Tensor, t: float
) -> sf.GaussianMixture:
    """The solution at t of dx = A x dt + diag(g) dW, by Van Loan's (1978) block exponential."""
    block = torch.zeros(4, 4, dtype=torch.float64)
    block[:2, :2], block[:2, 2:], block[2:, 2:] = -a, torch.diag(g**2), a.T
    e = torch.matrix_exp(block * t)
    grown, added = e[2:, 2:].T, e[2:, 2:].T @ e[:2, 2:]
    spread = grown @ mixture.covariances @ grown.T + added
    return sf.GaussianMixture(mixture.weights, mixture.means @ grown.T, (spread + spread.mT) / 2)


def gaussian(turn: float, noise: list[float], end: float, steps: int, cells: int) -> dict:
    """An SDE with Gaussian solutions: dx = -x dt + turn (rotation) + noise, to t = end."""
    a = torch.tensor([[-1.0, -turn], [turn, -1.0]], dtype=torch.float64)
    g = torch.tensor(noise, dtype=torch.float64)
    sde = sf.SDE(lambda x, t: x @ a.T, lambda x, t: g.expand_as(x), 0.0, end)
    grid = Grid(-5.0, 5.0, (cells, cells))
    times = torch.tensor([0.0, end], dtype=torch.float64)
    start = ring().on_grid(grid)
    truth = linear_solution(ring(), a, g, end).on_grid(grid)
    name = "rotating OU" if turn else "forward OU"
    time_grid = sde.times(steps)
    return _measured(
        {"SDE": name, "process": "", "eta": "", "cells": f"{cells}^2", "steps": steps},
        lambda: sf.evolve(sde, start, times, time_grid=time_grid), start, lambda _: truth,
    )  # fmt: skip


def reversed_ring(name: str, eta: float, cells: int, steps: int) -> dict:
    """The reverse SDE of the ring, with its exact field, on a rescaled grid."""
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
        {"SDE": "ring, reverse", "process": name, "eta": eta, "cells": f"{cells}^2",
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
        "negative mass": densities.diagnostics.negative_mass,
        "seconds": seconds,
        "peak MB": grown,
    }


def accuracy(quick: bool) -> list[dict[str, object]]:
    """The rows of the table of accuracy."""
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
