"""Densities at the walls of a grid, against exponential and truncated densities."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from scipy.special import log_ndtr, ndtr
from scipy.stats import gamma

import sdeflow as sf
from sdeflow import Density, Grid, SdeflowError, evolve
from sdeflow.fokker_planck import REFUSE, markov_generator
from sdeflow.sdes import TransitionKernel
from tests.problems import close, f64

OPEN = dataclasses.replace(REFUSE, boundary_mass=1.0)


def uniform(grid: Grid) -> Density:
    return Density(grid, torch.full(grid.shape, 1 / math.prod(grid.shape), dtype=torch.float64))


def falling(t_end: float) -> sf.SDE:
    """dx = -dt + sqrt(2) dW, which tells its transition kernel."""
    one = f64(1.0)
    return sf.SDE(
        lambda x, t: -1 + 0 * x, lambda x, t: f64(math.sqrt(2)), 0.0, t_end,
        transition=lambda s, t: TransitionKernel(one, (s - t) * one, 2 * abs(t - s) * one),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("asked", [2, 11, 101])
def test_sediment_on_a_wall_does_not_depend_on_the_times_asked_for(asked: int) -> None:
    """p ~ e^{-x} above a reflecting wall at 0: mean 1, and not that of a law without walls."""
    path = evolve(
        falling(40.0), uniform(Grid(0.0, 10.0, (100,))), torch.linspace(0, 40, asked), refuse=OPEN
    )
    assert float(path[-1].mean()) == pytest.approx(1.0, abs=5e-3)
    assert path.diagnostics.boundary_mass > 0.1


@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_spring_between_walls_has_the_truncated_density(noise: float) -> None:
    """Ornstein-Uhlenbeck on [-1, 1] in few times, against the stationary chain."""
    sde = sf.sdes.ornstein_uhlenbeck([[1.0]], noise, 4.0)
    grid = Grid(-1.0, 1.0, (100,))
    x = grid.middles(0)
    truncated = torch.softmax(-(x**2) / noise**2, 0)
    with pytest.warns(RuntimeWarning, match="reached the wall"):
        path = evolve(sde, uniform(grid), [0.0, 4.0], refuse=OPEN)
    assert path[-1].total_variation(Density(grid, truncated)) < 6e-3
    assert markov_generator(sde, grid).stationary().total_variation(path[-1]) < 6e-3
    with pytest.raises(SdeflowError, match="reached the wall"):
        evolve(sde, uniform(grid), [0.0, 4.0])


def test_mass_that_a_kernel_carries_through_a_wall_is_refused_in_cells_of_any_width() -> None:
    """The two outermost layers of 4096 cells hold too little to tell."""
    sde = sf.sdes.ornstein_uhlenbeck([[1.0]], 1.0, 4.0)
    for cells in (64, 4096):
        grid = Grid(-1.4, 1.4, (cells,))
        start = sf.GaussianMixture.isotropic(f64([[0.0]]), 0.2).on_grid(grid)
        with pytest.raises(SdeflowError, match="of the mass reached the wall"):
            evolve(sde, start, [0.0, 4.0])


def test_brownian_motion_between_walls_is_exact_in_one_step() -> None:
    """Its kernel with reflecting walls is known: the drift is not asked, and steps not made."""

    def drift(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the drift was asked for")

    still = sf.sdes.brownian(0.5, 2.0)
    sde = dataclasses.replace(still, drift=drift, made_for=(drift, still.diffusion))
    grid = Grid(0.0, 1.0, (64,))
    edges = grid.edges(0)

    def masses(t: float) -> torch.Tensor:
        """Of 1 + 0.8 cos(pi x) e^{-pi^2 t / 2}."""
        return torch.diff(
            edges + 0.8 * math.exp(-(math.pi**2) * t / 2) * (math.pi * edges).sin() / math.pi
        )

    with pytest.warns(RuntimeWarning, match="reached the wall"):
        found = evolve(sde, Density(grid, masses(0.0)), [0.0, 0.2], refuse=OPEN)[-1]
    assert close(found.mass, masses(0.2), rtol=1e-12)


def test_advised_walls_work_as_printed() -> None:
    """dx = (1 - x) dt + sqrt(x) dW stays above 0 by itself: Gamma(2, 1 / 2)."""
    sde = sf.SDE(lambda x, t: 1 - x, lambda x, t: x.clamp_min(0).sqrt(), 0.0, 8.0)
    grid = Grid(0.0, 9.0, (128,))
    start = sf.GaussianMixture.isotropic(f64([[2.0]]), 0.3).on_grid(grid)
    with pytest.raises(SdeflowError, match="where the wall is meant to reflect, ") as said:
        evolve(sde, start, [0.0, 8.0], steps=400)
    advice = re.search(r"reflect, (dataclasses.*\)) \(refused", str(said.value))
    assert advice is not None
    walled = eval(advice[1], {"dataclasses": dataclasses, "sf": sf, "sde": sde, "grid": grid})
    found = evolve(walled, start, [0.0, 8.0], steps=400)[-1]
    exact = np.diff(gamma.cdf(grid.edges(0).numpy(), 2, scale=0.5))
    assert abs(found.mass.numpy() - exact).sum() / 2 < 3e-3


def fallen(x: np.ndarray, t: float, spread: float) -> np.ndarray:
    """P(X_t <= x) for dX = -dt + sqrt(2 spread) dW from 1.5 above a wall at 0 (Harrison 1985)."""
    s = math.sqrt(2 * spread * t)
    mirrored = np.exp(log_ndtr((-x - 1.5 + t) / s) - x / spread)
    out: np.ndarray = ndtr((x - 1.5 + t) / s) - mirrored
    return out


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("spread", [1.0, 0.01, 0.003])
def test_drift_onto_the_end_of_a_grid_is_exact_or_has_an_honest_error(spread: float) -> None:
    """The same with a wall there; where cells are wide for the noise the error is estimated."""
    grid = Grid(0.0, 10.0 if spread == 1 else 4.0, (256,))
    noise = math.sqrt(2 * spread)
    free = sf.SDE(lambda x, t: -1 + 0 * x, lambda x, t: f64(noise), 0.5, 1.4)
    first, last = (f64(np.diff(fallen(grid.edges(0).numpy(), t, spread))) for t in (0.5, 1.4))
    limits = dataclasses.replace(OPEN, error=1.0, negative_mass=1.0)
    for sde in (free, dataclasses.replace(free, walls=sf.sdes.Box(0.0, math.inf))):
        path = evolve(sde, Density(grid, first.clamp_min(0)), [0.5, 1.4], refuse=limits)
        error = path[-1].total_variation(Density(grid, last.clamp_min(0)))
        assert error < 3 * path.diagnostics.error
        assert (error < 1e-6) == (spread == 1)


def test_rescaled_kernel_that_meets_a_wall_is_stepped() -> None:
    """Noising between walls keeps a truncated normal density, which the kernel spreads."""
    process = sf.VP(t_min=1e-3)
    rescaling = sf.fokker_planck.Rescaling(process, 1.0)
    grid = Grid(-1.5, 1.5, (64,))
    law = sf.GaussianMixture.isotropic(f64([[0.0]]), 1.0)
    start = law.on_grid(grid, missing=0.2).normalised()
    with pytest.warns(RuntimeWarning, match="reached the wall"):
        path = evolve(
            sf.forward(process), start, [process.t_min, 1.0], rescaling=rescaling, refuse=OPEN
        )
    assert path[-1].total() == pytest.approx(1.0, abs=1e-12)
    assert path[-1].total_variation(start) < 1e-2  # its scale is constant, and it stationary
