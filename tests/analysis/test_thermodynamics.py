"""Entropy, heat and work against the integrals, formulas and laws that fix them, each within the
standard error that it states.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chi2, norm
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, GaussianMixture, Grid, SDESolver
from sdeflow.analysis import Estimate
from sdeflow.solvers.path import Path
from tests.problems import close, f64, randn

F64 = torch.float64
WELL = sf.sdes.double_well(2.0)
TURNING, NOISE = [[1.0, 2.0], [-1.0, 1.5]], [1.0, 0.7]


# ----------------------------------------------------------------------------------------- entropy


def test_entropy_production_of_a_rotating_motion_is_the_closed_form() -> None:
    """Three ways to one number: tr(A^T C A / D) - tr A, heat along paths, and the current."""
    sde = sf.sdes.ornstein_uhlenbeck(TURNING, NOISE, t_end=2.0)
    exact = sde.entropy_production()
    x = sde.stationary().sample(4000, seed=1)
    path = SDESolver("heun", 1000, seed=5).solve(sde, x, save=1001)
    found = sf.analysis.entropy_flow(sde, path)
    assert abs(found.standard_score(exact)) < 3
    assert float(found.error) < 0.02 * exact
    box = (5 * sde.covariance().diagonal().sqrt()).tolist()
    grid = Grid([-b for b in box], box, (96, 96))
    p = sde.stationary().on_grid(grid)
    assert sf.analysis.entropy_production(sde, p, 0.0) == pytest.approx(exact, rel=2e-3)


def test_entropy_production_is_change_of_entropy_plus_flow() -> None:
    """Production = change of the density's entropy + flow to the bath, for any start."""
    sde = sf.sdes.ornstein_uhlenbeck(TURNING, NOISE, t_end=0.4)
    start = GaussianMixture(f64([1.0]), f64([[0.9, -0.4]]), f64([[[0.2, 0.05], [0.05, 0.1]]]))
    grid, times = Grid(-3.2, 3.2, (96, 96)), torch.linspace(0.0, 0.4, 21, dtype=F64)
    densities = [sde.evolved(start, t).on_grid(grid) for t in times.tolist()]
    made = torch.trapezoid(
        f64(
            [
                sf.analysis.entropy_production(sde, p, t)
                for p, t in zip(densities, times, strict=True)
            ]
        ),
        times,
    )
    path = SDESolver("heun", 400, seed=8).solve(sde, start.sample(20_000, seed=7), save=401)
    flow = sf.analysis.entropy_flow(sde, path)
    change = densities[-1].entropy() - densities[0].entropy()
    assert abs(flow.standard_score((float(made) - change) / 0.4)) < 3
    assert change > 10 * float(flow.error) * 0.4


def test_entropy_production_under_detailed_balance_is_zero() -> None:
    sde, grid = sf.sdes.langevin(WELL), Grid(-2.2, 2.2, (400,))
    rest = torch.softmax(-WELL(grid.centres()), 0)
    assert 0 <= sf.analysis.entropy_production(sde, Density(grid, rest), 0.0) < 1e-4


# ----------------------------------------------------------------------------------- work and heat


def driven(potential, protocol, n: int = 20_000) -> Path:
    """From equilibrium in U(x, protocol(0)), stiffness 2 about 0, over t = 1.5, with all steps."""
    sde = sf.sdes.langevin(potential, 0.8, 1.2, 1.5, protocol)
    x = GaussianMixture.isotropic(f64([[0.0]]), math.sqrt(0.8 / 2)).sample(n, seed=2)
    return SDESolver("heun", 150, seed=6).solve(sde, x, save=151)


def trap(x: Tensor, centre: Tensor) -> Tensor:
    return sf.sdes.harmonic(2.0)(x - centre)


def test_work_of_a_moving_trap_is_the_closed_form() -> None:
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


def test_free_energy_difference_of_a_stiffening_spring_is_the_closed_form() -> None:
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


def test_free_energy_difference_scatters_by_its_error() -> None:
    """Normal work of mean m and variance s^2: dF = m - s^2 / 2 T, over 200 draws of 4000."""
    kt, mean, s, runs = 0.8, 1.5, 0.5, 200
    work = torch.from_numpy(norm.rvs(mean, s, size=(runs, 4000), random_state=3))
    scores = [
        float(sf.analysis.free_energy_difference(w, kt).standard_score(mean - s**2 / (2 * kt)))
        for w in work
    ]
    assert is_one([s**2 for s in scores], runs)


def test_entropy_flow_scatters_by_its_error() -> None:
    """One stationary motion, in 40 groups of 100 particles."""
    sde, runs = sf.sdes.ornstein_uhlenbeck(TURNING, NOISE, t_end=0.4), 40
    x = sde.stationary().sample(100 * runs, seed=1)
    path = SDESolver("heun", 80, seed=5).solve(sde, x, save=81)
    flow = [sf.analysis.entropy_flow(sde, replace(path, x=part)) for part in path.x.chunk(runs, 1)]
    assert is_one([f.standard_score(sde.entropy_production()).square() for f in flow], runs)


def test_two_time_covariance_scatters_by_its_error() -> None:
    """Of x_0 = a and x_1 = 0.6 a + b, both normal: 0.6, in 100 groups of 2000."""
    runs = 100
    a, b = randn(2, 2000 * runs, 1)
    path = Path(f64([0.0, 1.0]), torch.stack([a, 0.6 * a + b]), nfe=1, seconds=0.0)
    found = [
        sf.analysis.two_time_covariance(replace(path, x=part), 1.0, 0.0)
        for part in path.x.chunk(runs, 1)
    ]
    assert is_one([f.standard_score(0.6).square() for f in found], runs)


def test_work_and_heat_sum_to_the_change_of_energy_on_every_path() -> None:
    """The first law, path by path; the heat given is the entropy that flows, times T."""
    protocol = lambda t: torch.sin(3 * t)  # noqa: E731
    path = driven(trap, protocol, n=50)
    ends = [trap(path.x[k], protocol(path.t[k])) for k in (0, -1)]
    w, q = (f(path, trap, protocol) for f in (sf.analysis.work, sf.analysis.heat))
    assert close(w + q, ends[1] - ends[0], rtol=0, atol=1e-12)
    sde = sf.sdes.langevin(trap, 0.8, 1.2, 1.5, protocol)
    flow = sf.analysis.entropy_flow(sde, path)
    assert close(flow.value * 1.5 * 0.8, -q.mean(), rtol=1e-3)


# ------------------------------------------------------------------------------ particles, density


def test_particles_density_and_current_agree_on_the_way_over_a_barrier() -> None:
    """And the density of a later time is rejected."""
    sde = sf.sdes.langevin(sf.sdes.double_well(1.5), temperature=0.8, t_end=1.0)
    start = GaussianMixture.isotropic(f64([[-0.6, 0.4]]), 0.3)
    x = SDESolver("heun", 200, seed=1).solve(sde, start.sample(20_000, seed=0)).x[-1]
    p = sf.evolve(sde, start.on_grid(Grid(-4.0, 4.0, (96, 96))), f64([0.0, 1.0]))[-1]
    verdict, flow = sf.check_density(x, p), sf.fokker_planck.probability_current(sde, p, 1.0)
    assert verdict.passed()
    over = flow[48, :, 0].sum() * p.grid.width[1]  # still from the left well to the right
    assert 0.05 < over < 0.5
    late = sf.evolve(sde, p, f64([0.0, 0.15]))[-1]
    assert not sf.check_density(x, late).passed()


# ----------------------------------------------------------------------------------- bad arguments


def path_of(sde: sf.SDE, d: int = 1) -> Path:
    return SDESolver(steps=4).solve(sde, torch.ones(5, d, dtype=F64), save=5)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: sf.analysis.two_time_covariance(path_of(sf.sdes.brownian()), 0.3, 0.0),
            ValueError, "no state at t = 0.3",
        ),
        (
            lambda: (lambda sde: sf.analysis.entropy_flow(sde, path_of(sde, 2)))(
                sf.sdes.underdamped(sf.sdes.harmonic())
            ),
            ValueError, "noise on every axis",
        ),
        (
            lambda: (lambda sde: sf.analysis.entropy_flow(sde, path_of(sde)))(
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
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)


def test_states_of_a_path_are_not_written() -> None:
    """A drift that writes into its x halved the states, and the flow with them."""
    path = SDESolver("heun", 20, seed=1).solve(sf.sdes.brownian(), randn(50, 2), save=21)
    kept = path.x.clone()
    noise = f64([0.5, 1.0])
    inside = sf.SDE(lambda x, t: x.mul_(0.5).neg(), lambda x, t: x.mul_(0)[0] + noise, 0.0, 1.0)
    plain = sf.SDE(lambda x, t: -0.5 * x, lambda x, t: noise, 0.0, 1.0)
    flows = [sf.analysis.entropy_flow(sde, path).value for sde in (inside, plain)]
    assert torch.equal(path.x, kept)
    assert torch.equal(*flows)


def test_work_along_an_adaptive_path_needs_its_steps() -> None:
    """x' = t - x from 0: W = int (lambda - x) d lambda = 1 - e^{-3} + ... over t = 0 to 3."""
    sde = sf.SDE(lambda x, t: t - x, None, 0.0, 3.0)
    solver, x = sf.ODESolver(rtol=1e-9), torch.zeros(2, 1, dtype=F64)
    few = solver.solve(sde, x)
    assert few.steps is not None
    assert few.steps > 9

    def pulled(x: Tensor, centre: Tensor) -> Tensor:
        return (x[:, 0] - centre) ** 2 / 2

    with pytest.raises(ValueError, match=f"holds 2 of its {few.steps + 1} states"):
        sf.analysis.work(few, pulled, lambda t: t)
    with pytest.raises(ValueError, match="holds its last state alone"):  # the work was 0
        sf.analysis.work(solver.solve(sde, x, save=1), pulled, lambda t: t)
    found = sf.analysis.work(solver.solve(sde, x, save=301), pulled, lambda t: t)
    assert close(found, f64([2 + math.exp(-3)] * 2), 1e-3)  # x = t - 1 + e^{-t}
