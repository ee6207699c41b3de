"""Train a field on handwritten digits of 8 x 8 pixels, and draw samples of each class.

The data are pixels / 8 - 1 (-1 black, 1 white) of 1,438 digits; 359 more are held out. The network
is a `UNet` of 16 channels with the class as input, left out for a fifth of the digits. With
`data_std` its only other input is the noise level, so one network serves EDM and flow matching.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sdeflow import training
from sdeflow.distributions import datasets
from sdeflow.distributions.dataset import Dataset
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.unet import UNet
from sdeflow.processes.process import Process
from sdeflow.processes.schedules import EDM, Linear
from sdeflow.processes.time_grids import karras_times
from sdeflow.sdes.calibration import calibrate, with_plan
from sdeflow.sdes.generative import ancestral, reverse
from sdeflow.sdes.multistep import multistep
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.path import Path as ParticlePath
from sdeflow.solvers.sde_solver import SDESolver

PROCESS = EDM()
STEPS = 6000
RECIPE = training.TrainingConfig(batch=128, rate=2e-3, decay=0.998, drop=0.2)
CLASSES = 10


@cache
def digits() -> Dataset:
    """The training digits, with the held-out ones as `held_out`."""
    return datasets.digits()


def halves() -> tuple[Tensor, Tensor]:
    """The points of the training digits (1438, 64) and of the held-out ones (359, 64)."""
    return points(digits()).points.float(), points(held_out()).points.float()


def held_out() -> Dataset:
    """The digits that no network is trained on."""
    rest = digits().held_out
    assert rest is not None
    return rest


def points(data: Dataset) -> PointSet:
    """The distribution of a data set, as the finite set of points that it is."""
    assert isinstance(data.distribution, PointSet)
    return data.distribution


def exact(process: Process = PROCESS) -> ExactField:
    """The exact field of the 1,438 digits: its samples are these digits."""
    return ExactField(process, points(digits()))


def digit_field(seed: int, steps: int = STEPS, checkpoint: Path | None = None) -> LearnedField:
    """A network trained on the digits and their classes, in about 150 CPU seconds."""
    data = digits()
    assert data.shape is not None
    field = LearnedField(
        PROCESS, UNet(data.shape, labels=CLASSES, seed=seed), data_std=data.std,
        data_mean=data.mean.float(),
    )  # fmt: skip
    training.fit(
        field, data.sample_labelled, steps, seed, config=RECIPE, checkpoint=checkpoint, every=200
    )
    return field


def asked(n: int) -> Tensor:
    """The class (n,) asked for in each sample: 0 to 9 in turn."""
    return torch.arange(n) % CLASSES


def ddpm(field: LearnedField | ExactField, n: int, seed: int, steps: int = 50) -> ParticlePath:
    """Samples of DDPM's chain on the times of Karras et al., by torchsde."""
    sde = ancestral(_told(field, n))
    times = karras_times(PROCESS, steps)
    return SDESolver("euler", times=times, seed=seed).solve(sde, _noise(field, n, seed), 1)


def flow(field: LearnedField, n: int, seed: int, steps: int = 20) -> ParticlePath:
    """Samples of flow matching's straight line by even Euler steps, by torchdiffeq."""
    straight = replace(field, process=Linear())
    sde = reverse(_told(straight, n), 0.0)
    return ODESolver("euler", steps).solve(sde, _noise(straight, n, seed), 1)


def few_calls(field: LearnedField, n: int, seed: int, steps: int) -> ParticlePath:
    """Samples of the multistep sampler, by torchdiffeq."""
    sde = multistep(_told(field, n))
    return ODESolver("euler", steps).solve(sde, _noise(field, n, seed), 1)


def guided_calls(field: LearnedField, n: int, seed: int, steps: int, scale: float) -> Tensor:
    """Samples (n, d) of a multistep plan, fitted to the guided field of each class."""
    noise, label = _noise(field, n, seed), asked(n)
    out = torch.empty_like(noise)
    for k in range(CLASSES):
        sde = calibrate(GuidedField(field.given(k), field, scale), steps, seed=seed)
        assert sde.fitted is not None
        mine = label == k
        chosen = with_plan(multistep(sde.field), sde.fitted)
        out[mine] = ODESolver("euler", steps).solve(chosen, noise[mine], 1).x[-1]
    return out


def _told(field: LearnedField | ExactField, n: int) -> LearnedField | ExactField:
    return field.given(asked(n)) if isinstance(field, LearnedField) else field


def _noise(field: LearnedField | ExactField, n: int, seed: int) -> Tensor:
    return field.process.prior(n, points(digits()).dim, seed)
