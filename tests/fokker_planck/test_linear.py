"""Transition kernels against alpha and sigma, the equations of their moments and the splitting."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

import sdeflow as sf
from sdeflow import Grid, SdeflowError, evolve
from sdeflow.fokker_planck import Rescaling
from sdeflow.fokker_planck.linear import LEAST_SCALE, checked_kernel, step_times
from sdeflow.fokker_planck.rescaling import rescale
from sdeflow.sdes import TransitionKernel
from tests.problems import (
    GRID_64,
    NO_LIMITS,
    OU,
    ROTATING_DRIFT,
    TILTED_GAUSSIAN,
    UNIT_INTERVAL,
    density_at_t_max,
    exact_density,
    f64,
    linear_sde_solution,
    lopsided,
    pair,
    reverse_span,
    ring,
)

F64 = torch.float64
AXIS_ALIGNED = sf.GaussianMixture(
    f64([1.0]), f64([[0.7, -0.3]]), torch.diag(f64([0.36, 0.09]))[None]
)


def driven(down: bool) -> sf.SDE:
    """Rate, centre and noise differ between the axes, and rate and noise change with time:
    dx = A'(t) (x - c) dt + g e^{A(t)} dW with A = a (t + t^3 / 3).
    """
    a, centre, g = f64([-0.5, 0.3]), f64([0.8, -0.5]), f64([0.3, 0.4])

    def exponent(t: float | Tensor) -> Tensor:
        return a * (t + t**3 / 3)

    def transition(s: float, t: float) -> TransitionKernel:
        scale = torch.exp(exponent(t) - exponent(s))
        variance = g**2 * torch.exp(2 * exponent(t)) * abs(t - s)
        return TransitionKernel(scale, centre * (1 - scale), variance)

    return sf.SDE(
        lambda x, t: a * (1 + t**2) * (x - centre),
        lambda x, t: g * torch.exp(exponent(t)),
        *((1.0, 0.0) if down else (0.0, 1.0)),
        transition=transition,
    )


def rescaled(sde: sf.SDE, process: sf.processes.Process) -> sf.SDE:
    return rescale(sde, Rescaling(process, 1.3, 0.25))


def reverse(eta: float, process: sf.processes.Process | None = None) -> sf.SDE:
    return sf.reverse(sf.ExactField(process or sf.VP(t_min=1e-3), AXIS_ALIGNED), eta)


LINEAR_SDES: dict[str, sf.SDE] = {
    "driven up": driven(False),
    "driven down": driven(True),
    "VP": sf.forward(sf.VP()),
    "EDM": sf.forward(sf.EDM()),
    "rescaled VP": rescaled(sf.forward(sf.VP(t_min=1e-3)), sf.VP(t_min=1e-3)),
    "flow of a Gaussian": reverse(0.0),
    "reverse SDE of a Gaussian": reverse(1.0),
    "between them, EDM": reverse(0.6, sf.EDM()),
    "rescaled reverse SDE": rescaled(reverse(1.0), sf.VP(t_min=1e-3)),
    "Brownian": sf.sdes.brownian(0.3, 2.0),
    "Ornstein-Uhlenbeck": sf.sdes.ornstein_uhlenbeck([[0.4, 0.0], [0.0, 1.5]], [0.0, 0.7], 2.0),
    "Langevin": sf.sdes.langevin(sf.sdes.harmonic(1.7), 0.6, 1.4),
}
linear_sdes = pytest.mark.parametrize("sde", LINEAR_SDES.values(), ids=LINEAR_SDES.keys())


@linear_sdes
def test_transition_kernel_solves_the_moment_equations(sde: sf.SDE) -> None:
    """m' = f(m), C' = 2 f' C +- g^2 by SciPy's solver, with the drift and the diffusion."""
    first, sign = f64([[0.7, -0.4]]), sde.direction

    def rates(t: float, state: np.ndarray) -> np.ndarray:
        when, rows = f64(t), torch.from_numpy(state).reshape(2, 2)
        here = sde.drift(rows[:1], when)
        slope = sde.drift(rows[:1] + 1, when) - here
        noise = f64(0.0) if sde.diffusion is None else sde.diffusion(rows[:1], when)
        square = sign * noise.expand(1, 2)[0] ** 2
        return torch.cat([here[0], 2 * slope[0] * rows[1] + square]).numpy()

    state = torch.cat([first[0], torch.zeros(2)]).numpy()
    with torch.no_grad():
        truth = solve_ivp(
            rates, (sde.t_start, sde.t_end), state, method="DOP853", rtol=1e-11, atol=1e-13
        )
    scale, shift, variance = checked_kernel(sde, sde.t_start, sde.t_end, 2)
    assert np.allclose(scale * first.numpy()[0] + shift, truth.y[:2, -1], rtol=1e-7, atol=1e-9)
    assert np.allclose(variance, truth.y[2:, -1], rtol=1e-7, atol=1e-12)


@linear_sdes
def test_transition_kernels_are_a_semigroup(sde: sf.SDE) -> None:
    """From s to u and from u to t is from s to t."""
    s, t = sde.t_start, sde.t_end
    whole = checked_kernel(sde, s, t, 2)
    for part in (0.03, 0.5, 0.9):
        u = s + part * (t - s)
        (a1, b1, v1), (a2, b2, v2) = checked_kernel(sde, s, u, 2), checked_kernel(sde, u, t, 2)
        assert np.allclose(a2 * a1, whole[0], rtol=1e-8)
        assert np.allclose(a2 * b1 + b2, whole[1], rtol=1e-8, atol=1e-12)
        assert np.allclose(a2**2 * v1 + v2, whole[2], rtol=1e-8)


@pytest.mark.parametrize("is_rescaled", [False, True])
def test_transition_kernel_of_noising_is_alpha_and_sigma(
    process: sf.processes.Process, is_rescaled: bool
) -> None:
    """scale = alpha_T / alpha_0, variance = sigma_T^2 - scale^2 sigma_0^2, over the whole span."""
    rescaling, times = Rescaling(process, 1.0, 0.25), reverse_span(process).flip(0)
    sde, at, size = sf.forward(process), times, (1.0, 1.0)
    if is_rescaled:
        sde, at = rescale(sde, rescaling), rescaling.rescaled_time(times)
        size = rescaling(times[0]), rescaling(times[1])
    scale, shift, variance = checked_kernel(sde, *at.tolist(), 2)
    c = process(times)
    alone = (c.alpha[1] / c.alpha[0]).item()
    assert scale == pytest.approx(alone * size[0] / size[1], rel=1e-6, abs=1e-10)
    assert variance * size[1] ** 2 == pytest.approx(
        float(c.sigma[1] ** 2 - alone**2 * c.sigma[0] ** 2), rel=1e-8
    )
    assert abs(shift).max() < 1e-15


@linear_sdes
def test_steps_shrink_by_at_most_half_and_are_few(sde: sf.SDE) -> None:
    times = step_times(sde, sde.t_start, sde.t_end, 2)
    assert (times[0], times[-1]) == (sde.t_start, sde.t_end)
    scales = [checked_kernel(sde, s, t, 2)[0].min() for s, t in pairwise(times)]
    assert min(scales) >= LEAST_SCALE
    whole = checked_kernel(sde, sde.t_start, sde.t_end, 2)[0].min()
    assert len(scales) <= 1 + 2 * max(0.0, -math.log2(whole))


def test_noising_by_the_kernel_is_exact_at_random_times(process: sf.processes.Process) -> None:
    """From t_min on, at 128^2 and cells of a fifth of the modes: masses to 1e-5."""
    mixture, rescaling = ring().noised(1.0, 0.43), Rescaling(process, 1.0, 0.5)
    u = np.random.default_rng(5).uniform(*process.log_snr(reverse_span(process)).tolist(), 3)
    times = torch.cat([reverse_span(process)[1:], process.time(f64(np.sort(u)[::-1].tolist()))])
    size = 5.5 * rescaling(process.t_min)
    p = exact_density(process, mixture, process.t_min, Grid(-size, size, (128, 128)))
    densities = evolve(sf.forward(process), p, times, rescaling=rescaling, estimate=False)
    for q, t in zip(densities, times.tolist(), strict=True):
        assert q.total_variation(exact_density(process, mixture, t, q.grid)) <= 1e-5
        assert q.total() == pytest.approx(p.total(), abs=1e-12)


@pytest.mark.parametrize("down", [False, True])
def test_stepped_evolution_converges_to_the_kernel(down: bool) -> None:
    """With the square of the step. Intermediate times do not change the result of the kernel."""
    sde, mixture = driven(down), sf.GaussianMixture.isotropic(f64([[0.7, -0.3]]), 0.8)
    p = mixture.on_grid(Grid(-9.0, 9.0, (256, 256)))
    times = f64([sde.t_start, 0.35, sde.t_end])
    once = evolve(sde, p, times[[0, 2]], estimate=False)[-1]
    steps, gaps = [4, 8, 16], []
    for k in steps:
        stepped = evolve(sde, p, times[[0, 2]], time_grid=sde.times(k), estimate=False)[-1]
        gaps.append(stepped.total_variation(once))
    assert np.polyfit(np.log(steps), np.log(gaps), 1)[0] == pytest.approx(-2, abs=0.1)
    assert evolve(sde, p, times, estimate=False)[-1].total_variation(once) < 2e-6


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_reverse_sde_of_one_gaussian_is_exact_by_its_kernel(eta: float) -> None:
    """The score of a Gaussian is linear in x, and so is its reverse SDE."""
    process, mixture = sf.VP(), sf.GaussianMixture.isotropic(f64([[0.6]]), 0.4)
    rescaling, sde = Rescaling(process, 1.0), sf.reverse(sf.ExactField(process, mixture), eta)
    assert sde.transition is not None
    p = density_at_t_max(process, mixture, rescaling, 256, 6.0)
    out = evolve(sde, p, reverse_span(process), steps=1, rescaling=rescaling)[-1]
    assert out.total_variation(exact_density(process, mixture, process.t_min, out.grid)) < 1e-5


@pytest.mark.parametrize(
    "sde",
    [
        sf.SDE(lambda x, t: -x, None, 0.0, 1.0),
        sf.reverse(sf.ExactField(sf.VP(), pair())),
        sf.reverse(sf.ExactField(sf.VP(), TILTED_GAUSSIAN)),
        sf.sdes.ornstein_uhlenbeck((-f64(ROTATING_DRIFT)).tolist()),
        sf.sdes.langevin(sf.sdes.double_well()),
        sf.sdes.langevin(lambda x, c: ((x - c) ** 2).sum(1), protocol=lambda t: t),
        sf.sdes.underdamped(sf.sdes.harmonic()),
        sf.sdes.geometric_brownian(0.1, 0.2),
        rescale(sf.reverse(sf.ExactField(sf.VP(), lopsided())), Rescaling(sf.VP())),
    ],
    ids=["user", "mixture", "tilted", "rotating", "wells", "driven", "inertia", "gbm", "rescaled"],
)  # fmt: skip
def test_sdes_without_a_diagonal_gaussian_kernel_have_no_transition(sde: sf.SDE) -> None:
    assert sde.transition is None


def test_transition_kernel_replaces_stepping_unless_a_time_grid_is_given() -> None:
    """With a kernel the drift is never called; without one, or with a time grid, once a step."""
    asked: list[int] = []

    def drift(x: Tensor, t: Tensor) -> Tensor:
        asked.append(len(x))
        return -x

    def calls(sde: sf.SDE, **options: object) -> list[int]:
        asked.clear()
        evolve(sde, p, UNIT_INTERVAL, estimate=False, **options)  # type: ignore[arg-type]
        return list(asked)

    p = TILTED_GAUSSIAN.on_grid(GRID_64)
    known = sf.sdes.ornstein_uhlenbeck(torch.eye(2, dtype=F64))
    # The same drift, counted: the kernel still belongs to it.
    made = (drift, known.diffusion)
    linear, plain = replace(known, drift=drift, made_for=made), replace(OU, drift=drift)
    assert calls(linear, steps=40) == []
    assert calls(plain, steps=40) == [64**2, 1, *40 * [65**2]]  # two ask whether points interact
    assert calls(linear, time_grid=linear.times(7)) == 7 * [65**2]


@pytest.mark.parametrize(
    "sde",
    [
        sf.sdes.ornstein_uhlenbeck([[0.8, 0.0], [0.0, 2.0]], [0.5, 0.9]),
        sf.sdes.langevin(sf.sdes.harmonic(0.8), 0.5, 1.5),
    ],
    ids=["Ornstein-Uhlenbeck", "Langevin"],
)
def test_density_by_the_kernel_has_the_closed_form(sde: sf.SDE) -> None:
    """The Langevin equation in a harmonic potential is an Ornstein-Uhlenbeck process."""
    known = sde
    if not isinstance(known, sf.sdes.OrnsteinUhlenbeck):
        known = sf.sdes.ornstein_uhlenbeck(1.2 * torch.eye(2, dtype=F64), math.sqrt(1.5))
    grid = Grid(-5.0, 5.0, (128, 128))
    start = AXIS_ALIGNED.noised(1.0, 0.3)
    out = evolve(sde, start.on_grid(grid), UNIT_INTERVAL)[-1]
    assert out.total_variation(known.evolved(start, 1.0).on_grid(grid)) < 1e-5


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the steps to which it falls back are long
def test_boundary_mass_counts_what_the_kernel_carries_out_of_the_grid() -> None:
    """Under a contraction nothing comes in from outside the walls; under an expansion mass
    gathers at the walls and is counted, even if noise carries it inwards again.
    """
    p = TILTED_GAUSSIAN.on_grid(GRID_64)
    inwards = sf.sdes.ornstein_uhlenbeck(2 * torch.eye(2, dtype=F64))
    assert evolve(inwards, p, UNIT_INTERVAL).diagnostics.boundary_mass < 1e-9
    mixture = linear_sde_solution(
        TILTED_GAUSSIAN, f64([[1.5, 0.0], [0.0, 1.5]]), f64([0.0, 0.0]), 1.0
    )
    lost = 1 - mixture.on_grid(GRID_64, missing=0.99).total()
    for noise in (0.1, 8.0):

        def expansion(s: float, t: float, g: float = noise) -> TransitionKernel:
            scale = math.exp(1.5 * (t - s))
            return TransitionKernel(f64(scale), f64(0.0), f64(g**2 * (scale**2 - 1) / 3))

        out = sf.SDE(
            lambda x, t: 1.5 * x, lambda x, t, g=noise: f64(g), 0.0, 1.0, transition=expansion
        )
        with pytest.raises(SdeflowError, match="reached the wall"):
            evolve(out, p, UNIT_INTERVAL)
        with pytest.warns(RuntimeWarning, match="reached the wall"):
            densities = evolve(out, p, UNIT_INTERVAL, steps=20, refuse=NO_LIMITS)
        assert 0.1 < lost <= densities.diagnostics.boundary_mass
        assert densities[-1].total() == pytest.approx(p.total(), abs=1e-12)


def with_transition(transition: Callable[[float, float], tuple]) -> sf.SDE:
    return replace(OU, transition=transition)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("transition", "error", "words"),
    [
        (lambda s, t: (f64([0.9, 0.9, 0.9]), f64(0.0), f64(0.1)), ValueError, r"one per axis"),
        (lambda s, t: (f64(0.9), f64(math.nan), f64(0.1)), ValueError, "is NaN or infinite"),
        (lambda s, t: (f64(-0.9), f64(0.0), f64(0.1)), ValueError, "negative scale or variance"),
        (
            lambda s, t: (f64(1.0), f64(0.0), f64(s - t)),
            ValueError,
            "negative .* check the order of its times",
        ),
        (
            lambda s, t: (f64(0.1 if s < 0.3 <= t else 1.0), f64(0.0), f64(0.1)),
            SdeflowError,
            "jumps at t = 0.3",
        ),
    ],
    ids=["shape", "NaN", "scale", "variance", "jump"],
)
def test_wrong_transition_kernels_are_refused_in_one_sentence(transition, error, words) -> None:
    with pytest.raises(error, match=words) as refusal:
        evolve(with_transition(transition), TILTED_GAUSSIAN.on_grid(GRID_64), UNIT_INTERVAL)
    assert "\n" not in str(refusal.value)
