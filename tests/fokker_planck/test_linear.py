"""Kernels of affine laws, against alpha and sigma, scipy's moments and the splitting."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import sdeflow as sf
from sdeflow import Grid, SdeflowError, evolve
from sdeflow.fokker_planck import Rescaling
from sdeflow.fokker_planck.linear import TransitionKernel, transition_kernels
from sdeflow.fokker_planck.rescaling import rescale
from tests.problems import (
    GRID_64,
    NO_LIMITS,
    OU,
    TILTED_GAUSSIAN,
    UNIT_INTERVAL,
    density_at_t_max,
    exact_density,
    f64,
    linear_sde_solution,
    reverse_span,
    ring,
)

F64 = torch.float64


BOX = Grid(-5.0, 5.0, (128, 128))


def whole(legs: list[TransitionKernel]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One kernel of several, by the rule for a sum of independent Gaussians."""
    grow, shift, spread = np.ones(1), np.zeros(1), np.zeros(1)
    for a, b, v in legs:
        grow, shift, spread = a * grow, a * shift + b, a**2 * spread + v
    return grow, shift, spread


@pytest.mark.parametrize("breathes", [False, True])
def test_the_kernel_of_noising_is_alpha_and_sigma(
    process: sf.processes.Process, breathes: bool
) -> None:
    """grow = alpha_T / alpha_0, spread = sigma_T^2 - grow^2 sigma_0^2, over the whole span. A
    table's rate has kinks, and costs four digits of an alpha that is next to nothing.
    """
    rescaling, times = Rescaling(process, 1.0, 0.25), reverse_span(process).flip(0)
    law, clock, size = sf.forward(process), times, (1.0, 1.0)
    if breathes:
        law, clock = rescale(law, rescaling), rescaling.rescaled_time(times)
        size = rescaling(times[0]), rescaling(times[1])
    found = transition_kernels(law, BOX, clock)
    assert found is not None
    grow, shift, spread = whole(found[0])
    c = process(times)
    alone = (c.alpha[1] / c.alpha[0]).item()
    assert grow == pytest.approx(alone * size[0] / size[1], rel=1e-6, abs=1e-10)
    assert spread * size[1] ** 2 == pytest.approx(
        float(c.sigma[1] ** 2 - alone**2 * c.sigma[0] ** 2), rel=1e-8
    )
    assert abs(shift).max() < 1e-15
    assert all(leg.grow.min() >= 0.5 for leg in found[0])


def test_noising_by_the_kernel_at_random_times(process: sf.processes.Process) -> None:
    """From t_min on, at 128^2 and cells of a fifth of the modes: masses to 1e-5."""
    law, rescaling = ring().noised(1.0, 0.43), Rescaling(process, 1.0, 0.5)
    u = np.random.default_rng(5).uniform(*process.log_snr(reverse_span(process)).tolist(), 3)
    times = torch.cat([reverse_span(process)[1:], process.time(f64(np.sort(u)[::-1].tolist()))])
    size = 5.5 * rescaling(process.t_min)
    p = exact_density(process, law, process.t_min, Grid(-size, size, (128, 128)))
    densities = evolve(sf.forward(process), p, times, rescaling=rescaling, estimate=False)
    for q, t in zip(densities, times.tolist(), strict=True):
        assert q.total_variation(exact_density(process, law, t, q.grid)) <= 1e-5
        assert q.total() == pytest.approx(p.total(), abs=1e-12)


def driven(down: bool) -> sf.SDE:
    """Each axis has its own rate, push and noise, and all of them move with time."""
    a, b = f64([-0.5, 0.3]), f64([0.8, -0.5])
    return sf.SDE(
        lambda x, t: a * (1 + t**2) * x + b * torch.cos(3 * t),
        lambda x, t: f64([0.3, 0.4]) * (1 + t),
        *((1.0, 0.0) if down else (0.0, 1.0)),
    )


@pytest.mark.parametrize("down", [False, True])
def test_the_kernel_solves_the_equations_of_the_moments(down: bool) -> None:
    """m' = f(m), C' = 2 a C +- g^2 by scipy's own solver, in both directions of time."""
    sde = driven(down)
    span = f64([sde.t_start, sde.t_end])
    found = transition_kernels(sde, BOX, span)
    assert found is not None
    first = f64([[0.7, -0.4]])

    def rates(t: float, state: np.ndarray) -> np.ndarray:
        when, rows = f64(t), torch.from_numpy(state).reshape(2, 2)
        here = sde.drift(rows[:1], when)
        slope = sde.drift(rows[:1] + 1, when) - here
        noise = sde.diffusion(rows, when) ** 2  # type: ignore[misc]
        return torch.cat([here[0], 2 * slope[0] * rows[1] + (-noise if down else noise)]).numpy()

    state = torch.cat([first[0], torch.zeros(2)]).numpy()
    truth = solve_ivp(rates, span.tolist(), state, method="DOP853", rtol=1e-12, atol=1e-13)
    grow, shift, spread = whole(found[0])
    assert np.allclose(grow * first.numpy()[0] + shift, truth.y[:2, -1], rtol=1e-10)
    assert np.allclose(spread, truth.y[2:, -1], rtol=1e-10)


@pytest.mark.parametrize("down", [False, True])
def test_the_splitting_goes_to_the_kernel(down: bool) -> None:
    """The same law, stepped: the gap closes with the square of the steps. Asked for on the way or
    not, the kernels are a semigroup.
    """
    sde, law = driven(down), sf.GaussianMixture.isotropic(f64([[0.7, -0.3]]), 0.8)
    p = law.on_grid(Grid(-9.0, 9.0, (256, 256)))
    times = f64([sde.t_start, 0.35, sde.t_end])
    once = evolve(sde, p, times[[0, 2]], estimate=False)[-1]
    steps, gaps = [4, 8, 16], []
    for k in steps:
        stepped = evolve(sde, p, times[[0, 2]], grid=sde.times(k), estimate=False)[-1]
        gaps.append(stepped.total_variation(once))
    assert np.polyfit(np.log(steps), np.log(gaps), 1)[0] == pytest.approx(-2, abs=0.1)
    assert evolve(sde, p, times, estimate=False)[-1].total_variation(once) < 2e-6


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_one_gaussian_comes_back_by_its_own_kernel(eta: float) -> None:
    """Its score is affine, so its reverse law is."""
    process, law = sf.VP(), sf.GaussianMixture.isotropic(f64([[0.6]]), 0.4)
    rescaling, sde = Rescaling(process, 1.0), sf.reverse(sf.ExactField(process, law), eta)
    assert transition_kernels(sde, Grid(-5.0, 5.0, (256,)), reverse_span(process)) is not None
    p = density_at_t_max(process, law, rescaling, 256, 6.0)
    out = evolve(sde, p, reverse_span(process), steps=1, rescaling=rescaling)[-1]
    assert out.total_variation(exact_density(process, law, process.t_min, out.grid)) < 1e-5


def test_only_an_affine_law_is_taken_for_one() -> None:
    """One part in a million of a cube, of the other axis, of noise with the state: stepped as
    ever, for one look at every second corner; and so is noise without end in time, not noise that
    begins.
    """
    asked: list[int] = []

    def watched(drift: Callable[[Tensor, Tensor], Tensor], noise: object = None) -> list[int]:
        def drift_(x: Tensor, t: Tensor) -> Tensor:
            asked.append(len(x))
            return drift(x, t)

        asked.clear()
        sde = sf.SDE(drift_, noise or OU.diffusion, 0.0, 1.0)  # type: ignore[arg-type]
        evolve(sde, p, UNIT_INTERVAL, steps=40, estimate=False)
        return asked

    p = TILTED_GAUSSIAN.on_grid(GRID_64)
    assert set(watched(lambda x, t: 0.3 - x)) == {33**2}
    stepped = [33**2] + 40 * [65**2]
    assert watched(lambda x, t: -x + 1e-6 * x**3) == stepped
    assert watched(lambda x, t: -x + 1e-6 * x.flip(1)) == stepped
    assert watched(lambda x, t: -x, lambda x, t: 1 + 1e-6 * x) == stepped
    assert 65**2 not in watched(lambda x, t: -x, lambda x, t: (t > 0.3137).double())
    found = transition_kernels(
        replace(OU, diffusion=lambda x, t: (t > 0.3137).double()),
        GRID_64,
        UNIT_INTERVAL,
    )
    assert found is not None
    assert whole(found[0])[2] == pytest.approx((1 - math.exp(-2 * 0.6863)) / 2, abs=1e-3)
    rough = watched(lambda x, t: -x, lambda x, t: 1 + torch.sin(1e9 * t))
    assert rough.count(65**2) == 40


def test_what_leaves_the_box_by_the_kernel_is_told() -> None:
    """Drawn in from beyond the walls, nothing comes; driven out, it piles up and is counted even
    where noise takes it back in.
    """
    p = TILTED_GAUSSIAN.on_grid(GRID_64)
    inwards = sf.SDE(lambda x, t: -2 * x, lambda x, t: f64(1.0), 0.0, 1.0)
    assert evolve(inwards, p, UNIT_INTERVAL).diagnostics.boundary_mass < 1e-9
    for noise in (0.1, 8.0):
        out = sf.SDE(lambda x, t: 1.5 * x, lambda x, t, g=noise: f64(g), 0.0, 1.0)
        law = linear_sde_solution(
            TILTED_GAUSSIAN, f64([[1.5, 0.0], [0.0, 1.5]]), f64([0.0, 0.0]), 1.0
        )
        lost = 1 - law.on_grid(GRID_64, missing=0.99).total()
        with pytest.raises(SdeflowError, match="reached the wall"):
            evolve(out, p, UNIT_INTERVAL)
        with pytest.warns(RuntimeWarning, match="reached the wall"):
            told = evolve(out, p, UNIT_INTERVAL, refuse=NO_LIMITS)
        assert 0.1 < lost <= told.diagnostics.boundary_mass
        assert told[-1].total() == pytest.approx(p.total(), abs=1e-12)
