"""Markov generators against Boltzmann densities, first-passage integrals and known eigenvalues."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import cumulative_trapezoid
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError, evolve
from sdeflow.fokker_planck import markov_generator
from tests.problems import (
    GRID_64,
    NO_LIMITS,
    OU,
    close,
    coarse_density,
    f64,
    linear_sde,
)

F64 = torch.float64


def well(x: Tensor) -> Tensor:
    return (x**2 - 1) ** 2 / 0.25


def overdamped(potential: Callable[[Tensor], Tensor], spread: float = 0.5) -> sf.SDE:
    """f = -D U', U in units of kT."""

    def drift(x: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return -spread * torch.autograd.grad(potential(x).sum(), x)[0]

    return sf.SDE(drift, lambda x, t: f64(math.sqrt(2 * spread)), 0.0, 1.0)


def hills(x: Tensor) -> Tensor:
    return (well(x[:, 0]) + 2 * x[:, 1] ** 2 + x[:, 0] * x[:, 1])[:, None]


def test_boltzmann_density_is_stationary_for_the_generator() -> None:
    grid = Grid((-2.2, -3.0), (2.2, 3.0), (60, 50))
    u = hills(grid.centres()).reshape(grid.shape)
    boltzmann = Density(grid, torch.softmax(-u.reshape(-1), 0).reshape(grid.shape))
    chain = sf.fokker_planck.markov_generator(overdamped(hills), grid, potential=u)
    rates = chain.matrix.diagonal()
    assert float(chain.rate(boltzmann).abs().max()) < 1e-12 * abs(rates).max()
    assert abs(chain.matrix.sum(0)).max() < 1e-12 * abs(rates).max()
    assert chain.propagate(boltzmann, 3.0).total_variation(boltzmann) < 1e-12
    assert chain.stationary().total_variation(boltzmann) < 1e-12
    assert float((chain.stationary().mass / boltzmann.mass - 1).abs().max()) < 1e-9
    sampled = sf.fokker_planck.markov_generator(overdamped(hills), grid).stationary()
    assert sampled.total_variation(boltzmann) < 5e-3


def boltzmann_error(cells: int, span: float, steps: int) -> float:
    """TV of an evolved Boltzmann density to itself; masses are sums over 8 x 8 points a cell."""
    fine = Grid((-2.4, -3.0), (2.4, 3.0), (8 * cells, 8 * cells))
    u = hills(fine.centres())
    p = Density(fine, torch.softmax(-u.reshape(-1), 0).reshape(fine.shape)).coarsen(8)
    sde = replace(overdamped(hills), t_end=span)
    return evolve(sde, p, f64([0.0, span]), steps=steps)[-1].total_variation(p)


def test_boltzmann_density_is_stationary_for_evolve() -> None:
    """dt U'' = 0.08 at the bottom of each well, where U'' = 32 and the mobility 1/2."""
    assert boltzmann_error(64, 1.0, 200) < 1e-3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 80 steps are too few, which it warns of
def test_boltzmann_density_is_stationary_for_evolve_at_128() -> None:
    """1.7e-3 at 128^2, T = 4, dt U'' = 0.16 and 4e-2 at 0.8; second order says 25 times."""
    fine, rough = boltzmann_error(128, 4.0, 400), boltzmann_error(128, 4.0, 80)
    assert fine <= 1.7e-3
    assert 10 < rough / fine < 40
    assert rough <= 4e-2


def test_stationary_density_at_a_wall_is_exponential() -> None:
    """Constant drift onto a reflecting wall: p ~ e^{f x / D}, exact for the cell masses."""
    grid = Grid(0.0, 3.0, (40,))
    sde = sf.SDE(lambda x, t: -2.0 + 0 * x, lambda x, t: f64(1.0), 0.0, 1.0)
    ours = sf.fokker_planck.markov_generator(sde, grid).stationary()
    layer = torch.exp(-4.0 * grid.middles(0))
    assert close(ours.mass, layer / layer.sum(), rtol=1e-12)
    backwards = sf.SDE(sde.drift, sde.diffusion, 1.0, 0.0)
    assert close(
        sf.fokker_planck.markov_generator(backwards, grid).stationary().mass,
        ours.mass.flip(0),
        rtol=1e-12,
    )


def test_passage_time_over_a_barrier_is_the_exact_integral() -> None:
    """T(x) = (1 / D) int_x^b e^U int_{-inf}^y e^{-U}: from the left well to the top and beyond."""
    cells, spread = 800, 0.5
    grid = Grid(-2.0, 1.2, (cells,))
    x = grid.middles(0)
    u = well(x)
    b = 600
    ours = sf.fokker_planck.markov_generator(
        overdamped(well, spread), grid, potential=u
    ).passage_time(torch.arange(cells) >= b)
    y = np.linspace(-2.0, float(x[b]), 200_001)
    v = ((y**2 - 1) ** 2) / 0.25
    inner = cumulative_trapezoid(np.exp(-v), y, initial=0)
    total = cumulative_trapezoid(np.exp(v) * inner, y, initial=0) / spread
    theirs = np.interp(x[:b].numpy(), y, total[-1] - total)
    assert close(ours[:b], torch.from_numpy(theirs), rtol=1e-4)
    assert not ours[b:].any()
    plain = sf.fokker_planck.markov_generator(overdamped(well, spread), grid).passage_time(
        torch.arange(cells) >= b
    )
    assert close(plain, ours, rtol=2e-3)


def test_relaxation_rates_of_ornstein_uhlenbeck_are_sums_of_eigenvalues() -> None:
    """Of dx = A x: sums of the eigenvalues of -A; a rotating drift makes them complex."""
    grid = Grid(-5.0, 5.0, (80,))
    line = sf.SDE(lambda x, t: -1.5 * x, lambda x, t: f64(1.2), 0.0, 1.0)
    rates = sf.fokker_planck.markov_generator(line, grid).relaxation_rates(3)
    assert close(rates.real, f64([1.5, 3.0, 4.5]), rtol=2e-2)
    assert float(rates.imag.abs().max()) < 1e-6
    root = math.sqrt(2)
    turn = linear_sde(f64([[-1.0, -0.5], [0.5, -1.0]]), f64([root, root]), 1.0)
    found = sf.fokker_planck.markov_generator(turn, Grid(-5.0, 5.0, (48, 48))).relaxation_rates(2)
    assert close(found.real, f64([1.0, 1.0]), rtol=2e-2)
    assert sorted(found.imag.tolist()) == pytest.approx([-0.5, 0.5], rel=3e-2)


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_stationary_density_depends_on_the_calculus(calculus: str) -> None:
    """Ito: p ~ e^{int f / D} / D; Stratonovich: p ~ e^{int f / D} / sqrt(D); here f = 0."""
    sde = sf.SDE(
        lambda x, t: 0 * x, lambda x, t: 1 + 0.5 * torch.sin(x), 0.0, 1.0, calculus=calculus  # type: ignore[arg-type]
    )  # fmt: skip
    grid = Grid(-3.0, 3.0, (300,))
    g = 1 + 0.5 * torch.sin(grid.middles(0))
    shape = g**-2 if calculus == "ito" else 1 / g
    assert close(
        sf.fokker_planck.markov_generator(sde, grid).stationary().mass,
        shape / shape.sum(),
        rtol=1e-3,
    )
    flat = Density(grid, shape / shape.sum())
    with pytest.warns(RuntimeWarning, match="reached the wall"):
        kept = evolve(sde, flat, f64([0.0, 1.0]), steps=50, refuse=NO_LIMITS)[-1]
    assert kept.total_variation(flat) < 1e-4
    assert float(sf.fokker_planck.probability_current(sde, flat, 0.0)[3:-3].abs().max()) < 1e-6


def test_no_current_flows_at_rest_also_at_the_edges_of_a_grid_that_cuts_the_density() -> None:
    """The slope was 0 in the last cells: a current of 0.85 where there is none."""
    sde = sf.sdes.langevin(lambda x: -x[:, 0], temperature=0.5, t_end=1.0)
    rest = sf.fokker_planck.markov_generator(sde, Grid(0.0, 2.0, (100,))).stationary()
    assert float(sf.fokker_planck.probability_current(sde, rest, 0.0).abs().max()) < 1e-4
    assert sf.analysis.entropy_production(sde, rest, 0.0) < 1e-9


def test_generator_prints_in_words() -> None:
    generator = sf.fokker_planck.markov_generator(OU, Grid(-1.0, 1.0, (8,)))
    assert repr(generator) == "Markov generator on 8 cells in [-1, 1]"


# --------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: sf.fokker_planck.markov_generator(OU, GRID_64, potential=torch.zeros(3, 3)),
            ValueError,
            "one number per cell",
        ),
        (
            lambda: sf.fokker_planck.markov_generator(
                replace(OU, drift=lambda x, t: x / 0), GRID_64
            ),
            SdeflowError,
            "NaN or infinite at t = 0, first at",
        ),
        (
            lambda: sf.fokker_planck.probability_current(
                replace(OU, drift=lambda x, t: x[:, :1]), coarse_density(), 0.0
            ),
            ValueError,
            "one row per particle",
        ),
        (
            lambda: sf.fokker_planck.markov_generator(OU, Grid(-1.0, 1.0, (8, 8))).passage_time(
                torch.zeros(8, 8, dtype=torch.bool)
            ),
            ValueError,
            "at least one true cell",
        ),
        (
            lambda: sf.fokker_planck.markov_generator(OU, Grid(-1.0, 1.0, (8, 8))).propagate(
                coarse_density(), 1.0
            ),
            ValueError,
            "another grid",
        ),
        (
            lambda: sf.fokker_planck.markov_generator(
                sf.SDE(lambda x, t: 0 * x, None, 0.0, 1.0), Grid(-1.0, 1.0, (8,))
            ).stationary(),
            SdeflowError,
            "no unique stationary",
        ),
    ],
)
def test_generator_refuses_wrong_arguments_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("part", ["drift", "diffusion"])
def test_the_time_of_an_sde_that_depends_on_it_must_be_named(part: str) -> None:
    """Also where the drift is the same at the start, the middle and the end."""
    sde = sf.sdes.langevin(sf.sdes.harmonic(1.0), 1.0, t_end=1.0)
    made = getattr(sde, part)
    turned = replace(sde, **{part: lambda x, t: made(x, t) * (2 + torch.sin(2 * math.pi * t))})
    grid = Grid(-5.0, 5.0, (32,))
    with pytest.raises(ValueError, match=r"depends on time.* name it, t=0, or use evolve"):
        markov_generator(turned, grid)
    now, later = (markov_generator(turned, grid, t=t).matrix for t in (0.0, 0.25))
    assert abs(later - now).max() > 1
