"""Make digits of each class with DDPM's noise and without it, and compare how they look."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.claims.claim import Check, Lab, at_most, between
from benchmarks.claims.digits import CLASSES, PROCESS, asked, digit_field, digits, points
from benchmarks.claims.one_picture import gradient
from benchmarks.claims.setting import noiseless
from sdeflow.processes.time_grids import karras_times
from sdeflow.solvers.sde_solver import SDESolver

MADE = 300


class Look(NamedTuple):
    """Three numbers on how pictures of ten classes look.

    Args:
        spread: root-mean-square distance of a picture to the mean of those of its class.
        distance: mean distance to the mean of real digits of its class.
        gradient: root-mean-square difference of neighbouring pixels.
    """

    spread: float
    distance: float
    gradient: float


def made(lab: Lab, kept: float) -> Tensor:
    """Digits (300, 64), 0 to 9 in turn, by 50 steps of DDPM with a part of its noise."""
    field = lab.trained("digits", digit_field)
    start = PROCESS.prior(MADE, points(digits()).dim, lab.seed)
    solver = SDESolver("euler", times=karras_times(PROCESS, 50), seed=lab.seed)
    return solver.solve(noiseless(field.given(asked(MADE)), kept), start, 1).x[-1]


def real(seed: int) -> Tensor:
    """300 real digits (300, 64), 0 to 9 in turn."""
    data = points(digits())
    rows = [data.given(k).sample(MADE // CLASSES, seed + k) for k in range(CLASSES)]
    return torch.stack(rows, 1).flatten(0, 1).float()


def class_means() -> Tensor:
    """The mean (10, 64) of the real digits of each class."""
    data = points(digits())
    return torch.stack([data.given(k).points.mean(0) for k in range(CLASSES)]).float()


def look(x: Tensor) -> Look:
    """The `Look` of pictures x (n, 64), 0 to 9 in turn."""
    by_class = x.reshape(-1, CLASSES, x.shape[1])
    inner = (by_class - by_class.mean(0)).square().sum(2).mean().sqrt()
    return Look(float(inner), float((by_class - class_means()).norm(dim=2).mean()), gradient(x))


def as_digits(looks: dict[str, Look]) -> list[Check]:
    """Checks that without noise a class is one picture, near its mean and as sharp as a digit."""
    real, whole, noiseless = (looks[name] for name in ("real", "DDPM", "no noise"))
    return [
        Check("digits: spread within a class, without noise / of real digits",
              noiseless.spread / real.spread, at_most(0.1), "a tenth of the data"),
        Check("digits: spread within a class, DDPM / of real digits", whole.spread / real.spread,
              between(0.8, 1.2), "the data, to a fifth"),
        Check("digits: distance to the class's mean, without noise / of real digits",
              noiseless.distance / real.distance, at_most(0.8), "nearer than data are"),
        Check("digits: sharpness without noise / of real digits",
              noiseless.gradient / real.gradient, between(0.9, 1.1),
              "the data, to a tenth: no blur"),
    ]  # fmt: skip
