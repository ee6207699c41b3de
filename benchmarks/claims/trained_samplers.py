"""Measure the distance of trained networks' clouds to the data and to the exact field's."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from torch import Tensor

from benchmarks.claims.claim import Lab
from benchmarks.claims.setting import SPIRAL, LectureNetwork, chain, exact, noiseless
from benchmarks.claims.spiral_samplers import data, ddim
from sdeflow import diagnostics
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.sdes.generative import ancestral
from sdeflow.solvers.sde_solver import SDESolver


def distance_to_data(field: Field, eta: float, steps: int, starts: list[Tensor]) -> float:
    """Mean W2 to the data of the clouds from these starts (n, 2)."""
    return sum(
        diagnostics.wasserstein(
            SDESolver("euler", steps, seed=i).solve(ancestral(field, eta), x, 1).x[-1],
            data(len(x), 900 + i),
        )
        for i, x in enumerate(starts)
    ) / len(starts)


def distance_to_exact(
    lab: Lab,
    name: str,
    make: Callable[[int], LearnedField],
    network: LectureNetwork | None = None,
) -> dict[str, float]:
    """The distance of three networks' clouds to the exact field's clouds on the same noise."""
    out = {}
    nets = [lab.trained(name, make, i, deepcopy(network)) for i in range(3)]
    for sampler, sde in (("DDPM", ancestral), ("no noise", noiseless), ("DDIM", ddim)):
        far, beyond = 0.0, 0.0
        for i, net in enumerate(nets):
            x, want = (chain(sde(f), 500, seed=lab.seed + i).x[-1] for f in (net, exact()))
            far += diagnostics.wasserstein(x, want) / 3
            beyond += float((SPIRAL.distance(x) > 0.05).double().mean()) / 3
        out[f"{sampler}: W2 to the exact field's cloud"] = far
        out[f"{sampler}: share beyond 0.05 of the curve"] = beyond
    return out
