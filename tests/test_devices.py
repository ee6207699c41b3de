"""Every public function on every device there is: it answers there, or on the CPU as it says.

Where there is no GPU, `FakeDevice` finds what a GPU would refuse: to mix tensors of two devices.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from tests.fake_device import FAKE, FakeDevice, MixedDevices
from tests.problems import f64, lopsided, randn

pr, di, fi, tr, sd, so = (
    sf.processes, sf.distributions, sf.fields, sf.training, sf.sdes, sf.solvers,
)  # fmt: skip
fp, dg, an = sf.fokker_planck, sf.diagnostics, sf.analysis

Move = Callable[[Any], Any]
"""Moves a tensor, a network or a distribution to the device."""

# ------------------------------------------------------------------------------- what is moved

X = randn(128, 2)
LINE = X[:, :1].clone()
VP = sf.VP()
MIX = lopsided()
POINTS = di.PointSet(X[:8], torch.arange(8) % 2)
BOARD = sf.datasets.checkerboard().distribution
EXACT = sf.ExactField(VP, MIX)
OU = sd.ornstein_uhlenbeck([[1.0, 0.5], [0.0, 2.0]], [1.0, 0.8])
OU1 = sd.ornstein_uhlenbeck([[1.0]])
WELL = sd.langevin(sd.double_well())
GRID = sf.Grid(-6.0, 6.0, (16, 16))
GRID1 = sf.Grid(-6.0, 6.0, (32,))
DENSITY = MIX.on_grid(GRID)
TIMES = [1.0, 0.6, 0.3]
RHO = f64([3.0, 1.0, 0.3])
LOOSE = fp.Diagnostics(1.0, 1.0, 9.0, 1.0, 1.0, 0.1)
EULER, HEUN = sf.SDESolver("euler", steps=12), sf.SDESolver("heun", steps=4)
RK4 = sf.ODESolver("rk4", steps=4)


def learned(move: Move, labels: int = 0, **given: Any) -> sf.LearnedField:
    """A field whose network lies on the device."""
    network = move(sf.MLP(width=8, depth=1, waves=4, labels=labels))
    return sf.LearnedField(sf.VE(), network, data_std=1.0, **given)


def walk(move: Move, sde: sf.SDE = OU, steps: int = 12) -> so.Path:
    """A run on the device, every step of it saved."""
    return sf.SDESolver("heun", steps=steps, seed=3).solve(sde, move(X), save=steps + 1)


def quadratic(x: Tensor, control: Any = 1.0) -> Tensor:
    return control * (x**2).sum(1)


THERE: dict[str, Callable[[Move], Any]] = {
    "VP.__call__": lambda m: [p(m(f64([0.2, 0.7]))) for p in (VP, sf.VE(), sf.Linear(), pr.SubVP(), sf.EDM(), pr.Cosine(), pr.Tabulated.ddpm(4, t_min=1.0))],
    "Process.drift": lambda m: VP.drift(m(f64([0.2, 0.7]))),
    "Process.diffusion": lambda m: VP.diffusion(m(f64([0.2, 0.7]))),
    "Process.log_snr": lambda m: VP.log_snr(m(f64([0.2, 0.7]))),
    "Process.noise_level": lambda m: VP.noise_level(m(f64([0.2, 0.7]))),
    "Process.time_of": lambda m: [p.time_of(m(f64([0.2, 0.7]))) for p in (VP, sf.VE(), sf.Linear(), pr.SubVP(), sf.EDM(), pr.Cosine())],
    "Process.time": lambda m: VP.time(m(f64([0.2, 0.7]))),
    "Process.perturb": lambda m: VP.perturb(m(X), m(f64(0.4)), m(X)),
    "Process.perturb, t here": lambda m: VP.perturb(m(X), 0.4, m(X)),
}
