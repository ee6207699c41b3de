"""Langevin dynamics under a given force and at a temperature that changes, in closed form."""

import copy
import math

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow import SDESolver
from sdeflow.sdes import langevin
from tests.problems import close, f64, randn


def spring(x: Tensor, t: Tensor) -> Tensor:
    return -x


def test_a_force_moves_particles_as_its_potential_does() -> None:
    x, solver = randn(9, 2), SDESolver("heun", 40, seed=1)
    by_force = langevin(force=spring, temperature=0.5, mobility=2.0)
    by_potential = langevin(sf.sdes.harmonic(), temperature=0.5, mobility=2.0)
    assert close(solver.solve(by_force, x).x, solver.solve(by_potential, x).x, 1e-12)
    at = sf.Grid(-4.0, 4.0, (64,))
    start = sf.GaussianMixture.isotropic(f64([[0.5]]), 0.6).on_grid(at)
    one, two = (
        sf.fokker_planck.evolve(sde, start, [0.0, 0.5])[-1] for sde in (by_force, by_potential)
    )
    assert float((one.mass - two.mass).abs().sum()) / 2 < 2e-3


def test_annealing_has_the_variance_of_its_linear_equation() -> None:
    """dV/dt = -2 k V + 2 T(t): V from 0 in T = e^{-t}, k = 1 is 2 (e^{-t} - e^{-2t})."""
    sde = langevin(sf.sdes.harmonic(), lambda t: torch.exp(-t), t_end=1.5)
    n, x = 8000, torch.zeros(8000, 1).double()
    path = SDESolver("heun", 150, seed=3).solve(sde, x, save=[0.5, 1.5])
    exact = 2 * (torch.exp(-path.t) - torch.exp(-2 * path.t))
    variance = (path.x[:, :, 0] ** 2).mean(1)
    assert ((variance / exact - 1).abs() < 3 * math.sqrt(2 / n) + 5e-3).all()
    assert sde.transition is None
    assert "temperature a function of t" in repr(sde)
    copy.deepcopy(langevin(force=spring, temperature=torch.cos, t_end=0.5))


def test_a_force_without_potential_turns_the_plane() -> None:
    """F = -x + 3 (y, -x): the stationary density is e^{-r^2 / 2T}, and there is a current."""

    def turning(x: Tensor, t: Tensor) -> Tensor:
        return -x + 3 * torch.stack([x[:, 1], -x[:, 0]], 1)

    sde = langevin(force=turning, temperature=0.5, t_end=4.0)
    x = SDESolver("heun", 400, seed=2).solve(sde, torch.zeros(4000, 2).double()).x[-1]
    assert ((x**2).mean(0) / 0.5 - 1).abs().max() < 3 * math.sqrt(2 / 4000) + 1e-2
    exact = sf.sdes.ornstein_uhlenbeck([[1.0, -3.0], [3.0, 1.0]], 1.0)
    assert close(sde.drift(x, f64(0.0)), exact.drift(x, f64(0.0)))


def test_a_temperature_may_fall_to_zero() -> None:
    sde = langevin(sf.sdes.harmonic(), lambda t: 1 - t, t_end=1.0)
    assert torch.isfinite(SDESolver("heun", 20).solve(sde, randn(9, 1)).x).all()


X = randn(6, 1)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: langevin(), TypeError, "needs a potential, or force="),
        (lambda: langevin(sf.sdes.harmonic(), force=spring), ValueError, "takes the place of"),
        (lambda: langevin(force=1.0), TypeError, "force must be a function"),
        (lambda: langevin(force=lambda x: x), TypeError, r"function of \(x, t\)"),
        (
            lambda: SDESolver().solve(langevin(force=lambda x, t: x[:, 0]), X),
            ValueError, "force must return a tensor",
        ),
        (
            lambda: SDESolver().solve(langevin(force=spring, temperature=lambda t: -1.0), X),
            ValueError, "finite and not negative, got -1",
        ),
        (
            lambda: SDESolver().solve(langevin(force=spring, temperature=lambda t: X[:, 0]), X),
            ValueError, "temperature must return one number",
        ),
        (
            lambda: langevin(force=spring, temperature=lambda x, t: 1.0),
            TypeError, r"temperature must be a function of \(t\)",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
