"""Observables against the integrals, formulas and laws that fix them: first passages, escape
rates, entropy, heat and work; each judged by the standard error that it states.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2, expon, invgauss, norm
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, GaussianMixture, Grid, SDESolver
from sdeflow.analysis import Estimate, Passage
from sdeflow.solvers.path import Path
from tests.problems import close, f64, randn

F64 = torch.float64
WELL = sf.sdes.double_well(2.0)
TURNING, NOISE = [[1.0, 2.0], [-1.0, 1.5]], [1.0, 0.7]


def level(x: Tensor) -> Tensor:
    """Distance to the level 1 from below."""
    return 1 - x[:, 0]


# --------------------------------------------------------------------------------------- estimates


def test_an_estimate_states_the_error_that_it_makes() -> None:
    """400 means of 50 exponentials each: their standard scores have mean square one."""
    samples = expon.rvs(size=(50, 400), random_state=0)
    found = Estimate.of(torch.from_numpy(samples))
    assert found.value.shape == found.error.shape == (400,)
    square = float(found.standard_score(1.0).square().mean())
    assert square == pytest.approx(1.0, abs=5 * math.sqrt(2 / 400) + 5 / 50)
    assert str(Estimate(f64(1.5), f64(0.25))) == "1.5 +- 0.25"


# ----------------------------------------------------------------------------------- first passage


def drifting(t_end: float) -> sf.SDE:
    return sf.SDE(lambda x, t: torch.ones_like(x), lambda x, t: x.new_tensor(1.0), 0.0, t_end)


def test_passage_of_a_drifting_particle_is_inverse_gaussian_at_any_step() -> None:
    """The bridge is exact here: ten steps a passage give the law itself, step by step. Without it
    they are late by about 0.58 sqrt(dt) = 0.18 (Chernoff 1965), 26 standard errors."""
    dt, n = 0.1, 20_000
    found = sf.analysis.first_passage(
        drifting(24.0), torch.zeros(n, 1, dtype=F64), level, SDESolver(steps=240, seed=3)
    )
    assert abs(found.mean().standard_score(1.0)) < 3
    law = invgauss(1.0)  # level / drift = 1, level^2 / noise^2 = 1
    edges = np.append(dt * np.arange(31), np.inf)
    counts = np.histogram(found.time.numpy(), edges)[0]
    expected = n * np.diff(law.cdf(edges))
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1) > 1e-3


def test_passage_through_a_tilted_plane_in_any_units_of_distance() -> None:
    """Wald: the mean is distance / drift along the normal, whatever the noise of each axis and
    the steps, which here grow from 2e-4 to 0.2."""
    normal, noise, drift = f64([0.6, 0.8]), f64([0.4, 1.5]), f64([1.0, 0.5])
    law = sf.SDE(lambda x, t: drift.expand_as(x), lambda x, t: noise, 0.0, 60.0)
    times = 60 * sf.processes.uniform_times(0.0, 1.0, 600) ** 2
    x, solver = torch.zeros(8000, 2, dtype=F64), SDESolver(times=times, seed=5)
    found = sf.analysis.first_passage(law, x, lambda x: 1.2 - x @ normal, solver)
    assert abs(found.mean().standard_score(1.2 / float(drift @ normal))) < 3
    other = sf.analysis.first_passage(law, x, lambda x: 8 * (1.2 - x @ normal), solver)
    assert close(found.time, other.time)


def test_exit_from_a_disc() -> None:
    """E T = (R^2 - r^2) / 4 D in the plane: a wall that is curved, left from off the centre."""
    x = f64([[0.4, 0.3]]).expand(8000, 2)
    found = sf.analysis.first_passage(
        sf.sdes.brownian(0.5, 8.0), x, lambda x: 1 - (x**2).sum(1), SDESolver(steps=4000, seed=2)
    )
    assert abs(found.mean().standard_score((1 - 0.25) / 2)) < 3


def test_mean_first_passage_time_of_a_double_well() -> None:
    """10^4 particles from one well to the bottom of the other, against the integral: no bias at
    one per cent, where the step is a hundredth; Kramers' formula is 20 per cent off."""
    exact = sf.analysis.mean_first_passage_time(WELL, -1.0, 1.0)
    law = sf.sdes.langevin(WELL, t_end=100.0)
    x = torch.full((10_000, 1), -1.0, dtype=F64)
    found = sf.analysis.first_passage(law, x, level, SDESolver("heun", 10_000, seed=3)).mean()
    assert abs(found.standard_score(exact)) < 3
    assert float(found.error) < 0.012 * exact
    assert abs(found.standard_score(sf.analysis.kramers_time(WELL, -1.0, 0.0))) > 10


def test_the_integral_is_the_generators() -> None:
    """From cell to cell of a lopsided well, up and down, at another temperature and mobility."""

    def lopsided(x: Tensor) -> Tensor:
        return 2 * (x[:, 0] ** 2 - 1) ** 2 + x[:, 0] / 2

    grid = Grid(-2.4, 2.4, (1200,))
    x = grid.middles(0)
    chain = sf.fokker_planck.markov_generator(sf.sdes.langevin(lopsided, 0.8, 1.7), grid)
    low, high = 350, 850
    for start, target, there in ((low, high, x >= x[high]), (high, low, x <= x[low])):
        ours = sf.analysis.mean_first_passage_time(
            lopsided, float(x[start]), float(x[target]), 0.8, 1.7
        )
        assert ours == pytest.approx(float(chain.passage_time(there)[start]), rel=2e-4)


def test_kramers_time_is_the_first_term_of_a_series() -> None:
    """exact / Kramers = 1 + 3 T / 8 barrier + ...: 3/16 of it from the cubic and quartic terms of
    the well, 3/16 from the quartic of the top (Laplace's method by hand)."""
    barriers = (8.0, 16.0, 32.0)
    excess = [
        sf.analysis.mean_first_passage_time(sf.sdes.double_well(b), -1.0, 1.0)
        / sf.analysis.kramers_time(sf.sdes.double_well(b), -1.0, 0.0)
        - 1
        for b in barriers
    ]
    assert excess[0] > excess[1] > excess[2] > 0
    scaled = [b * e for b, e in zip(barriers, excess, strict=True)]
    assert 2 * scaled[2] - scaled[1] == pytest.approx(3 / 8, abs=0.01)  # Richardson
    hot = sf.analysis.kramers_time(
        sf.sdes.double_well(8.0), -1.0, 0.0, temperature=2.0, mobility=3.0
    )
    assert hot == pytest.approx(
        sf.analysis.kramers_time(sf.sdes.double_well(4.0), -1.0, 0.0) / 6, rel=1e-12
    )


def test_a_passage_run_in_stretches_is_one_run() -> None:
    """No one arrives: every step meets the state, and so the noise, of the run in one piece."""
    seen: list[Tensor] = []

    def drift(x: Tensor, t: Tensor) -> Tensor:
        seen.append(x.clone())
        return -x

    law = sf.SDE(drift, lambda x, t: x.new_tensor(0.5), 0.0, 2.0)
    x, solver = randn(20, 1), SDESolver(steps=200, seed=9)
    none = sf.analysis.first_passage(law, x, lambda x: 1e6 + x[:, 0], solver)
    assert none.censored == 20
    stretched = torch.stack(seen)
    whole = solver.solve(law, x, save=201).x
    assert torch.equal(stretched, whole[:-1])


def test_those_who_start_in_the_target_arrive_at_once_and_the_rest_later() -> None:
    found = sf.analysis.first_passage(
        drifting(30.0), f64([[2.0], [0.0], [1.0]]), level, SDESolver(steps=300)
    )
    assert found.time[[0, 2]].tolist() == [0.0, 0.0]
    assert found.time[1] > 0


def test_an_escape_rate_from_a_run_that_is_cut_short() -> None:
    """SciPy's exponentials, four in ten of them censored: 300 rates have scores of square one."""
    scores = []
    for seed in range(300):
        times = torch.from_numpy(expon.rvs(scale=2.0, size=400, random_state=seed))
        cut = Passage(times.clamp_max(1.8), times <= 1.8)
        scores.append(float(cut.rate().standard_score(0.5)))
    assert np.mean(np.square(scores)) == pytest.approx(1.0, abs=5 * math.sqrt(2 / 300))


def test_escape_over_a_barrier_has_a_rate() -> None:
    """Cut at half its mean time, from the law that a well has once it has settled."""
    law = sf.sdes.langevin(sf.sdes.double_well(4.0), t_end=8.0)
    settled = sf.fokker_planck.markov_generator(law, Grid(-2.2, 0.0, (220,))).stationary()
    found = sf.analysis.first_passage(
        law, settled.sample(1500, seed=1), level, SDESolver("heun", 1600)
    )
    exact = sf.analysis.mean_first_passage_time(sf.sdes.double_well(4.0), -1.0, 1.0)
    assert found.censored > 500
    assert abs(found.rate().standard_score(1 / exact)) < 3


# ----------------------------------------------------------------------------------------- entropy


def test_entropy_of_a_motion_that_turns() -> None:
    """Three roads to one number: tr(A^T C A / D) - tr A, heat along paths, and the current."""
    law = sf.sdes.ornstein_uhlenbeck(TURNING, NOISE, t_end=2.0)
    exact = law.entropy_production()
    x = law.stationary().sample(4000, seed=1)
    path = SDESolver("heun", 1000, seed=5).solve(law, x, save=1001)
    found = sf.analysis.entropy_flow(law, path)
    assert abs(found.standard_score(exact)) < 3
    assert float(found.error) < 0.02 * exact
    box = (5 * law.covariance().diagonal().sqrt()).tolist()
    grid = Grid([-b for b in box], box, (96, 96))
    p = law.stationary().on_grid(grid)
    assert sf.analysis.entropy_production(law, p, 0.0) == pytest.approx(exact, rel=2e-3)


def test_entropy_balances_on_the_way_to_rest() -> None:
    """Production = change of the density's entropy + what flows to the bath, for any start."""
    law = sf.sdes.ornstein_uhlenbeck(TURNING, NOISE, t_end=0.4)
    start = GaussianMixture(f64([1.0]), f64([[0.9, -0.4]]), f64([[[0.2, 0.05], [0.05, 0.1]]]))
    grid, times = Grid(-3.2, 3.2, (96, 96)), torch.linspace(0.0, 0.4, 21, dtype=F64)
    densities = [law.evolved(start, t).on_grid(grid) for t in times.tolist()]
    made = torch.trapezoid(
        f64(
            [
                sf.analysis.entropy_production(law, p, t)
                for p, t in zip(densities, times, strict=True)
            ]
        ),
        times,
    )
    path = SDESolver("heun", 400, seed=8).solve(law, start.sample(20_000, seed=7), save=401)
    flow = sf.analysis.entropy_flow(law, path)
    change = densities[-1].entropy() - densities[0].entropy()
    assert abs(flow.standard_score((float(made) - change) / 0.4)) < 3
    assert change > 10 * float(flow.error) * 0.4


def test_detailed_balance_makes_no_entropy() -> None:
    law, grid = sf.sdes.langevin(WELL), Grid(-2.2, 2.2, (400,))
    rest = torch.softmax(-WELL(grid.centres()), 0)
    assert 0 <= sf.analysis.entropy_production(law, Density(grid, rest), 0.0) < 1e-4


# ----------------------------------------------------------------------------------- work and heat


def driven(potential, protocol, n: int = 20_000) -> Path:
    """From rest in U(x, protocol(0)), stiffness 2 about 0, over t = 1.5, every step kept."""
    law = sf.sdes.langevin(potential, 0.8, 1.2, 1.5, protocol)
    x = GaussianMixture.isotropic(f64([[0.0]]), math.sqrt(0.8 / 2)).sample(n, seed=2)
    return SDESolver("heun", 150, seed=6).solve(law, x, save=151)


def trap(x: Tensor, centre: Tensor) -> Tensor:
    return sf.sdes.harmonic(2.0)(x - centre)


def test_the_work_of_a_moving_trap() -> None:
    """Mazonka and Jarzynski 1999: W is normal, <W> = (v^2 / mu)(t - tau (1 - e^{-t / tau})), and
    var W = 2 T <W>, so that <e^{-W / T}> = 1: to move a trap changes no free energy."""
    v, kt, mu, t = 1.3, 0.8, 1.2, 1.5
    w = sf.analysis.work(driven(trap, lambda t: v * t), trap, lambda t: v * t)
    tau = 1 / (mu * 2.0)
    mean = v**2 / mu * (t - tau * (1 - math.exp(-t / tau)))
    assert abs(Estimate.of(w).standard_score(mean)) < 3
    assert abs(Estimate.of((w - mean) ** 2).standard_score(2 * kt * mean)) < 3
    assert abs(sf.analysis.free_energy_difference(w, kt).standard_score(0.0)) < 3
    below = np.mean(w.numpy() < mean + math.sqrt(2 * kt * mean))
    assert below == pytest.approx(norm.cdf(1), abs=4 * math.sqrt(0.84 * 0.16 / len(w)))


def test_jarzynskis_equality_when_the_free_energy_changes() -> None:
    """A spring from 2 to 8: dF = (T / 2) ln 4, and the mean work is more than that."""

    def spring(x: Tensor, stiffness: Tensor) -> Tensor:
        return stiffness * (x**2).sum(1) / 2

    w = sf.analysis.work(driven(spring, lambda t: 2 + 4 * t), spring, lambda t: 2 + 4 * t)
    exact = 0.8 / 2 * math.log(4)
    found = sf.analysis.free_energy_difference(w, 0.8)
    assert abs(found.standard_score(exact)) < 3
    assert float(found.error) < 0.02 * exact
    assert Estimate.of(w).standard_score(exact) > 10


def is_one(square: Sequence[float | Tensor], runs: int) -> bool:
    """Whether standard scores of independent runs have mean square one, by chi-square."""
    return bool(chi2.ppf(1e-4, runs) < float(sum(square)) < chi2.isf(1e-4, runs))


def test_a_free_energy_scatters_as_it_states() -> None:
    """Normal work of mean m and variance s^2: dF = m - s^2 / 2 T, over 200 draws of 4000."""
    kt, mean, s, runs = 0.8, 1.5, 0.5, 200
    work = torch.from_numpy(norm.rvs(mean, s, size=(runs, 4000), random_state=3))
    scores = [
        float(sf.analysis.free_energy_difference(w, kt).standard_score(mean - s**2 / (2 * kt)))
        for w in work
    ]
    assert is_one([s**2 for s in scores], runs)


def test_entropy_scatters_as_it_states() -> None:
    """One motion at rest, in 40 groups of 100 particles."""
    law, runs = sf.sdes.ornstein_uhlenbeck(TURNING, NOISE, t_end=0.4), 40
    x = law.stationary().sample(100 * runs, seed=1)
    path = SDESolver("heun", 80, seed=5).solve(law, x, save=81)
    flow = [sf.analysis.entropy_flow(law, replace(path, x=part)) for part in path.x.chunk(runs, 1)]
    assert is_one([f.standard_score(law.entropy_production()).square() for f in flow], runs)


def test_a_covariance_scatters_as_it_states() -> None:
    """Of x_0 = a and x_1 = 0.6 a + b, both normal: 0.6, in 100 groups of 2000."""
    runs = 100
    a, b = randn(2, 2000 * runs, 1)
    path = Path(f64([0.0, 1.0]), torch.stack([a, 0.6 * a + b]), nfe=1, seconds=0.0)
    found = [
        sf.analysis.two_time_covariance(replace(path, x=part), 1.0, 0.0)
        for part in path.x.chunk(runs, 1)
    ]
    assert is_one([f.standard_score(0.6).square() for f in found], runs)


def test_work_and_heat_add_up_to_the_energy_on_every_path() -> None:
    """The first law, path by path; the heat given is the entropy that flows, times T."""
    protocol = lambda t: torch.sin(3 * t)  # noqa: E731
    path = driven(trap, protocol, n=50)
    ends = [trap(path.x[k], protocol(path.t[k])) for k in (0, -1)]
    w, q = (f(path, trap, protocol) for f in (sf.analysis.work, sf.analysis.heat))
    assert close(w + q, ends[1] - ends[0], rtol=0, atol=1e-12)
    law = sf.sdes.langevin(trap, 0.8, 1.2, 1.5, protocol)
    flow = sf.analysis.entropy_flow(law, path)
    assert close(flow.value * 1.5 * 0.8, -q.mean(), rtol=1e-3)


# -------------------------------------------------------------------------------------- two worlds


def test_a_physicist_writes_five_lines() -> None:
    """Particles, density, current and a verdict, on the way over a barrier; and a wrong law is
    turned down."""
    law = sf.sdes.langevin(sf.sdes.double_well(1.5), temperature=0.8, t_end=1.0)
    start = GaussianMixture.isotropic(f64([[-0.6, 0.4]]), 0.3)
    x = SDESolver("heun", 200, seed=1).solve(law, start.sample(20_000, seed=0)).x[-1]
    p = sf.evolve(law, start.on_grid(Grid(-4.0, 4.0, (96, 96))), f64([0.0, 1.0]))[-1]
    verdict, flow = sf.check_density(x, p), sf.fokker_planck.probability_current(law, p, 1.0)
    assert verdict.passed()
    over = flow[48, :, 0].sum() * p.grid.width[1]  # still from the left well to the right
    assert 0.05 < over < 0.5
    late = sf.evolve(law, p, f64([0.0, 0.15]))[-1]
    assert not sf.check_density(x, late).passed()


# ------------------------------------------------------------------------------------------- doors


def path_of(law: sf.SDE, d: int = 1) -> Path:
    return SDESolver(steps=4).solve(law, torch.ones(5, d, dtype=F64), save=5)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: Estimate.of(torch.ones(1)), ValueError, "number of samples must be at least 2"),
        (
            lambda: sf.analysis.first_passage(
                drifting(0.1), torch.zeros(9, 1), level, SDESolver(steps=2)
            ).mean(),
            sf.SdeflowError, "9 of 9 particles had not arrived after 0.1.*later t_end",
        ),
        (
            lambda: Passage(f64([1.0]), torch.tensor([False])).rate(),
            sf.SdeflowError, "no particle arrived",
        ),
        (
            lambda: sf.analysis.first_passage(drifting(1.0), torch.zeros(9, 1), lambda x: x, SDESolver()),
            ValueError, r"one number per particle, \(9,\), got \(9, 1\)",
        ),
        (
            lambda: sf.analysis.first_passage(
                replace(drifting(1.0), diffusion=None), torch.zeros(9, 1), level, SDESolver()
            ),
            ValueError, "this law has no noise",
        ),
        (
            lambda: sf.analysis.mean_first_passage_time(WELL, -1.0, 1.0, temperature=-1.0),
            ValueError, "temperature must be positive",
        ),
        (lambda: sf.analysis.kramers_time(WELL, 0.0, -1.0), ValueError, "needs a minimum and a maximum"),
        (
            lambda: sf.analysis.two_time_covariance(path_of(sf.sdes.brownian()), 0.3, 0.0),
            ValueError, "no state was kept at 0.3",
        ),
        (
            lambda: (lambda law: sf.analysis.entropy_flow(law, path_of(law, 2)))(
                sf.sdes.underdamped(sf.sdes.harmonic())
            ),
            ValueError, "noise on every axis",
        ),
        (
            lambda: (lambda law: sf.analysis.entropy_flow(law, path_of(law)))(
                sf.sdes.geometric_brownian(0.1, 0.2)
            ),
            ValueError, "does not depend on the state",
        ),
        (
            lambda: sf.analysis.free_energy_difference(torch.ones(5), -1.0),
            ValueError, "temperature must be positive",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_a_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
