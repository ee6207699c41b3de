r"""Film the particles of a run, with the direction of the learned score.

Positions are x / sqrt(alpha^2 + sigma^2), in the standard units of the run, so that the cloud
keeps its size where the noise is many times as wide as the data.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import check_file
from sdeflow.experiment.classes import Class, conditioned
from sdeflow.experiment.problem import Problem
from sdeflow.experiment.run import reopen
from sdeflow.fields.field import Field
from sdeflow.plot.film import check_film, film
from sdeflow.sdes.generative import forward, reverse
from sdeflow.solvers.path import Path as ParticlePath
from sdeflow.solvers.sde_solver import SDESolver

UNIT = "sd of $x_t$"
STEPS, FRAMES = 100, 51
SECONDS, SLOWEST = 6.0, 8.0  # length of a long film; frames per second of a short one
PARTICLES = 1000


def film_demo(folder: Path, file: str | Path, progress: bool = False) -> Path:
    """Film data turning into noise, and noise turning into data under a run's reverse SDE."""
    built, file = reopen(folder), check_film(file)
    built.check_plane("a film")
    process, seed = built.process, built.config.seed
    data, noise = built.standard.sample(PARTICLES, seed), process.prior(PARTICLES, 2, seed)
    solver = SDESolver("heun", STEPS, seed=seed)
    there = solver.solve(forward(process), data, save=FRAMES)
    back = solver.solve(reverse(built.field), noise, save=FRAMES)
    return _film(built, built.field, [there, back], file, progress)


def film_cloud(
    folder: Path, file: str | Path, label: Class = None, progress: bool = False,
    cloud: Path | None = None,
) -> Path:  # fmt: skip
    """Film the states that `run.sample` kept in cloud.npz, or in the file `cloud`."""
    folder = check_file(folder, "folder")
    built = reopen(folder)
    built.check_plane("a film")
    with np.load(cloud or folder / "cloud.npz", allow_pickle=False) as kept:
        t, x = torch.from_numpy(kept["t"]), torch.from_numpy(kept["x"])
    states = built.units.standardise(x.flatten(0, 1)).reshape(x.shape)
    path = ParticlePath(t, states, 0, 0.0)
    return _film(built, conditioned(built, label), [path], file, progress)


def _film(
    built: Problem, field: Field, paths: list[ParticlePath], file: str | Path, progress: bool
) -> Path:
    process = built.process

    def sd(t: Tensor) -> Tensor:
        c = process(t)
        return (c.alpha**2 + c.sigma**2).sqrt()

    def score(x: Tensor, t: Tensor) -> Tensor:
        return field.score(x * sd(t).to(x.dtype), t)

    score.__name__ = "learned score"
    scaled = [replace(p, x=p.x / sd(p.t.double()).to(p.x.dtype)[:, None, None]) for p in paths]
    rate = max(sum(len(p.t) for p in paths) / SECONDS, SLOWEST)
    return film(
        scaled, field=score, file=file, fps=rate, unit=UNIT,
        about={"seed": built.config.seed}, progress=progress,
    )  # fmt: skip
