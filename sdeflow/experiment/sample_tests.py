r"""Test the samples of a run in any dimension, without a grid.

    martingale   do particles of the reverse SDE obey it? (`dynkin_test`, steps of Heun's method)
    two samples  are samples and held-out data of one distribution? (`two_sample_test`; and the
                 test of Kolmogorov and Smirnov on each column and on 20 random lines, corrected by
                 Holm, since the first finds little in many dimensions)
    distances    W2 and sliced W2 of samples and as many held-out data, in data std, beside the
                 same distances for learned data in place of samples

All are made for the whole cloud and for each class. The martingale test finds errors of the
solver, and decides whether the check passes; the others find those of the network. Held-out data
are rows that were not learned, or exact draws where the distribution of the data is known.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sdeflow.diagnostics.distances import sliced_wasserstein, wasserstein
from sdeflow.diagnostics.hypothesis import FEWEST, Test, holm
from sdeflow.diagnostics.martingale import dynkin_test
from sdeflow.diagnostics.two_sample import two_sample_test
from sdeflow.diagnostics.verdict import format_p_value
from sdeflow.distributions.points import PointSet
from sdeflow.experiment.check_setting import scales, steps_between
from sdeflow.experiment.classes import field_of, labels_of
from sdeflow.experiment.problem import ALL, Problem
from sdeflow.experiment.run import draw
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.path import Path
from sdeflow.solvers.sde_solver import SDESolver

LEVEL = 1e-3  # p-value below which samples differ, after Holm
MOST = 500  # particles of a distance, whose cost is n^3
REPEATS = 8
FAR = 10.0  # standard deviations above a sampling floor, which chance does not reach
LINES = 20  # random lines on which samples and data are compared
HELD = 2**27  # numbers of a path that are held in memory
CLASSES = 20  # most classes that are tested one by one
CELLS = 2048  # of the grid that would resolve the end of the path


@dataclass(frozen=True)
class Part:
    """The tests of the whole cloud, or of one class.

    Attributes:
        name: of the class, or "all".
        n, held_out: numbers of samples and of held-out data.
        martingale: the test of the path.
        two_sample: name -> p-value of samples and held-out data; empty with fewer than 100 of
            either.
        distances: name -> distance, mean and standard deviation of the sampling floor.
    """

    name: str
    n: int
    held_out: int
    martingale: Test | None
    two_sample: dict[str, float]
    distances: dict[str, tuple[float, float, float]]


@dataclass(frozen=True, eq=False)
class SampleTests:
    """The tests of a run in any dimension, see the module.

    Attributes:
        parts: of the whole cloud, and of each class.
        noise_level: sigma / alpha at which the path of the martingale test ends, in data std.
        steps: its number of steps.
        learned_too: whether the held-out data were learned, because the run holds out none.
        units: of the distances, in words.
        samples, data: (n, d) and (m, d), the samples and held-out data in the units of the data.
        labels: of both, (n,) and (m,), or None.
    """

    parts: tuple[Part, ...]
    noise_level: float
    steps: int
    learned_too: bool
    units: str
    samples: Tensor
    data: Tensor
    labels: tuple[Tensor, Tensor] | None

    def __repr__(self) -> str:
        words = "obey" if self.passed() else "DO NOT obey"
        return f"particles {words} the SDE, samples and held-out data {self.said()}"

    def passed(self, level: float = LEVEL) -> bool:
        """Whether the particles obey their SDE, after Holm over all parts."""
        return min(holm([p.martingale.p_value for p in self.parts if p.martingale])) >= level

    def p_value(self) -> float | None:
        """The smallest p-value of samples and held-out data after Holm; None without tests."""
        found = [p for part in self.parts for p in part.two_sample.values()]
        return min(holm(found)) if found else None

    def said(self) -> str:
        """Whether samples and held-out data differ, in words."""
        p = self.p_value()
        if p is None:
            return f"were not compared: a test needs {FEWEST} of each"
        agree = "show no difference" if p >= LEVEL else "DIFFER"
        return f"{agree}, {format_p_value(p)} after Holm{self._far()}"

    def _far(self) -> str:
        """Which distance lies farthest above its sampling floor, in words, if one lies far above.

        In many dimensions distances find what the tests do not.
        """
        above = [
            ((value - floor) / sd, f"{name} of {part.name}")
            for part in self.parts
            for name, (value, floor, sd) in part.distances.items()
            if sd > 0
        ]
        most, name = max(above, default=(0.0, ""))
        if most < FAR:
            return ""
        return f", but FAR APART: {name} lies {most:.0f} standard deviations above its floor"


def examine(problem: Problem, n: int = 20_000, seed: int = 0) -> SampleTests:
    """Test n samples of a run against held-out data, and n particles against their SDE."""
    data, of_data, learned_too = _held_out(problem, n, seed)
    whole = ALL if problem.classes else None
    labels = labels_of(problem, whole, n, seed)
    x = problem.units.standardise(draw(problem, n, seed=seed, label=whole)[1][-1]).to(data)
    path, level = _path(problem, labels, n, seed)
    parts = []
    for name, mine, rows, learned in _parts(problem, labels, of_data, len(data)):
        some = x if mine is None else x[mine[: len(x)]]
        rest = data if rows is None else data[rows]
        parts.append(
            Part(
                name, len(some), len(rest), _martingale(problem, path, labels, mine, seed),
                _compared(some, rest, seed, problem.units.scale),
                _distances(some, rest, learned, seed),
            )
        )  # fmt: skip
    both = None if labels is None or of_data is None else (labels.expand(n), of_data)
    units, steps = problem.units, len(path.t) - 1
    return SampleTests(
        tuple(parts), level, steps, learned_too, str(units), units.restore(x),
        units.restore(data), both,
    )  # fmt: skip


def _held_out(problem: Problem, n: int, seed: int) -> tuple[Tensor, Tensor | None, bool]:
    """Data (m, d) that were not learned, their labels, and False; True if they were learned."""
    rest, known = problem.standard.held_out, problem.standard.distribution
    if rest is not None:
        known = rest.distribution
    if isinstance(known, PointSet) and not known.width:
        labels = known.labels if problem.classes else None
        return known.points.double(), labels, rest is None
    x, labels = known.sample_labelled(n, seed + 1)
    return x.double(), labels if problem.classes else None, False


def _parts(
    problem: Problem, labels: Tensor | None, of_data: Tensor | None, m: int
) -> Iterator[tuple[str, Tensor | None, Tensor | None, Tensor]]:
    """The name, the rows of samples and data, and the learned data of each part."""
    known = problem.standard.distribution
    points = known.points if isinstance(known, PointSet) else known.sample(2 * MOST, m)
    yield ALL, None, None, points.double()
    if labels is None or of_data is None or len(problem.classes) > CLASSES:
        return
    own = known.labels if isinstance(known, PointSet) else None
    for k, name in enumerate(problem.classes):
        some = points if own is None else points[own == k]
        yield name, labels == k, of_data == k, some.double()


def _path(problem: Problem, labels: Tensor | None, n: int, seed: int) -> tuple[Path, float]:
    """A path of the reverse SDE of which every step is kept, and the noise level of its end."""
    process = problem.process
    rescaling, level, end = scales(problem, CELLS)
    times = steps_between(rescaling, process.t_max, end, n)
    least = min(n, max(FEWEST * max(1, len(problem.classes)), HELD // (len(times) * problem.dim)))
    field = field_of(problem, None if labels is None else labels[:least])
    prior = process.prior(least, problem.dim, seed + 1, device=problem.device)
    solver = SDESolver("heun", times=times, seed=seed + 1)
    return solver.solve(reverse(field), prior, times), level


def _martingale(
    problem: Problem, path: Path, labels: Tensor | None, mine: Tensor | None, seed: int
) -> Test | None:
    """Dynkin's test of all particles, or of those of one class; None if they are too few."""
    if mine is None:
        some = None if labels is None else labels[: path.x.shape[1]]
        return dynkin_test(path, reverse(field_of(problem, some)), seed=seed)
    rows = mine[: path.x.shape[1]]
    if int(rows.sum()) < FEWEST or labels is None:
        return None
    field = field_of(problem, labels[: len(rows)][rows])
    return dynkin_test(replace(path, x=path.x[:, rows]), reverse(field), seed=seed)


def _compared(x: Tensor, data: Tensor, seed: int, scale: float | Tensor) -> dict[str, float]:
    """p-values of the tests; the columns of the data's own units are scale z."""
    if min(len(x), len(data)) < FEWEST:
        return {}
    found = {test.name: test.p_value for test in two_sample_test(x, data, seed=seed)}
    z = random_generator(seed, Stream.PROBE).standard_normal((x.shape[1], LINES))
    own = scale.numpy().T if isinstance(scale, Tensor) else np.eye(len(z))
    axes = np.concatenate([own, z], 1) if len(z) > 1 else own
    lines = [(x @ torch.from_numpy(w), data @ torch.from_numpy(w)) for w in axes.T]
    each = [stats.ks_2samp(a.numpy(), b.numpy(), method="asymp").pvalue for a, b in lines]
    return {**found, "lines": min(holm(each))}


def _distances(
    x: Tensor, data: Tensor, learned: Tensor, seed: int
) -> dict[str, tuple[float, float, float]]:
    """Distances of samples to as many data, and those of learned data in place of samples."""
    k = min(len(x), len(data), len(learned) // 2, MOST)
    if k < 2:
        return {}
    rng = random_generator(seed, Stream.CHOICE)

    def some(cloud: Tensor) -> Tensor:
        return cloud[torch.from_numpy(rng.permutation(len(cloud))[:k])]

    rest = some(data)
    draws = [some(learned) for _ in range(REPEATS)]
    found = {}
    for name, distance in (("W2", wasserstein), ("sliced W2", sliced_wasserstein)):
        chance = [distance(one, rest, scale=1.0) for one in draws]
        own = distance(x[:k], rest, scale=1.0)
        found[name] = own, statistics.fmean(chance), statistics.stdev(chance)
    return found
