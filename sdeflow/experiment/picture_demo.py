"""Measure and report a demo on pictures: distances that need no grid, each beside its floor.

Clouds are compared with the pictures that were held out, in units of the data's spread:

    energy, sliced W2    between n samples and these pictures
    nearest              the median distance of a sample to the nearest picture that was learned,
                         over that of the pictures held out: 1 is as far as real ones, 0 a copy
    copies               the share of samples nearer to a learned picture than any held-out one is

The floor is the same for n draws of the data. Each class is asked for in turn. The exact field is
that of a finite set, so that its samples are copies; it shows what the solver alone leaves.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from tabulate import tabulate
from torch import Tensor

from sdeflow.diagnostics.distances import energy_distance, sliced_wasserstein
from sdeflow.distributions.points import PointSet
from sdeflow.experiment.problem import Problem
from sdeflow.experiment.run import asked
from sdeflow.fields.field import Field

REPEATS = 8
SHOWN = 20
"""Pictures in each row of the figure."""

Draw = Callable[[Field, int, int], tuple[Tensor, int, float]]
"""(field, n, seed) -> the states (T, n, d), the calls, the seconds."""


def measure(problem: Problem, n: int, samplers: Sequence[tuple[str, Draw]]) -> dict:
    """The rows of a report, one for each sampler and field, and their floors."""
    seed = problem.config.seed
    field = asked(problem, None, n)
    rows, shown = [], {}
    for name, draw in samplers:
        x, nfe, seconds = draw(field, n, seed)
        rows.append({"sampler": name, "nfe": nfe, "seconds": seconds, **compared(problem, x[-1])})
        shown[name] = x[-1][:SHOWN]
    if problem.truth is not None:
        x, nfe, seconds = samplers[-1][1](problem.truth, n, seed)
        name = f"exact field, {samplers[-1][0]}"
        rows.append({"sampler": name, "nfe": nfe, "seconds": seconds, **compared(problem, x[-1])})
        shown[name] = x[-1][:SHOWN]
    about = {"units": str(problem.units), "held_out": len(unseen(problem))}
    return {**about, **floors(problem, n), "rows": rows, "shown": shown}


def unseen(problem: Problem) -> Tensor:
    """The pictures held out, or as many draws of the data where none are."""
    rest = problem.standard.held_out
    if rest is None:
        return problem.standard.sample(360, problem.config.seed + 1)
    assert isinstance(rest.distribution, PointSet)
    return rest.distribution.points.float()


def compared(problem: Problem, x: Tensor) -> dict[str, float]:
    """The distances of a cloud x (n, d) to the pictures held out, and to those learned."""
    rest, learned = unseen(problem), problem.standard.distribution
    assert isinstance(learned, PointSet)
    points = learned.points.to(x)
    near, real = (torch.cdist(y, points).amin(1) for y in (x, rest.to(x)))
    return {
        "energy": energy_distance(x, rest, scale=1.0),
        "sliced_w2": sliced_wasserstein(x, rest, scale=1.0),
        "nearest": float(near.median() / real.median().clamp_min(1e-9)),
        "copies": float((near < real.min()).double().mean()),
    }


def floors(problem: Problem, n: int) -> dict[str, list[float]]:
    """Mean and standard deviation of both distances for n draws of the data."""
    seed, rest = problem.config.seed, unseen(problem)
    draws = [problem.standard.sample(n, seed + 2 + k) for k in range(REPEATS)]
    found = {
        "energy_floor": [energy_distance(x, rest, scale=1.0) for x in draws],
        "sliced_w2_floor": [sliced_wasserstein(x, rest, scale=1.0) for x in draws],
    }
    return {name: [statistics.fmean(v), statistics.stdev(v)] for name, v in found.items()}


def markdown(report: dict) -> str:
    """The report as Markdown."""
    rows = [
        [
            row["sampler"], row["nfe"], f"{row['seconds']:.2f}", f"{row['energy']:.3f}",
            f"{row['sliced_w2']:.3f}", f"{row['nearest']:.2f}", f"{row['copies']:.3f}",
        ]
        for row in report["rows"]
    ]  # fmt: skip
    floor = [
        "{:.3f} +- {:.3f}".format(*report[name]) for name in ("energy_floor", "sliced_w2_floor")
    ]
    rows.append([f"{report['particles']} draws of the data", "", "", *floor, "", ""])
    headers = ["sampler", "NFE", "seconds", "energy", "sliced W2", "nearest / real", "copies"]
    out = [
        f"### {report['data']}",
        "",
        f"{report['particles']} samples, each class in turn, against {report['held_out']} "
        f"pictures that were not learned, in data std ({report['units']}).",
        "",
        tabulate(rows, headers, tablefmt="github", disable_numparse=True),
        "",
        "Samples of the exact field of a finite set are copies of it. The check of particles "
        "against densities (`sdeflow check`) and the page (`sdeflow view`) are for the plane: no "
        "grid holds so many coordinates.",
        "",
        f"{report['seconds']:.0f} s in all, {report['training_seconds']:.0f} s training.",
    ]
    return "\n".join(out) + "\n"
