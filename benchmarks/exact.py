"""Measure the time of an exact field as a ratio to the same closed form written by hand.

The reference is E[eps | x_t] as one would write it for one problem, noise level and type: one
softmax of a matrix product for the whole cloud, with ready coefficients, without blocks and
without protection against rounding for far points. Ours is `field.at(t, c, x)(x)`, as in a
solver's step, with the terms that depend on time alone computed before. Times are process CPU
times of one thread, interleaved in one process; ratios are medians of paired ratios.

    isotropic     mixtures of 5, 25, 100 round Gaussians, equally wide
    anisotropic   mixtures of 5, 25 tilted Gaussians
    spiral        100 bare points
    checkerboard  8 squares

Noise is half the data's standard deviation.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import sdeflow as sf
from benchmarks import record

SIZES = (256, 4_096, 65_536)
PROCESS = sf.VE()
Evaluate = Callable[[Tensor], Tensor]


def isotropic(k: int) -> sf.GaussianMixture:
    """k isotropic Gaussians of standard deviation 0.2 with random means."""
    places = torch.randn(k, 2, generator=torch.Generator().manual_seed(k))
    return sf.GaussianMixture.isotropic(places, 0.2)


def anisotropic(k: int) -> sf.GaussianMixture:
    """k anisotropic Gaussians with random means and unequal weights."""
    draw = torch.Generator().manual_seed(k)
    places, root = torch.randn(k, 2, generator=draw), 0.3 * torch.randn(k, 2, 2, generator=draw)
    spread = root @ root.mT + 0.01 * torch.eye(2)
    return sf.GaussianMixture(torch.rand(k, generator=draw) + 0.1, places, spread)


def of_round(means: Tensor, s2: float, sigma: float) -> Evaluate:
    """sigma (x - sum r mu) / s^2, r = softmax(x . mu / s^2 - |mu|^2 / 2 s^2)."""
    keys, bias = means.T / s2, -(means**2).sum(1) / (2 * s2)

    def reference(x: Tensor) -> Tensor:
        r = torch.softmax(x @ keys + bias, 1)
        return (x - r @ means) * (sigma / s2)

    return reference


def of_tilted(law: sf.GaussianMixture, sigma: float) -> Evaluate:
    """sigma sum r P (x - mu), the logits as a quadratic form in the features x, x x^T."""
    inverse = torch.linalg.inv(law.covariances + sigma**2 * torch.eye(2))
    pull = (inverse @ law.means[:, :, None])[:, :, 0]
    keys = torch.stack([*pull.T, -inverse[:, 0, 0] / 2, -inverse[:, 0, 1], -inverse[:, 1, 1] / 2])
    bias = torch.log(law.weights) + torch.logdet(inverse) / 2 - (pull * law.means).sum(1) / 2
    values = sigma * torch.cat([inverse.reshape(-1, 4), pull], 1)

    def reference(x: Tensor) -> Tensor:
        a, b = x[:, :1], x[:, 1:]
        r = torch.softmax(torch.cat([x, a * a, a * b, b * b], 1) @ keys + bias, 1)
        p = r @ values
        return (
            torch.cat([p[:, :1] * a + p[:, 1:2] * b, p[:, 2:3] * a + p[:, 3:4] * b], 1) - p[:, 4:]
        )

    return reference


def of_squares(squares: sf.distributions.PiecewiseConstant, sigma: float) -> Evaluate:
    """Truncated normals for each column and row, weighted by the masses of the squares."""
    columns, rows = (
        (float(low) + squares.side * torch.arange(n + 1))
        for low, n in zip(squares.low, squares.weights.T.shape, strict=True)
    )
    weights = squares.weights.float()

    def side(edges: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        e = (edges - x) / sigma
        mass = torch.special.ndtr(e).diff(dim=1)
        return mass, (torch.exp(-(e**2) / 2) / math.sqrt(2 * math.pi)).diff(dim=1)

    def reference(x: Tensor) -> Tensor:
        (zx, dx), (zy, dy) = side(columns, x[:, :1]), side(rows, x[:, 1:])
        across, up = zy @ weights, zx @ weights.T
        total = (zx * across).sum(1, keepdim=True)
        sums = torch.stack([(dx * across).sum(1), (dy * up).sum(1)], 1)
        return sums / total

    return reference


def cases() -> dict[str, tuple[sf.distributions.Distribution, Callable[[float], Evaluate]]]:
    """Each distribution, and its reference at a noise level."""
    out: dict[str, tuple[sf.distributions.Distribution, Callable[[float], Evaluate]]] = {}
    for k in (5, 25, 100):
        law = isotropic(k)
        out[f"isotropic {k}"] = law, lambda s, m=law.means: of_round(m, 0.04 + s**2, s)
    for k in (5, 25):
        law = anisotropic(k)
        out[f"anisotropic {k}"] = law, lambda s, law=law: of_tilted(law, s)
    spiral = sf.datasets.spiral().distribution
    points = spiral.points.float()  # type: ignore[attr-defined]
    out["spiral 100"] = spiral, lambda s: of_round(points, s**2, s)
    squares = sf.datasets.checkerboard().distribution
    out["checkerboard 8"] = squares, lambda s: of_squares(squares, s)  # type: ignore[arg-type]
    return out


def repeated(evaluate: Evaluate, x: Tensor, times: int) -> None:
    """Repeat a run for small clouds, which take less than the resolution of the CPU time."""
    for _ in range(times):
        evaluate(x)


def rows(n: int, rounds: int) -> list[dict[str, object]]:
    """The ratio of each case at one cloud size, and the largest difference from the reference."""
    out = []
    for name, (law, by_hand) in cases().items():
        sigma = law.std() / 2
        field = sf.ExactField(PROCESS, law)
        t = PROCESS.time_of(sigma)
        x = (
            law.sample(n, 0)
            + sigma * torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
        ).float()
        with torch.no_grad():
            ours, reference = field.at(t, PROCESS(t), x), by_hand(float(PROCESS(t).sigma))
            off = float((ours(x) - reference(x)).abs().max())
            many = max(1, 8192 // n)
            runs = {
                "ours": partial(repeated, ours, x, many),
                "reference": partial(repeated, reference, x, many),
            }
            seconds = record.interleaved(runs, rounds, time.process_time)
        out.append(
            {
                "case": name, "n": n, "ratio": record.ratio(seconds["ours"], seconds["reference"]),
                "us": 1e6 * statistics.median(seconds["ours"]) / many, "largest difference": off,
            }
        )  # fmt: skip
    return out


def main(quick: bool) -> None:
    """Print the table and append its rows."""
    torch.set_num_threads(1)
    found = [row for n in SIZES for row in rows(n, 9 if quick else 25)]
    mean = statistics.geometric_mean([float(str(row["ratio"])) for row in found])
    print(record.table(found), f"geometric mean of the ratios: {mean:.3f}", sep="\n\n")
    record.append("exact", found)
