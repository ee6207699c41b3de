"""Simulate clouds of any size with a trained run: `sdeflow simulate`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import sdeflow.experiment as experiment
from sdeflow._validation import check_int
from sdeflow.command.options import Device, option
from sdeflow.experiment.classes import Guidance
from sdeflow.solvers.device_normals import NoisePlace


@dataclass(frozen=True)
class Simulate:
    """Simulate any number of particles, and keep histogram and moments; memory does not grow.

    An interrupted run continues. Several processes: torchrun --nproc-per-node 2 -m sdeflow ...
    """

    folder: tyro.conf.Positional[Path]
    """Folder of a trained run."""
    particles: float = 1e6
    """Number of particles, such as 1e8."""
    reduce: str = "histogram,moments"
    """What is kept, with commas: histogram, moments, quantiles."""
    out: Annotated[Path | None, option("PATH", "simulation in the folder of the run")] = None
    """Folder of the results."""
    which: Annotated[str | None, option("NAME", "all, if the run has classes", "class")] = None
    """Class to simulate, by its name in the data; all: each particle of a class of its own."""
    scale: float = 1.0
    """Guidance scale towards the class; 1 is no guidance, 0 no class."""
    interval: Annotated[tuple[float, float] | None, option("FLOAT FLOAT", "everywhere")] = None
    """Guidance only at noise levels sigma / alpha between these two, in data std."""
    method: str = "multistep"
    """multistep, calibrated, an SDE method (euler, heun, srk) or an ODE method (heun2, rk4)."""
    steps: int = 20
    """Number of time steps."""
    eta: Annotated[float | None, option("FLOAT", "1 for SDE methods, else 0")] = None
    """Noise of the sampler: 1 for the reverse SDE, 0 for the probability flow."""
    cells: int = 64
    """Cells of the histogram along each axis."""
    chunk: int = 65_536
    """Particles that are moved together, a multiple of 4096; it changes no result."""
    seed: int = 0
    """Seed of the initial noise, of the classes and of the noise on the way."""
    device: Device = "cpu"
    noise: NoisePlace = "cpu"
    """Where the noise on the way is drawn: by the CPU, with the same bits on every device, or on
    the device, which is faster on a GPU."""

    def __call__(self) -> None:
        """Print the folder of the results and, to stderr, the time that they will take."""
        if not self.particles.is_integer():
            raise ValueError(f"particles must be a whole number, got {self.particles}")
        samplers, simulation = experiment.samplers, experiment.simulation
        eta = samplers.default_eta(self.method) if self.eta is None else self.eta
        out = simulation.simulate(
            self.folder, check_int(int(self.particles), "particles"),
            [word.strip() for word in self.reduce.split(",")], out=self.out,
            method=self.method, steps=self.steps, eta=eta, which=self.which,
            guidance=Guidance(self.scale, self.interval), device=self.device, noise=self.noise,
            cells=self.cells, seed=self.seed, chunk=self.chunk, progress=sys.stderr.isatty(),
            told=lambda text: print("sdeflow:", text, file=sys.stderr),
        )  # fmt: skip
        print(out)
