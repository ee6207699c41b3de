"""Film of data turning into noise, and of noise turning into data: particles, density, arrows."""

from __future__ import annotations

from pathlib import Path

import torch

import sdeflow as sf
from figures.drawing import GALLERY, QUICK
from figures.problems import problem
from sdeflow import plot


def main(quick: bool) -> Path:
    """Film the ring under the forward SDE, then under the reverse SDE from fresh noise."""
    torch.set_num_threads(1)
    n, cells, states = (200, 112, 6) if quick else (600, 160, 31)
    ring = problem("ring")
    forward, reverse = sf.forward(ring.process), sf.reverse(ring.field)
    solver = sf.SDESolver("heun", steps=80, seed=0)
    there = solver.solve(forward, ring.data.sample(n, seed=0), save=states)
    back = solver.solve(reverse, ring.process.prior(n, 2, seed=1), save=states)
    start = ring.field.density(ring.grid(cells), ring.process.t_min)
    noised = sf.evolve(forward, start, there.t)
    cleaned = sf.evolve(reverse, noised[-1], back.t)
    return plot.film(
        [there, back], [noised, cleaned], [forward, ring.field],
        (QUICK if quick else GALLERY) / "film.gif", fps=12, where=4.2, about={"seed": 0},
    )  # fmt: skip
