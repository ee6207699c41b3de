r"""Measure ln p of digits and of damaged digits along the probability flow (F10).

The density is that of x + 0.1 z, z ~ N(0, I): grey values are 0.125 apart, and with less noise the
constant border pixels send ln p to infinity. The field without a class is followed on EDM from
noise 0.1 to 10 by 12 Heun steps; the divergence is Hutchinson's estimate with two probes. The
number that is printed under a digit,

    sigmoid((ln p - (m - 3 s)) / s),    m, s: mean and standard deviation of ln p of whole digits,

is a rising function of ln p, not the probability of being a digit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.claims.digits import digits, halves
from sdeflow.analysis.likelihood import hutchinson_log_likelihood, log_likelihood
from sdeflow.fields.learned import LearnedField
from sdeflow.processes.schedules import EDM
from sdeflow.processes.time_grids import karras_times
from sdeflow.random_streams import Stream, normals, random_generator
from sdeflow.solvers.ode_solver import ODESolver

WIDTH = 0.1
SPAN = EDM(t_min=WIDTH, t_max=10.0)
STEPS, PROBES = 12, 2
WHOLE = "whole"
NOISES = (0.1, 0.2, 0.4, 0.8, 1.6)

Damage = Callable[[Tensor], Tensor]
"""Pictures (n, 64) -> the same, damaged."""


def damages(seed: int) -> dict[str, Damage]:
    """The kinds of damage by name; `WHOLE` changes nothing."""
    order = torch.from_numpy(random_generator(seed, Stream.CHOICE).permutation(64))

    def noisy(size: float) -> Damage:
        return lambda x: x + size * normals(seed, Stream.PRIOR, len(x), 64, torch.float32)

    return {
        WHOLE: lambda x: x,
        **{f"noise {size:g}": noisy(size) for size in NOISES},
        "upside down": lambda x: x.reshape(-1, 8, 8).flip(1).flatten(1),
        "lower half gone": lambda x: torch.cat([x[:, :32], torch.full_like(x[:, 32:], -1.0)], 1),
        "one pixel white": lambda x: torch.cat([torch.ones_like(x[:, :1]), x[:, 1:]], 1),
        "mean digit": lambda x: digits().mean.float().expand_as(x),
        "blurred": _blurred,
        "shuffled": lambda x: x[:, order],
        "negative": lambda x: -x,
    }


def _blurred(x: Tensor) -> Tensor:
    """Each pixel replaced by the mean over 3 x 3 pixels."""
    wide = functional.pad(x.reshape(-1, 1, 8, 8), (1, 1, 1, 1), mode="replicate")
    return functional.avg_pool2d(wide, 3, 1).flatten(1)


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """ln p of held-out digits and of damaged ones.

    Attributes:
        pictures: (n, 64) for each damage.
        log_p: (n,) for each damage.
        error: the root-mean-square standard error of Hutchinson's estimate of one ln p.
        exact: (k,) ln p of the first whole digits with the exact divergence.
    """

    pictures: dict[str, Tensor]
    log_p: dict[str, Tensor]
    error: float
    exact: Tensor

    def number(self, name: str) -> Tensor:
        """The number under each picture (n,), between 0 and 1."""
        whole = self.log_p[WHOLE]
        m, s = whole.mean(), whole.std()
        return torch.sigmoid((self.log_p[name] - (m - 3 * s)) / s)

    def below(self, name: str) -> float:
        """The share of pictures less likely than their own whole digit."""
        return float((self.log_p[name] < self.log_p[WHOLE]).double().mean())


def _at_the_end(x: Tensor) -> Tensor:
    """ln of N(mean picture, std^2 + 10^2): digits in noise of size 10 have these two moments."""
    data = digits()
    size2 = data.std**2 + SPAN.t_max**2
    off = x - data.mean.to(x)
    return -(off.square().sum(1) / size2 + x.shape[1] * math.log(2 * math.pi * size2)) / 2


def likelihoods(field: LearnedField, n: int = 48, exact: int = 16, seed: int = 0) -> Likelihoods:
    """Compute ln p of n held-out digits, whole and damaged in every way."""
    x = halves()[1][:n]
    shown = {name: damage(x) for name, damage in damages(seed).items()}
    blur = WIDTH * normals(seed, Stream.PROBE, n, 64, torch.float32)
    asked = torch.cat([picture + blur for picture in shown.values()])
    plain = replace(field, process=SPAN, label=None)
    solver = ODESolver("heun2", times=karras_times(SPAN, STEPS).flip(0))
    value, error = hutchinson_log_likelihood(plain, asked, solver, PROBES, seed, _at_the_end)
    control = log_likelihood(plain, asked[:exact], solver, _at_the_end)
    return Likelihoods(
        shown,
        dict(zip(shown, value.split(n), strict=True)),
        float(error.square().mean().sqrt()),
        control,
    )
