"""A double well between absorbing ends, against an independent spectral solution by scipy."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev
from scipy.linalg import expm
from scipy.stats import norm

import sdeflow as sf
from sdeflow import Density, Grid, SDESolver, evolve
from sdeflow.analysis import survival
from sdeflow.fokker_planck import markov_generator
from tests.problems import f64

END, NOISE, START, WIDTH = 1.2, 0.6, -0.7, 0.1
TIMES = [0.0, 0.4, 0.8, 1.6]
SDE = sf.SDE(
    lambda x, t: x - x**3, lambda x, t: x.new_tensor(NOISE), 0.0, 1.6,
    walls=sf.sdes.Box(-END, END, "absorbing"),
)  # fmt: skip


@cache
def operator(n: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points on [-END, END], and -(f p)' + (g^2 / 2) p'' for p = 0 at both ends."""
    s = chebyshev.chebpts2(n)
    to = chebyshev.chebvander(s, n - 1)
    slope = np.stack([chebyshev.chebval(s, chebyshev.chebder(e)) for e in np.eye(n)], 1)
    d = slope @ np.linalg.inv(to) / END
    x = s * END
    full = -d @ np.diag(x - x**3) + NOISE**2 / 2 * d @ d
    return x, full[1:-1, 1:-1]


def reference(t: float, edges: np.ndarray) -> np.ndarray:
    """The masses between the edges at time t, from the Gaussian at the start."""
    x, inner = operator()
    p = np.zeros(len(x))
    p[1:-1] = expm(t * inner) @ norm.pdf(x[1:-1], START, WIDTH)
    whole = chebyshev.chebint(chebyshev.chebfit(x / END, p, len(x) - 1))
    out: np.ndarray = np.diff(chebyshev.chebval(edges / END, whole)) * END
    return out


def begun(grid: Grid) -> Density:
    return Density(grid, f64(np.diff(norm.cdf(grid.edges(0).numpy(), START, WIDTH))))


def scores(n: int, steps: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The standard scores of survival at the later times, and of the counts in 16 cells."""
    x = START + WIDTH * sf.random_streams.normals(
        seed, sf.random_streams.Stream.DATA, n, 1, torch.float64
    )
    path = SDESolver(steps=steps, seed=seed).solve(SDE, x, TIMES)
    edges = np.linspace(-END, END, 17)
    exact = np.array([reference(t, edges) for t in TIMES[1:]])
    alive, counts = (
        exact.sum(1),
        [np.histogram(path.x[k][~path.gone(k)].numpy(), edges)[0] for k in (1, 2, 3)],
    )
    error = np.sqrt(exact * (1 - exact) / n)
    found = survival(path, TIMES[1:]).value.numpy()
    return (
        (found - alive) / np.sqrt(alive * (1 - alive) / n),
        ((np.array(counts) / n - exact) / error)[exact * n > 20],
    )


@pytest.mark.parametrize(
    ("n", "steps", "largest"),
    [(4000, 120, 4.0), pytest.param(100_000, 1200, 3.0, marks=pytest.mark.slow)],
)
def test_particles_are_those_of_the_spectral_solution(n: int, steps: int, largest: float) -> None:
    """Survival at three times within 3 standard errors at 10^5, and the counts in 16 cells."""
    alive, counts = scores(n, steps)
    assert abs(alive).max() < largest
    assert abs(counts).max() < 4
    assert (counts**2).mean() < 1 + 5 * math.sqrt(2 / len(counts))


def test_densities_are_those_of_the_spectral_solution_and_of_order_two() -> None:
    """Total variation and survival at three times; the generator agrees with `evolve`."""
    errors = []
    for cells in (32, 128):
        grid = Grid(-END, END, (cells,))
        path = evolve(SDE, begun(grid), TIMES, steps=2 * cells)
        exact = [f64(reference(t, grid.edges(0).numpy())) for t in TIMES[1:]]
        off = [float((p.mass - m).abs().sum()) / 2 for p, m in zip(path[1:], exact, strict=True)]
        errors.append(max(off))
        known = f64([float(m.sum()) for m in exact])
        assert (survival(path, TIMES[1:]).value - known).abs().max() < 3 * errors[-1]
        assert errors[-1] < 3 * path.diagnostics.error
    assert errors[1] < 1e-4
    assert math.log2(errors[0] / errors[1]) / 2 > 1.9
    jumped = markov_generator(SDE, grid, estimate=False).propagate(begun(grid), TIMES[-1])
    assert float((jumped.mass - exact[-1]).abs().sum()) / 2 < 1e-4
