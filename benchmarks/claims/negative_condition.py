"""Guide from dog or cat away from one class; count what is left and the calls of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.claims.guided_classes import NONE, ends
from benchmarks.claims.setting import (
    CAT,
    DOG,
    LABELS,
    PARTICLES,
    PERSON,
    POINTS,
    SPIRAL,
    WIDE,
    exact,
    lecture_network,
)
from sdeflow import diagnostics, plot
from sdeflow.distributions.points import PointSet
from sdeflow.fields.exact import ExactField
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver

REMOVED = {  # docs/sources.md, N15, by w: unwanted fraction, distance to the curve
    1.0: (0.46, 0.007),
    1.5: (0.26, 0.19),
    2.0: (0.15, 0.39),
    4.0: (0.02, 1.19),
}


class Left(NamedTuple):
    """Fraction of dogs and median distance to the curve, each with its error.

    Args:
        value: the two numbers.
        error: the standard error of the difference between two such runs, at least 0.001.
        printed: half a unit of the last place that N15 prints.
    """

    value: list[float]
    error: list[float]
    printed: tuple[float, float]


def removed(scale: float, unwanted: int, seed: int) -> Left:
    """The numbers of 2130 particles guided towards dog or cat and away from a class."""
    pets = ExactField(WIDE, PointSet(POINTS[LABELS != PERSON], LABELS[LABELS != PERSON]))
    x = ends(GuidedField(pets, exact().given(unwanted), scale), PARTICLES, seed)
    parts = torch.stack([_dogs_and_distance(part) for part in x.chunk(30)])
    error = (parts.std(0) * math.sqrt(2 / len(parts))).clamp_min(1e-3)
    printed = (0.005, 0.0005 if scale == 1.0 else 0.005)
    return Left(_dogs_and_distance(x).tolist(), error.tolist(), printed)


def _dogs_and_distance(x: Tensor) -> Tensor:
    """Fraction of dogs, and median distance to the curve."""
    dogs = diagnostics.class_shares(x, POINTS, LABELS)[DOG]
    return torch.stack([dogs, SPIRAL.distance(x).double().median()]).float()


def _lecture_field(seed: int) -> tuple[LearnedField, Tensor]:
    """The lecture's network before training, and one block of rows (256, 2)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = lecture_network(WIDE, 3).double()
    return LearnedField(WIDE, network), WIDE.prior(256, 2, seed, torch.float64)


def _away_from(field: LearnedField, label: int) -> GuidedField:
    return GuidedField(field.given(CAT), field.given(label), 3.0)


def off_plain_guidance(seed: int, unwanted: int) -> tuple[float, float]:
    """How far guidance away from "no label", and away from a class, is from the formula."""
    field, x = _lecture_field(seed)
    with torch.no_grad():
        eps_c, eps_u = (field.given(k).noise(x, 0.5) for k in (CAT, NONE))
        plain = eps_u + 3.0 * (eps_c - eps_u)
        off, apart = (
            float((_away_from(field, k).noise(x, 0.5) - plain).abs().max())
            for k in (NONE, unwanted)
        )
    return off, apart


def calls_and_rows(seed: int, unwanted: int) -> tuple[float, float]:
    """Network calls per evaluation, and rows of input per particle, in a guided run."""
    field, x = _lecture_field(seed)
    rows: list[int] = []
    field.network.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    sde = ancestral(_away_from(field, unwanted), 0.0)
    path = SDESolver("euler", 63).solve(sde, x, 1)
    return len(rows) / path.nfe, sum(rows) / (len(x) * path.nfe)


def draw_removal(
    fig: plot.Figure, scales: list[float], dogs: Sequence[float], damage: Sequence[float]
) -> None:
    """Draw the fraction of dogs and the distance to the spiral over the scale."""
    ax = fig.subplots()
    ax.plot(scales, dogs, "o-", color=plot.BLUE)
    ax.set(xlabel="scale $w$ (1: no guidance)")
    ax.set_ylabel("fraction of dogs", color=plot.BLUE)
    right = ax.twinx()
    right.plot(scales, damage, "s--", color=plot.VERMILION)
    right.set_ylabel("median distance to the spiral", color=plot.VERMILION)
    right.spines["right"].set_visible(True)
