"""A matrix of noise: Gaussians, Heston's formula and strong orders."""

import cmath
import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.linalg import expm, solve_continuous_lyapunov
from torch import Tensor

import sdeflow as sf
from sdeflow import SDE, Grid, SDESolver
from sdeflow.processes import uniform_times
from sdeflow.solvers import Brownian
from tests.problems import close, f64

C, S = math.cos(0.6), math.sin(0.6)
NOISE = f64([[C, -S], [S, C]]) @ torch.diag(f64([1.2, 0.3]))
PULL = f64([[1.0, 0.6], [-0.4, 1.5]])
ROTATED = SDE(lambda x, t: -x @ PULL.to(x).T, lambda x, t: NOISE.to(x), 0.0, 1.0, noises=2)
START = sf.GaussianMixture(f64([1.0]), f64([[1.0, -0.5]]), 0.2 * torch.eye(2).double()[None])


def rotated_end() -> sf.GaussianMixture:
    """Gardiner 2009, section 4.5."""
    fade = expm(-PULL.numpy())
    rest = solve_continuous_lyapunov(PULL.numpy(), (NOISE @ NOISE.T).numpy())
    spread = torch.from_numpy(rest + fade @ (0.2 * np.eye(2) - rest) @ fade.T)
    mean = START.means @ torch.from_numpy(fade).T
    return sf.GaussianMixture(f64([1.0]), mean, ((spread + spread.T) / 2)[None])


def test_a_rotated_noise_leaves_the_covariance_of_the_lyapunov_equation() -> None:
    n, exact = 100_000, rotated_end()
    x = SDESolver("heun", steps=16, seed=1).solve(ROTATED, START.sample(n, 0)).x[-1]
    cov, found = exact.covariances[0], torch.cov(x.T)
    error = ((cov.diagonal()[:, None] * cov.diagonal() + cov**2) / n).sqrt()
    assert ((found - cov).abs() < 3 * error).all()
    assert ((x.mean(0) - exact.means[0]).abs() < 3 * (cov.diagonal() / n).sqrt()).all()


def test_the_density_under_a_rotated_noise_is_the_gaussian_and_of_second_order() -> None:
    errors = []
    for cells in (64, 128):
        grid = Grid(-4.0, 4.0, (cells, cells))
        path = sf.evolve(ROTATED, START.on_grid(grid), [0.0, 1.0], steps=cells // 2)
        errors.append(path[-1].total_variation(rotated_end().on_grid(grid)))
        assert errors[-1] < 3 * path.diagnostics.error
    assert errors[1] < 1e-3
    assert math.log2(errors[0] / errors[1]) > 1.8


def test_a_diagonal_matrix_is_the_noise_of_its_diagonal() -> None:
    size = f64([0.5, 1.5])
    matrix = SDE(lambda x, t: -x, lambda x, t: torch.diag(size), 0.0, 1.0, noises=2)
    plain = SDE(lambda x, t: -x, lambda x, t: size, 0.0, 1.0)
    x = START.sample(100, 0)
    for method in ("euler", "heun", "midpoint"):
        solver = SDESolver(method, steps=8, seed=2)
        assert close(solver.solve(matrix, x).x[-1], solver.solve(plain, x).x[-1], rtol=1e-13)
    grid = Grid(-6.0, 6.0, (48, 48))
    moved = [sf.evolve(sde, START.on_grid(grid), [0.0, 1.0], steps=20) for sde in (matrix, plain)]
    assert close(moved[0][-1].mass, moved[1][-1].mass, atol=1e-12)


def heston(x: Tensor, t: Tensor) -> Tensor:
    """(d ln S, dv) = ... + sqrt(v) (dW_1, xi (rho dW_1 + sqrt(1 - rho^2) dW_2))."""
    root = x[:, 1].clamp_min(0.0).sqrt()
    zero = torch.zeros_like(root)
    rows = [torch.stack([root, zero], -1), torch.stack([XI * RHO * root, XI * REST * root], -1)]
    return torch.stack(rows, 1)


KAPPA, THETA, XI, RHO, V0 = 2.0, 0.3, 0.5, -0.7, 0.2
REST = math.sqrt(1 - RHO**2)


def heston_characteristic(u: float, t: float) -> complex:
    """E[exp(i u ln S_t)], S_0 = 1, no interest (Heston 1993; Albrecher et al. 2007)."""
    b = KAPPA - RHO * XI * 1j * u
    d = cmath.sqrt(b**2 + XI**2 * (1j * u + u**2))
    g = (b - d) / (b + d)
    fade = cmath.exp(-d * t)
    a = KAPPA * THETA / XI**2 * ((b - d) * t - 2 * cmath.log((1 - g * fade) / (1 - g)))
    return cmath.exp(a + V0 / XI**2 * (b - d) * (1 - fade) / (1 - g * fade))


def test_hestons_model_has_its_means_variance_and_characteristic_function() -> None:
    def drift(x: Tensor, t: Tensor) -> Tensor:
        v = x[:, 1].clamp_min(0.0)
        return torch.stack([-v / 2, KAPPA * (THETA - v)], 1)

    n = 100_000
    sde = SDE(drift, heston, 0.0, 1.0, noises=2)
    x = SDESolver(steps=64, seed=3).solve(sde, f64([[0.0, V0]]).repeat(n, 1)).x[-1]
    log_s, v = x.T
    fade = math.exp(-KAPPA)
    mean = THETA + (V0 - THETA) * fade
    variance = XI**2 / KAPPA * (V0 * (fade - fade**2) + THETA / 2 * (1 - fade) ** 2)
    assert abs(float(v.mean()) - mean) < 3 * math.sqrt(variance / n)
    assert float(v.var()) == pytest.approx(variance, rel=0.03)
    assert abs(float(log_s.exp().mean()) - 1) < 3 * float(log_s.exp().std()) / math.sqrt(n)
    for u in (0.5, 1.0, 2.0, 4.0):
        wave = torch.exp(1j * u * log_s)
        error = math.sqrt((1 - abs(heston_characteristic(u, 1.0)) ** 2) / n)
        assert abs(complex(wave.mean()) - heston_characteristic(u, 1.0)) < 3 * error


def test_one_noise_in_two_equations_moves_both_alike() -> None:
    """x_1 - 2 x_2 keeps its value under (1, 1/2)^T dW."""
    sde = SDE(lambda x, t: 0 * x, lambda x, t: x.new_tensor([[1.0], [0.5]]), 0.0, 1.0, noises=1)
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)).double()
    end = SDESolver(steps=10, seed=0).solve(sde, x).x[-1]
    assert close(end[:, 0] - 2 * end[:, 1], x[:, 0] - 2 * x[:, 1], atol=1e-12)
    assert float((end - x)[:, 0].var()) == pytest.approx(1.0, rel=0.25)


def crossed(x: Tensor, t: Tensor) -> Tensor:
    """dX_1 = dW_1, dX_2 = X_1 dW_2: noises that do not commute."""
    zero = torch.zeros_like(x[:, 0])
    rows = [torch.stack([zero + 1, zero], -1), torch.stack([zero, x[:, 0]], -1)]
    return torch.stack(rows, 1)


STEPS = (8, 16, 32, 64)
FINE = uniform_times(0.0, 1.0, 256)
ORIGIN = torch.zeros(1000, 2).double()


@cache
def exact() -> Tensor:
    """X(1) on the path of 256 fine steps."""
    sde = SDE(lambda x, t: 0 * x, crossed, 0.0, 1.0, "stratonovich", noises=2)
    return SDESolver("log_ode", times=FINE, fine=FINE, seed=1).solve(sde, ORIGIN).x[-1]


def strong_errors(method: str) -> np.ndarray:
    """Of X_2(1), for which both calculi agree."""
    calculus = "ito" if method == "euler" else "stratonovich"
    sde = SDE(lambda x, t: 0 * x, crossed, 0.0, 1.0, calculus, noises=2)  # type: ignore[arg-type]
    out = []
    for steps in STEPS:
        solver = SDESolver(method, times=uniform_times(0.0, 1.0, steps), fine=FINE, seed=1)
        gap = (solver.solve(sde, ORIGIN).x[-1] - exact()).square().sum(1).mean()
        out.append(float(gap.sqrt()))
    return np.array(out)


@pytest.mark.parametrize("method", ["euler", "heun", "midpoint"])
def test_noises_that_do_not_commute_leave_strong_order_one_half(method: str) -> None:
    slope = -np.polyfit(np.log(STEPS), np.log(strong_errors(method)), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.15)


def test_log_ode_follows_noises_that_do_not_commute_at_any_step() -> None:
    """X_2 is linear in the Levy area, and the area of a long step is that of its parts."""
    assert strong_errors("log_ode").max() < 1e-12


def test_levy_areas_have_their_variance_given_the_increments_and_over_all() -> None:
    """Var[A | W] = (1 + W_i^2 + W_j^2) / 12 and Var[A] = 1/4, kurtosis 5 (Levy 1951)."""
    n = 100_000
    w, a = Brownian(1, n, 3, torch.float64, area=True)(0.0, 1.0, return_A=True)
    assert close(a, -a.mT, atol=0.0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        area = a[:, i, j]
        scaled = area**2 / (1 + w[:, i] ** 2 + w[:, j] ** 2) * 12
        assert float(scaled.mean()) == pytest.approx(1.0, abs=3 * float(scaled.std()) / n**0.5)
        assert float(area.var()) == pytest.approx(0.25, rel=3 * math.sqrt(4 / n))
        assert float((area**4).mean() / area.var() ** 2) == pytest.approx(5.0, abs=0.4)
    assert abs(float((a[:, 0, 1] * a[:, 0, 2]).mean())) < 4 * 0.25 / n**0.5


def test_the_first_particles_of_a_run_with_matrix_noise_are_their_own_run() -> None:
    sde = SDE(lambda x, t: -x, crossed, 0.0, 1.0, "stratonovich", noises=2)
    x = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0))
    for method in ("heun", "log_ode"):
        solver = SDESolver(method, steps=5, seed=4)
        assert solver.solve(sde, x).x[-1][:301].equal(solver.solve(sde, x[:301]).x[-1])
    again = SDESolver(steps=5, seed=4)
    ito = SDE(lambda x, t: -x, crossed, 0.0, 1.0, noises=2)
    assert again.solve(ito, x).x[-1][:301].equal(again.solve(ito, x[:301]).x[-1])


def test_first_passage_under_a_matrix_is_that_of_its_projection() -> None:
    """Noise along (0.6, 0.8) alone reaches x_1 = 1 as one-dimensional motion of 0.6 dW."""
    sde = SDE(
        lambda x, t: x.new_tensor([1.0, 0.0]).expand_as(x),
        lambda x, t: x.new_tensor([[0.6], [0.8]]), 0.0, 20.0, noises=1,
    )  # fmt: skip
    found = sf.analysis.first_passage(
        sde, torch.zeros(5000, 2).double(), lambda x: 1 - x[:, 0], SDESolver(steps=200, seed=3)
    )
    assert abs(found.mean().standard_score(1.0)) < 3  # distance over drift, by Wald


@pytest.mark.parametrize("method", ["euler", "heun", "log_ode"])
@pytest.mark.parametrize("differentiable", [False, True])
def test_a_matrix_that_changes_its_shape_on_the_way_is_refused(
    method: str, differentiable: bool
) -> None:
    """A row (2,) would be spread over the matrix (2, 2)."""
    whole = torch.eye(2, dtype=torch.float64)
    sde = SDE(lambda x, t: -x, lambda x, t: whole if t < 0.5 else whole[0], 0.0, 1.0, noises=2)
    x = torch.zeros(5, 2, dtype=torch.float64, requires_grad=differentiable)
    with pytest.raises(ValueError, match=r"returned \(2,\) .* it is a matrix, \(2, 2\)"):
        SDESolver(method, steps=4, seed=0).solve(sde, x, differentiable=differentiable)
