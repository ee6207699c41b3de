"""Gradients of runs: closed forms, other runs, and the memory of the adjoint."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow import SDE, ODESolver, SDESolver
from sdeflow.solvers import Brownian
from tests.problems import close, f64

MODES: list[Any] = [True, "adjoint"]


def pulled(rate: Tensor, noise: float = 0.0) -> SDE:
    """dx = -rate x dt + noise dW."""
    diffusion = (lambda x, t: f64(noise)) if noise else None
    return SDE(lambda x, t: -rate * x, diffusion, 0.0, 1.0)


def slope(path: sf.solvers.Path, rate: Tensor) -> float:
    """d mean(x_T^2) / d rate."""
    (out,) = torch.autograd.grad((path.x[-1] ** 2).mean(), rate)
    return float(out)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", [ODESolver("rk4", steps=40), ODESolver(rtol=1e-8)], ids=str)
def test_the_gradient_of_a_flow_is_the_closed_form(solver: ODESolver, mode: Any) -> None:
    rate = f64(0.7).requires_grad_()
    x = torch.linspace(-1, 2, 50).double()[:, None]
    path = solver.solve(pulled(rate), x, 3, differentiable=mode)
    exact = -2 * math.exp(-1.4) * float((x**2).mean())
    assert slope(path, rate) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_of_noisy_paths_is_that_of_their_recursion(mode: Any) -> None:
    """Heun's steps of a linear SDE are x -> a x + b dW, differentiated here by hand."""
    rate, steps, n, h = f64(0.7).requires_grad_(), 400, 500, 1 / 400
    x = torch.full((n, 1), 1.3).double()
    solver = SDESolver("heun", steps=steps, seed=1)
    path = solver.solve(pulled(rate, 0.5), x, differentiable=mode)
    bm = Brownian(1, n, 1, torch.float64, times=sf.processes.uniform_times(0.0, 1.0, steps))
    a, d_a = 1 - 0.7 * h + (0.7 * h) ** 2 / 2, -h + 0.7 * h**2
    d = torch.zeros_like(x)
    for k in range(steps):
        w = bm(float(k)) * h**0.5  # type: ignore[operator]
        x, d = a * x + 0.5 * (1 - 0.7 * h / 2) * w, a * d + d_a * x - 0.5 * h / 2 * w
    exact = float((2 * x * d).mean())
    assert slope(path, rate) == pytest.approx(exact, rel=1e-10 if mode is True else 1e-5)


def test_the_gradient_of_the_mean_is_that_of_the_ornstein_uhlenbeck_process() -> None:
    rate, n = f64(0.7).requires_grad_(), 100_000
    x = torch.full((n, 1), 1.3).double()
    path = SDESolver("heun", steps=30, seed=1).solve(pulled(rate, 0.5), x, differentiable=True)
    fade = math.exp(-1.4)
    exact = -2 * 1.69 * fade + 0.25 * (fade / 0.7 - (1 - fade) / (2 * 0.49))
    assert slope(path, rate) == pytest.approx(exact, abs=3 * 1.2 / math.sqrt(n))


@pytest.mark.parametrize("method", ["euler", "heun", "midpoint", "milstein", "reversible_heun"])
def test_a_run_with_a_gradient_is_the_run_without(method: str) -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double()
    calculus: Any = "ito" if method == "euler" else "stratonovich"
    sde = SDE(lambda x, t: -x * t, lambda x, t: 0.1 + x**2 / 9, 0.0, 1.0, calculus)
    solver = SDESolver(method, steps=12, seed=2)
    plain = solver.solve(sde, x, save=[0.5, 1.0])
    graph = solver.solve(sde, x.requires_grad_(), save=[0.5, 1.0], differentiable=True)
    assert float((graph.x - plain.x).detach().abs().max()) < 1e-12
    assert graph.t.equal(plain.t)
    (grad,) = torch.autograd.grad(graph.x[-1].sum(), x)
    shift = 1e-6 * torch.ones_like(x)
    up, down = (solver.solve(sde, (x + s).detach()).x[-1].sum() for s in (shift, -shift))
    assert float(grad.sum()) == pytest.approx(float(up - down) / 2e-6, rel=1e-6)


def test_a_run_of_srk_with_a_gradient_is_the_run_without_under_additive_noise() -> None:
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1)).double()
    sde = SDE(lambda x, t: torch.sin(3 * x) * t, lambda x, t: 0.3 + t, 0.0, 1.0)
    solver = SDESolver("srk", steps=3, seed=2)
    graph = solver.solve(sde, x.clone().requires_grad_(), differentiable=True)
    assert float((graph.x[-1] - solver.solve(sde, x).x[-1]).detach().abs().max()) < 1e-12


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_no_gradient_passes_through_the_lengths_of_adaptive_steps(method: str) -> None:
    """x' = rate tanh(x) (1 + t), so sinh x(1) = sinh x(0) exp(1.5 rate)."""
    rate = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double()
    sde = SDE(lambda x, t: rate * torch.tanh(x) * (1 + t), None, 0.0, 1.0)
    path = ODESolver(method, rtol=1e-6).solve(sde, x, differentiable=True)
    end = torch.asinh(torch.sinh(x) * torch.exp(1.5 * rate))
    found, exact = (torch.autograd.grad(e.square().sum(), rate)[0] for e in (path.x[-1], end))
    assert float(found) == pytest.approx(float(exact), rel=1e-5)


def test_the_adjoint_finds_what_drift_and_noise_are_computed_from() -> None:
    """By the graph of the steps: a number behind another one, given or not, and the noise."""
    x, log_rate, noise = torch.ones(20, 1).double(), f64(-0.3), f64(0.4)
    log_rate.requires_grad_(), noise.requires_grad_()
    solver, found = SDESolver("heun", steps=100, seed=1), []
    for mode, given in ((True, False), ("adjoint", False), ("adjoint", True)):
        rate = log_rate.exp()
        sde = SDE(lambda x, t, rate=rate: -rate * x, lambda x, t: noise, 0.0, 1.0)
        path = solver.solve(sde, x, differentiable=mode, parameters=[rate] * given)
        found.append(f64(torch.autograd.grad((path.x[-1] ** 2).sum(), (log_rate, noise))))
    assert close(found[1], found[0], rtol=1e-4)
    assert close(found[2], found[1], rtol=1e-12)


def test_the_adjoint_of_fixed_steps_is_the_closed_form_where_time_runs_down() -> None:
    """x' = rate t x from 1 to 0: x(0) = x(1) exp(-rate / 2)."""
    rate = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    sde = SDE(lambda x, t: rate * t * x, None, 1.0, 0.0)
    x, solver = torch.ones(3, 1, dtype=torch.float64), ODESolver("rk4", steps=10)
    path = solver.solve(sde, x, [0.5, 0.0], differentiable="adjoint", parameters=[rate])
    (found,) = torch.autograd.grad(path.x[-1].sum(), rate)
    assert float(found) == pytest.approx(-1.5 * math.exp(-0.3), rel=1e-6)


def test_the_adjoint_of_reversible_heun_is_the_gradient_of_its_steps_to_rounding() -> None:
    grads = []
    for mode in MODES:
        rate = f64(0.7).requires_grad_()
        x = torch.full((50, 1), 1.3).double()
        path = SDESolver("reversible_heun", steps=20, seed=1).solve(
            pulled(rate, 0.5), x, differentiable=mode, parameters=[rate]
        )
        grads.append(slope(path, rate))
    assert grads[0] == pytest.approx(grads[1], rel=1e-10)


def _kept(steps: int, mode: Any, noise: float) -> int:
    """Numbers that a run keeps for its gradient."""
    kept = 0

    def pack(saved: Tensor) -> Tensor:
        nonlocal kept
        kept += saved.numel()
        return saved

    drift = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    x = torch.zeros(100, 2).double()

    class Motion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = drift

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.net(x)

    sde = SDE(Motion(), (lambda x, t: f64(noise)) if noise else None, 0.0, 1.0)
    solver: Any = SDESolver(steps=steps, seed=0) if noise else ODESolver("rk4", steps=steps)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        path = solver.solve(sde, x, differentiable=mode)
    path.x[-1].sum().backward()
    assert all(p.grad is not None for p in drift.parameters())
    return kept


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_memory_of_the_adjoint_does_not_grow_with_the_steps(noise: float) -> None:
    assert _kept(80, "adjoint", noise) == _kept(8, "adjoint", noise)
    assert _kept(80, True, noise) > 8 * _kept(8, True, noise)


def test_gradients_pass_through_the_reverse_sde_of_a_learned_field() -> None:
    field = sf.LearnedField(sf.VP(), sf.MLP(width=8, depth=1), data_std=1.0)
    x = sf.VP().prior(5, 2, 0).requires_grad_()
    path = ODESolver("heun2", steps=4).solve(sf.reverse(field, 0.0), x, differentiable=True)
    (grad,) = torch.autograd.grad(path.x[-1][0].sum(), x)
    assert grad[0].abs().sum() > 0
    assert not grad[1:].any()  # particles do not see each other
