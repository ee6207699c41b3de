"""First passages and escapes against integrals, formulas and distributions in closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2, expon, invgauss
from torch import Tensor

import sdeflow as sf
from sdeflow import Grid, SDESolver
from sdeflow.analysis import Passage, first_passage, kramers_time, mean_first_passage_time
from sdeflow.analysis.bounds import Bounds
from sdeflow.analysis.first_passage import _coupled
from tests.problems import close, f64, randn

F64 = torch.float64
WELL = sf.sdes.double_well(2.0)


def level(x: Tensor) -> Tensor:
    """Distance to the level 1 from below."""
    return 1 - x[:, 0]


def drifting(t_end: float) -> sf.SDE:
    return sf.SDE(lambda x, t: torch.ones_like(x), lambda x, t: x.new_tensor(1.0), 0.0, t_end)


def test_passage_of_a_drifting_particle_is_inverse_gaussian_at_any_step() -> None:
    """The Brownian bridge is exact here: with ten steps per passage the distribution is exact,
    step by step. Without it passages are late by 0.58 sqrt(dt) = 0.18, which is 26 errors
    (Chernoff 1965)."""
    dt, n = 0.1, 20_000
    found = first_passage(
        drifting(24.0), torch.zeros(n, 1, dtype=F64), level, SDESolver(steps=240, seed=3)
    )
    assert abs(found.mean().standard_score(1.0)) < 3
    exact = invgauss(1.0)  # level / drift = 1, level^2 / noise^2 = 1
    edges = np.append(dt * np.arange(31), np.inf)
    counts = np.histogram(found.time.numpy(), edges)[0]
    expected = n * np.diff(exact.cdf(edges))
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1) > 1e-3


def test_passage_through_a_tilted_plane_does_not_depend_on_the_units_of_distance() -> None:
    """Wald: the mean is distance / drift along the normal, whatever the noise of each axis and
    the steps, which here grow from 2e-4 to 0.2."""
    normal, noise, drift = f64([0.6, 0.8]), f64([0.4, 1.5]), f64([1.0, 0.5])
    sde = sf.SDE(lambda x, t: drift.expand_as(x), lambda x, t: noise, 0.0, 60.0)
    times = 60 * sf.processes.uniform_times(0.0, 1.0, 600) ** 2
    x, solver = torch.zeros(8000, 2, dtype=F64), SDESolver(times=times, seed=5)
    found = first_passage(sde, x, lambda x: 1.2 - x @ normal, solver)
    assert abs(found.mean().standard_score(1.2 / float(drift @ normal))) < 3
    other = first_passage(sde, x, lambda x: 8 * (1.2 - x @ normal), solver)
    assert close(found.time, other.time)


def test_mean_exit_time_from_a_disc_is_the_closed_form() -> None:
    """E T = (R^2 - r^2) / 4 D in the plane: a curved wall and a start off the centre."""
    x = f64([[0.4, 0.3]]).expand(8000, 2)
    found = first_passage(
        sf.sdes.brownian(0.5, 8.0), x, lambda x: 1 - (x**2).sum(1), SDESolver(steps=4000, seed=2)
    )
    assert abs(found.mean().standard_score((1 - 0.25) / 2)) < 3


def test_first_passages_in_a_double_well_have_the_mean_of_the_integral() -> None:
    """10^4 particles from one well to the bottom of the other: no bias at one per cent with steps
    of 0.01; Kramers' formula is 20 per cent off."""
    exact = mean_first_passage_time(WELL, -1.0, 1.0)
    sde = sf.sdes.langevin(WELL, t_end=100.0)
    x = torch.full((10_000, 1), -1.0, dtype=F64)
    found = first_passage(sde, x, level, SDESolver("heun", 10_000, seed=3)).mean()
    assert abs(found.standard_score(exact)) < 3
    assert float(found.error) < 0.012 * exact
    assert abs(found.standard_score(kramers_time(WELL, -1.0, 0.0))) > 10


def test_passage_solved_in_parts_meets_the_states_of_one_run() -> None:
    """With no arrivals every step meets the state, and so the noise, of one run."""
    seen: list[Tensor] = []

    def drift(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x.clone())
        return -x

    sde = sf.SDE(drift, lambda x, t: x.new_tensor(0.5), 0.0, 2.0)
    x, solver = randn(20, 1), SDESolver(steps=200, seed=9)
    none = first_passage(sde, x, lambda x: 1e6 + x[:, 0], solver)
    assert none.censored == 20
    parts = torch.stack(seen)
    whole = solver.solve(sde, x, save=201).x
    assert torch.equal(parts, whole[:-1])


def noisy(drift, t_end: float, noise: float = 1.0) -> sf.SDE:
    return sf.SDE(drift, lambda x, t: x.new_tensor(noise), 0.0, t_end)


def test_passages_of_particles_that_follow_one_another_are_those_of_the_whole_path() -> None:
    """x_i' = max_j x_j from (1, 0) to 2: at ln 2 and ln 3, also if the first starts there."""
    follow = noisy(lambda x, t: x.max().expand_as(x), 2.0, noise=1e-7)
    solver = SDESolver("heun", 1000)
    found = first_passage(follow, f64([[1.0], [0.0]]), lambda x: 2 - x[:, 0], solver)
    assert found.time.tolist() == pytest.approx([math.log(2), math.log(3)], abs=1.1e-3)
    late = first_passage(follow, f64([[1.0], [0.0]]), level, solver)
    assert late.time.tolist() == pytest.approx([0.0, math.log(2)], abs=1.1e-3)


def repelled(x: Tensor, t: Tensor) -> Tensor:
    """Pairs nearer than 0.1 push each other away."""
    apart = x[:, None] - x[None]
    far = apart.norm(dim=2, keepdim=True)
    return torch.where((far < 0.1) & (far > 0), apart, 0).sum(1)


@pytest.mark.parametrize(
    ("drift", "expected"),
    [
        (lambda x, t: -x, False),
        (sf.reverse(sf.LearnedField(sf.VE(), sf.MLP())).drift, False),
        (lambda x, t: x.mean(0) - x, True),
        (lambda x, t: x.max() - x, True),
        (repelled, True),  # of short range: no two particles are near one another at this time
        (lambda x, t: torch.zeros_like(x).index_copy(0, torch.arange(3), x[1:4]), True),
        (lambda x, t: -torch.arange(30.0)[:, None] * x, True),  # one stiffness per row
    ],
)  # fmt: skip
def test_forces_between_particles_are_found(drift, expected: bool) -> None:
    x = 10 * torch.arange(30.0)[:, None] + torch.tensor([0.3, 0.2])
    away = torch.arange(30) % 3 > 0
    assert _coupled(noisy(drift, 1.0), Bounds.of(level), x, away, f64(0.5)) is expected
    law = sf.SDE(lambda x, t: -x, lambda x, t: drift(x, t) ** 2, 0.0, 1.0)
    assert _coupled(law, Bounds.of(level), x, away, f64(0.5)) is expected


@pytest.mark.parametrize("unit", [1e-25, 1e12])
def test_passages_of_float32_particles_do_not_depend_on_the_unit(unit: float) -> None:
    x, solver = torch.zeros(200, 1), SDESolver(steps=240, seed=3)
    plain = first_passage(drifting(24.0), x, level, solver)
    scaled = sf.SDE(
        lambda x, t: torch.full_like(x, unit), lambda x, t: x.new_tensor(unit), 0.0, 24.0
    )
    found = first_passage(scaled, unit * x, lambda x: unit - x[:, 0], solver)
    assert close(found.time, plain.time)


def test_those_that_have_arrived_are_no_longer_moved() -> None:
    rows = []
    law = noisy(lambda x, t: (rows.append(len(x)), torch.ones_like(x))[1], 24.0)
    first_passage(law, torch.zeros(400, 1, dtype=F64), level, SDESolver(steps=960, seed=1))
    assert rows[-1] < 40
    assert sum(rows) < len(rows) * 400 / 2


def test_a_particle_may_run_away_behind_its_target() -> None:
    """x' = x^2 - x beyond the barrier at 1 is infinite after ln(3 / 2) from 3, or 20 steps."""
    found = first_passage(
        noisy(lambda x, t: x * x - x, 80.0), torch.zeros(100, 1, dtype=F64),
        lambda x: 3 - x[:, 0], SDESolver(steps=4000, seed=1),
    )  # fmt: skip
    exact = mean_first_passage_time(
        lambda x: torch.where(x[:, 0] > -9, x[:, 0] ** 2 / 2 - x[:, 0] ** 3 / 3, math.inf),
        0.0, 3.0, temperature=0.5,
    )  # fmt: skip
    assert abs(found.mean().standard_score(exact)) < 3
    with pytest.raises(sf.SdeflowError, match="NaN or infinite"):  # before its target
        first_passage(
            noisy(lambda x, t: x**3, 9.0), 5 + torch.zeros(3, 1, dtype=F64),
            lambda x: 9 + x[:, 0], SDESolver(steps=900),
        )  # fmt: skip


def test_particles_in_the_target_arrive_at_time_zero_and_others_later() -> None:
    found = first_passage(drifting(30.0), f64([[2.0], [0.0], [1.0]]), level, SDESolver(steps=300))
    assert found.time[[0, 2]].tolist() == [0.0, 0.0]
    assert found.time[1] > 0


def test_a_distance_of_the_wrong_sign_is_refused_and_too_few_steps_are_told() -> None:
    x, solver = torch.zeros(200, 1, dtype=F64), SDESolver(steps=4, seed=1)
    with pytest.raises(ValueError, match=r"all particles start beyond bound 1.* change its sign"):
        first_passage(drifting(8.0), x, [level, lambda x: -level(x)], solver)
    with pytest.warns(RuntimeWarning, match=r"% of the arrivals fall into one of 4 steps"):
        first_passage(drifting(8.0), x, level, solver)


def test_rate_of_censored_exponentials_scatters_by_its_error() -> None:
    """Four in ten of SciPy's exponentials are censored: 300 scores have mean square one."""
    scores = []
    for seed in range(300):
        times = torch.from_numpy(expon.rvs(scale=2.0, size=400, random_state=seed))
        cut = Passage(times.clamp_max(1.8), times <= 1.8)
        scores.append(float(cut.rate().standard_score(0.5)))
    assert np.mean(np.square(scores)) == pytest.approx(1.0, abs=5 * math.sqrt(2 / 300))


def test_escape_rate_over_a_barrier_is_one_over_the_mean_time() -> None:
    """Cut at half the mean time, from the stationary density of one well."""
    sde = sf.sdes.langevin(sf.sdes.double_well(4.0), t_end=8.0)
    settled = sf.fokker_planck.markov_generator(sde, Grid(-2.2, 0.0, (220,))).stationary()
    found = first_passage(sde, settled.sample(1500, seed=1), level, SDESolver("heun", 1600))
    exact = mean_first_passage_time(sf.sdes.double_well(4.0), -1.0, 1.0)
    assert found.censored > 500
    assert abs(found.rate().standard_score(1 / exact)) < 3


def test_passages_print_themselves_in_words() -> None:
    found = Passage(f64([1.0, 2.0]), torch.tensor([True, False]))
    assert repr(found) == "first passage of 2 particles: 1 arrived"


# ----------------------------------------------------------------------------------- bad arguments


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: first_passage(
                drifting(0.1), torch.zeros(9, 1), level, SDESolver(steps=2)
            ).mean(),
            sf.SdeflowError, "9 of 9 particles had not arrived after 0.1.*later t_end",
        ),
        (
            lambda: Passage(f64([1.0]), torch.tensor([False])).rate(),
            sf.SdeflowError, "no particle arrived",
        ),
        (
            lambda: first_passage(
                drifting(1.0), torch.zeros(9, 1), lambda x: x, SDESolver()
            ),
            ValueError, r"one number per particle, \(9,\), got \(9, 1\)",
        ),
        (
            lambda: first_passage(
                replace(drifting(1.0), diffusion=None), torch.zeros(9, 1), level, SDESolver()
            ),
            ValueError, "this SDE has no noise",
        ),
        (
            lambda: first_passage(
                drifting(1.0), torch.zeros(9, 1), lambda x: x[:, 0] > 1, SDESolver()
            ),
            ValueError, "numbers with a fraction, got torch.bool; write it with",
        ),
        (
            lambda: first_passage(drifting(1.0), torch.zeros(9, 1), 1.0, SDESolver()),
            TypeError, "distance must be a function.*such as lambda x.*got 1.0",
        ),
        (
            lambda: first_passage(drifting(1.0), torch.zeros(9, 1), level, sf.ODESolver()),
            TypeError, "solver must be an SDESolver",
        ),
        (
            lambda: first_passage(sf.VE(), torch.zeros(9, 1), level, SDESolver()),
            TypeError, "sde must be an SDE",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)


def test_noise_is_asked_at_float64_times_whatever_the_cloud() -> None:
    asked = []

    def noise(x: Tensor, t: Tensor) -> Tensor:
        asked.append(t.dtype)
        return x.new_tensor(1.0)

    sde = sf.SDE(lambda x, t: torch.ones_like(x), noise, 1e7, 1e7 + 1)
    first_passage(sde, torch.zeros(20, 1), level, SDESolver("euler", 80, seed=0))
    assert set(asked) == {F64}
