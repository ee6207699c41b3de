"""Measure and report a demo whose data are pictures, by distances that need no grid.

Samples, of each class in turn, are compared with the held-out pictures, in units of the data's
spread:

    energy, sliced W2    distances between n samples and these pictures
    nearest              the median distance of a sample to the nearest training picture, over that
                         of a held-out picture: 1 for new pictures, 0 for copies
    copies               the share of samples nearer to a training picture than any held-out one

The sampling floor is the same distance for n draws of the data. The exact field is that of the
finite training set: its samples are copies, and their distance shows the error of the solver.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sdeflow._wording import markdown_table
from sdeflow.diagnostics.distances import energy_distance, sliced_wasserstein
from sdeflow.distributions.points import PointSet
from sdeflow.experiment.classes import field_of, labels_of
from sdeflow.experiment.problem import Problem
from sdeflow.fields.field import Field

REPEATS = 8
SHOWN = 20
"""Pictures in each row of the figure."""

Draw = Callable[[Field, int, int], tuple[Tensor, int, float]]
"""(field, n, seed) -> the cloud (n, d), the calls, the seconds."""


def measure(problem: Problem, n: int, samplers: Sequence[tuple[str, Draw]]) -> dict:
    """The rows of a report, one for each sampler and field, the sampling floors, and pictures."""
    seed = problem.config.seed
    field = field_of(problem, labels_of(problem, None, n, seed))
    runs: list[tuple[str, Draw, Field]] = [(name, draw, field) for name, draw in samplers]
    if problem.truth is not None:
        name, draw = samplers[-1]
        runs.append((f"exact field, {name}", draw, problem.truth))
    rows, shown = [], {"real, not learned": unseen(problem)[:SHOWN]}
    for name, draw, field in runs:
        x, nfe, seconds = draw(field, n, seed)
        rows.append({"sampler": name, "nfe": nfe, "seconds": seconds, **compared(problem, x)})
        shown[name] = x[:SHOWN]
    about = {"units": str(problem.units), "held_out": len(unseen(problem))}
    return {**about, **sampling_floors(problem, n), "rows": rows, "shown": shown}


def unseen(problem: Problem) -> Tensor:
    """The held-out pictures, or 360 draws of the data if there are none."""
    rest = problem.standard.held_out
    if rest is None:
        return problem.standard.sample(360, problem.config.seed + 1)
    assert isinstance(rest.distribution, PointSet)
    return rest.distribution.points.float()


def compared(problem: Problem, x: Tensor) -> dict[str, float]:
    """The distances of samples x (n, d) to the held-out pictures and to the training pictures."""
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


def sampling_floors(problem: Problem, n: int) -> dict[str, list[float]]:
    """The mean and standard deviation of both distances for n draws of the data."""
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
    expected = [
        "{:.3f} +- {:.3f}".format(*report[name]) for name in ("energy_floor", "sliced_w2_floor")
    ]
    rows.append([f"{report['particles']} draws of the data", "", "", *expected, "", ""])
    headers = ["sampler", "NFE", "seconds", "energy", "sliced W2", "nearest / real", "copies"]
    out = [
        f"### {report['data']}",
        "",
        f"{report['particles']} samples, each class in turn, against {report['held_out']} "
        f"held-out pictures, in data std ({report['units']}).",
        "",
        markdown_table(headers, rows),
        "",
        "Samples of the exact field of a finite set are copies of its pictures. The check against "
        "a density (`sdeflow check`) and the page (`sdeflow view`) need data of two coordinates: "
        "no grid holds so many.",
        "",
        f"Time: {report['seconds']:.0f} s, of which training {report['training_seconds']:.0f} s.",
    ]
    return "\n".join(out) + "\n"
