"""The SDEs of classical physics against closed forms: matrix exponentials, Boltzmann densities,
equipartition, lognormals; for particles, for densities, and the one against the other.

Particles are compared by their standard errors, densities by the total variation. The strong
orders of the Euler and Milstein methods are in tests/theorems/test_convergence_orders.py.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import kstest, lognorm
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, GaussianMixture, Grid, SDESolver, evolve
from sdeflow.analysis.estimate import Estimate
from sdeflow.analysis.thermodynamics import two_time_covariance
from sdeflow.sdes.potentials import gradient
from sdeflow.solvers.sde_solver import METHODS
from tests.problems import TILTED_GAUSSIAN, close, f64, lopsided, randn

F64 = torch.float64
ROTATING = [[1.0, 2.0], [-1.0, 1.5]]  # no gradient; the noise differs between the axes
NOISE = [1.0, 0.7]


def boltzmann(grid: Grid, energy: Tensor) -> Density:
    """Cell masses of e^{-energy}, energy (cells,) in units of kT at the centres."""
    return Density(grid, torch.softmax(-energy, 0).reshape(grid.shape))


def tilted(x: Tensor) -> Tensor:
    """Two wells of different depth, coupled to a second coordinate: no symmetry."""
    return (x[:, 0] ** 2 - 1) ** 2 + x[:, 0] / 4 + (x[:, 1] - x[:, 0] / 2) ** 2


# ------------------------------------------------------------------------------- noise per axis


@pytest.mark.parametrize("method", METHODS)
def test_noise_may_differ_between_axes_in_every_method(method: str) -> None:
    """It is additive: a linear SDE scales with it, coordinate by coordinate, bit for bit."""
    sde = sf.SDE(lambda x, t: -x, lambda x, t: x.new_tensor(1.0), 0.0, 1.0)
    sizes, x = f64([0.5, 4.0]), randn(50, 2)
    wide = replace(sde, diffusion=lambda x, t: sizes)
    one = SDESolver(method, 20, seed=1).solve(sde, x).x[-1]
    assert torch.equal(SDESolver(method, 20, seed=1).solve(wide, x * sizes).x[-1], one * sizes)


def test_noise_per_axis_equals_diagonal_noise_for_densities() -> None:
    row, grid = f64([0.4, 0.9]), Grid(-5.0, 5.0, (48, 48))
    by_axis = sf.SDE(lambda x, t: -x, lambda x, t: row, 0.0, 1.0)
    diagonal = replace(by_axis, diffusion=lambda x, t: row.expand_as(x))
    p = TILTED_GAUSSIAN.on_grid(grid)
    ours, theirs = (evolve(sde, p, f64([0.0, 1.0]), steps=20)[-1] for sde in (by_axis, diagonal))
    assert torch.equal(ours.mass, theirs.mass)
    assert torch.equal(
        sf.fokker_planck.probability_current(by_axis, p, 0.0),
        sf.fokker_planck.probability_current(diagonal, p, 0.0),
    )
    chains = [sf.fokker_planck.markov_generator(sde, grid).matrix for sde in (by_axis, diagonal)]
    assert abs(chains[0] - chains[1]).max() == 0


def test_classical_sdes_keep_the_dtype_of_the_cloud() -> None:
    sdes = [
        sf.sdes.brownian(),
        sf.sdes.langevin(tilted),
        sf.sdes.underdamped(sf.sdes.harmonic()),
        sf.sdes.ornstein_uhlenbeck(ROTATING, NOISE),
        sf.sdes.geometric_brownian(0.1, 0.2),
    ]
    for sde in sdes:
        assert SDESolver(steps=3).solve(sde, randn(4, 2).float()).x.dtype == torch.float32


# --------------------------------------------------------------------------------- Brownian motion


def test_brownian_variance_is_2_d_t() -> None:
    sde, blob = (
        sf.sdes.brownian(diffusivity=0.3, t_end=2.0),
        GaussianMixture.isotropic(f64([[0.4, -1.0]]), 0.5),
    )
    grid = Grid(-10.0, 10.0, (80, 80))
    truth = GaussianMixture.isotropic(blob.means, math.sqrt(0.25 + 2 * 0.3 * 2.0))
    out = evolve(sde, blob.on_grid(grid), f64([0.0, 2.0]), steps=1)[-1]
    assert out.total_variation(truth.on_grid(grid)) < 1e-11
    x = SDESolver(steps=5, seed=3).solve(sde, torch.zeros(20_000, 2, dtype=F64)).x[-1]
    assert (Estimate.of(x**2).standard_score(1.2).abs() < 4).all()


# ----------------------------------------------------------------------------- Ornstein-Uhlenbeck


def by_van_loan(
    mixture: GaussianMixture, matrix: Tensor, noise: Tensor, t: float
) -> GaussianMixture:
    """The solution at t by one exponential of a block matrix (Van Loan)."""
    d = len(noise)
    block = torch.zeros(2 * d, 2 * d, dtype=F64)
    block[:d, :d], block[:d, d:], block[d:, d:] = matrix, torch.diag(noise**2), -matrix.T
    e = torch.matrix_exp(block * t)
    grown = e[d:, d:].T
    spread = grown @ mixture.covariances @ grown.T + grown @ e[:d, d:]
    return GaussianMixture(mixture.weights, mixture.means @ grown.T, (spread + spread.mT) / 2)


@pytest.mark.parametrize("noise", [NOISE, [0.0, 1.0]], ids=["full", "one axis"])
@pytest.mark.parametrize("t", [0.0, 0.05, 0.7, 30.0])
def test_ornstein_uhlenbeck_distribution_is_the_block_exponential(
    noise: list[float], t: float
) -> None:
    """Against Van Loan's block exponential; at late times, the stationary distribution."""
    sde = sf.sdes.ornstein_uhlenbeck(ROTATING, noise)
    ours = sde.evolved(lopsided(), t)
    theirs = sde.stationary() if t > 20 else by_van_loan(lopsided(), f64(ROTATING), f64(noise), t)
    assert close(ours.means, theirs.means.expand_as(ours.means), rtol=1e-12, atol=1e-12)
    assert close(ours.covariances, theirs.covariances.expand_as(ours.covariances), atol=1e-12)


def test_particles_and_density_of_ornstein_uhlenbeck_have_the_closed_form() -> None:
    sde = sf.sdes.ornstein_uhlenbeck(ROTATING, NOISE, t_end=0.8)
    truth = sde.evolved(TILTED_GAUSSIAN, 0.8)
    grid = Grid(-4.0, 4.0, (96, 96))
    out = evolve(sde, TILTED_GAUSSIAN.on_grid(grid), f64([0.0, 0.8]), steps=80)[-1]
    assert out.total_variation(truth.on_grid(grid)) < 3e-4
    x = SDESolver("heun", 80, seed=2).solve(sde, TILTED_GAUSSIAN.sample(20_000, seed=1)).x[-1]
    off = x - truth.mean()
    assert (Estimate.of(x).standard_score(truth.mean()).abs() < 4).all()
    second = Estimate.of(off[:, :, None] * off[:, None, :])
    assert (second.standard_score(truth.covariance()).abs() < 4).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("d", [1, 2, 16])
def test_linear_drift_of_a_particle_does_not_depend_on_the_others(d: int, dtype) -> None:
    """Bit for bit; one product of matrices rounds differently for other numbers of rows."""
    matrix = torch.eye(d, dtype=F64) + randn(d, d).tril(-1)
    sde, x = sf.sdes.ornstein_uhlenbeck(matrix), randn(1000, d).to(dtype)
    all_of_them = sde.drift(x, f64(0.0))
    assert close(all_of_them, -x @ matrix.to(dtype).T, 1e-5)
    for k in (1, 2, 3, 7, 31, 257):
        assert torch.equal(sde.drift(x[:k], f64(0.0)), all_of_them[:k])
    every_other = torch.cat([x, x], 1)[:, ::2]  # not contiguous
    assert sde.drift(every_other, f64(0.0)).shape == x.shape


def test_stationary_two_time_covariance_of_ornstein_uhlenbeck_is_exact() -> None:
    """Not symmetric in its two times, because the drift rotates."""
    sde = sf.sdes.ornstein_uhlenbeck(ROTATING, NOISE, t_end=1.0)
    x = sde.stationary().sample(20_000, seed=4)
    path = SDESolver("heun", 100, seed=5).solve(sde, x, save=[0.0, 0.5, 1.0])
    for t, s in ((0.5, 0.5), (0.5, 0.0), (1.0, 0.5)):
        found = two_time_covariance(path, t, s)
        assert (found.standard_score(sde.covariance(t - s)).abs() < 4).all()
        assert close(two_time_covariance(path, s, t).value, found.value.T)
    assert (two_time_covariance(path, 0.5, 0.0).standard_score(sde.covariance(0.5).T) > 20).any()


def test_gradient_drift_produces_no_entropy() -> None:
    """A = D S with S symmetric; a rotating part produces entropy."""
    spread, shape = torch.diag(f64(NOISE) ** 2) / 2, f64([[2.0, 0.5], [0.5, 1.0]])
    assert abs(sf.sdes.ornstein_uhlenbeck(spread @ shape, NOISE).entropy_production()) < 1e-14
    rotating = spread @ (shape + f64([[0.0, 1.0], [-1.0, 0.0]]))
    assert sf.sdes.ornstein_uhlenbeck(rotating, NOISE).entropy_production() > 0.1


# ---------------------------------------------------------------------------------------- Langevin


def test_force_is_minus_the_gradient() -> None:
    x = randn(20, 2)
    by_hand = torch.stack([4 * x[:, 0] * (x[:, 0] ** 2 - 1) * 3, 0.5 * x[:, 1]], 1)
    assert close(gradient(sf.sdes.double_well(3.0, 0.5), x), by_hand)
    assert close(gradient(sf.sdes.mexican_hat(2.0), x), 8 * x * ((x**2).sum(1, keepdim=True) - 1))
    assert close(gradient(sf.sdes.harmonic(1.7), x), 1.7 * x)
    with torch.no_grad():
        assert close(
            sf.sdes.langevin(sf.sdes.harmonic(2.0), mobility=3.0).drift(x, f64(0.0)), -6 * x
        )


@pytest.mark.parametrize("potential", [tilted, sf.sdes.mexican_hat(2.0)], ids=["wells", "hat"])
def test_boltzmann_density_is_stationary_for_langevin(potential) -> None:
    """At T = 0.7 and mobility 1.9, for the Markov generator and for `evolve`."""
    sde = sf.sdes.langevin(potential, temperature=0.7, mobility=1.9, t_end=0.5)
    grid = Grid(-3.6, 3.6, (96, 96))
    p = boltzmann(grid, potential(grid.centres()) / 0.7)
    assert sf.fokker_planck.markov_generator(sde, grid).stationary().total_variation(p) < 4e-3
    assert evolve(sde, p, f64([0.0, 0.5]), steps=200)[-1].total_variation(p) < 4e-3
    wrong = boltzmann(grid, potential(grid.centres()))
    assert p.total_variation(wrong) > 0.05


def test_langevin_particles_reach_the_boltzmann_distribution() -> None:
    """From the shallow well over a low barrier: E x, E x^2 and the virial theorem, E x U' = T."""
    u = lambda x: tilted(torch.stack([x, x / 2], -1).reshape(-1, 2))  # noqa: E731
    sde = sf.sdes.langevin(lambda x: u(x[:, 0]), temperature=0.7, t_end=12.0)
    x = SDESolver("heun", 1200, seed=8).solve(sde, torch.ones(6000, 1, dtype=F64), save=1).x[-1]
    weight = lambda s: math.exp(-float(u(f64([s]))) / 0.7)  # noqa: E731
    total = quad(weight, -4, 4)[0]
    for power in (1, 2):
        mean = quad(lambda s, k=power: s**k * weight(s), -4, 4)[0] / total
        assert abs(Estimate.of(x[:, 0] ** power).standard_score(mean)) < 4
    virial = Estimate.of((x * gradient(lambda y: u(y[:, 0]), x))[:, 0])
    assert abs(virial.standard_score(0.7)) < 4


def test_particles_and_density_follow_a_driven_potential() -> None:
    """A trap of stiffness k at c = v t: the mean lags by v / (mu k) (1 - e^{-mu k t})."""
    k, mu, v = 2.0, 1.5, 0.8
    sde = sf.sdes.langevin(
        lambda x, c: sf.sdes.harmonic(k)(x - c), 0.5, mu, t_end=1.0, protocol=lambda t: v * t
    )
    rest = GaussianMixture.isotropic(f64([[0.0]]), math.sqrt(0.5 / k))
    mean = v - v / (mu * k) * (1 - math.exp(-mu * k))
    p = rest.on_grid(Grid(-3.0, 3.5, (128,)))
    out = evolve(sde, p, f64([0.0, 1.0]), steps=100)[-1]
    assert float(out.mean()) == pytest.approx(mean, abs=2e-4)
    x = SDESolver("heun", 100, seed=3).solve(sde, rest.sample(10_000, seed=2)).x[-1]
    assert abs(Estimate.of(x[:, 0]).standard_score(mean)) < 4


# ------------------------------------------------------------------------- particles that interact


def total(x: Tensor) -> Tensor:
    """Springs between all pairs, sum_{i < j} |x_i - x_j|^2 / (2 n) = sum_i |x_i - mean|^2 / 2."""
    return ((x[:, None] - x) ** 2).sum() / (4 * len(x))


def per_particle(x: Tensor) -> Tensor:
    """sum_j |x_i - x_j|^2 / (2 n): the sum over i is twice the energy."""
    return ((x[:, None] - x) ** 2).sum((1, 2)) / (2 * len(x))


def test_total_energy_gives_the_force_of_pairs() -> None:
    x = randn(30, 2)
    want = -(x - x.mean(0))
    assert close(sf.sdes.langevin(total).drift(x, f64(0.0)), want)
    q, v = x.chunk(2, 1)
    drift = sf.sdes.underdamped(total, friction=0.5, mass=2.0).drift(x, f64(0.0))
    assert close(drift, torch.cat([v, -(q - q.mean(0)) / 2 - v / 2], 1))
    pulled = sf.sdes.langevin(lambda x, c: total(x - c) + c * x.sum(), protocol=lambda t: 3 * t)
    assert close(pulled.drift(x, f64(0.5)), want - 1.5)


def test_particles_on_springs_have_the_boltzmann_variance() -> None:
    """T about their mean; half of it if each pair counted twice."""
    sde = sf.sdes.langevin(lambda x: ((x - x.mean(0)) ** 2).sum() / 2, t_end=6.0)
    x = SDESolver("heun", 200, seed=4).solve(sde, torch.zeros(4000, 1, dtype=F64)).x[-1]
    assert abs(Estimate.of((x - x.mean()) ** 2).standard_score(1.0)) < 4


@pytest.mark.parametrize("solver", [SDESolver(steps=2), sf.ODESolver(), sf.ODESolver("euler", 2)])
@pytest.mark.parametrize("inertia", [False, True])
def test_energies_that_count_pairs_twice_are_refused(solver, inertia: bool) -> None:
    make = sf.sdes.underdamped if inertia else sf.sdes.langevin
    for energies in (per_particle, lambda x: 1 / torch.cdist(x, x).fill_diagonal_(1.0).sum(1)):
        sde = make(energies)
        if isinstance(solver, sf.ODESolver):
            sde = replace(sde, diffusion=None)
        with pytest.raises(ValueError, match="return the total energy of the cloud, a scalar"):
            solver.solve(sde, randn(9, 2))


@pytest.mark.parametrize(
    "energies",
    [
        lambda x: torch.linspace(1, 2, len(x)) * (x**2).sum(1),  # another spring for each
        lambda x: (x.reshape(3, 3, 2) ** 2).sum(2).reshape(-1),  # a cloud of this size alone
        lambda x: torch.where(x[:, 0] > 1, torch.inf, (x**2).sum(1)),
        lambda x: 0 * x.sum(1),
        torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0)).double(),
    ],
    ids=["springs", "shaped", "wall", "flat", "network"],
)
def test_energies_of_one_particle_each_are_taken(energies) -> None:
    x = randn(9, 2)
    sde = sf.sdes.langevin(energies, t_end=1e-3)
    end = SDESolver(steps=1).solve(sde, x).x[-1]
    noise = SDESolver(steps=1).solve(sf.sdes.brownian(1.0, 1e-3), x).x[-1]
    assert close(end - noise, 1e-3 * sde.drift(x, f64(0.0)), 1e-9)


def test_energies_are_compared_once_in_a_run() -> None:
    asked: list[int] = []

    def counted(x: Tensor) -> Tensor:
        asked.append(len(x))
        return (x**2).sum(1)

    for steps in (3, 7):
        asked.clear()
        SDESolver(steps=steps).solve(sf.sdes.langevin(counted), randn(4, 2))
        assert len(asked) == steps + 2
    SDESolver(steps=2).solve(sf.sdes.langevin(counted), randn(1, 2))


def test_potentials_print_in_words_and_check_their_constants() -> None:
    assert repr(sf.sdes.harmonic(2.0)) == "harmonic potential, stiffness 2"
    assert repr(sf.sdes.double_well(3.0, 0.5)) == "double well, barrier 3, stiffness 0.5"
    assert repr(sf.sdes.mexican_hat()) == "Mexican hat, barrier 1"
    for potential in (sf.sdes.harmonic(), sf.sdes.double_well()):
        with pytest.raises(ValueError, match="stiffness must be positive"):
            replace(potential, stiffness=-1.0)
    for potential in (sf.sdes.harmonic(), sf.sdes.double_well(), sf.sdes.mexican_hat()):
        for wrong in (randn(5), [[1.0]], None):
            with pytest.raises(ValueError, match=r"a potential takes a cloud, a tensor \(n, d\)"):
                potential(wrong)


# ------------------------------------------------------------------------------------- underdamped

GAMMA, T, M, K = 0.5, 0.8, 2.0, 1.5


def oscillator(t_end: float) -> tuple[sf.SDE, sf.sdes.OrnsteinUhlenbeck]:
    """A particle on a spring, and the same SDE as an Ornstein-Uhlenbeck process."""
    size = math.sqrt(2 * GAMMA * T / M)
    linear = sf.sdes.ornstein_uhlenbeck([[0.0, -1.0], [K / M, GAMMA]], [0.0, size], t_end)
    return sf.sdes.underdamped(sf.sdes.harmonic(K), GAMMA, T, M, t_end), linear


def test_stationary_oscillator_obeys_equipartition() -> None:
    """K <q^2> = M <v^2> = T, <q v> = 0: in the closed form, and in particles that start cold."""
    sde, linear = oscillator(16.0)
    assert close(linear.covariance(), torch.diag(f64([T / K, T / M])))
    x = SDESolver("heun", 800, seed=1).solve(sde, torch.zeros(8000, 2, dtype=F64), save=1).x[-1]
    energies = Estimate.of(torch.stack([K * x[:, 0] ** 2, M * x[:, 1] ** 2, x.prod(1)], 1))
    assert (energies.standard_score(f64([T, T, 0.0])).abs() < 4).all()


def test_two_time_covariance_of_an_oscillator_is_exact() -> None:
    """<q q>, <v q>, <q v>, <v v> over a third and a whole of a period."""
    sde, linear = oscillator(8.0)
    x = linear.stationary().sample(8000, seed=7)
    path = SDESolver("heun", 400, seed=9).solve(sde, x, save=[0.0, 2.4, 8.0])
    for lag in (0.0, 2.4, 8.0):
        found = two_time_covariance(path, lag, 0.0)
        assert (found.standard_score(linear.covariance(lag)).abs() < 4).all()
    later = two_time_covariance(path, 2.4, 0.0).value
    assert later[0, 1] * later[1, 0] < 0  # odd under time reversal, as velocities are


def kinetic_error(cells: int) -> float:
    sde, linear = oscillator(3.0)
    grid = Grid((-6.0, -5.0), (6.0, 5.0), (cells, cells))
    out = evolve(sde, TILTED_GAUSSIAN.on_grid(grid), f64([0.0, 3.0]), steps=100)[-1]
    return out.total_variation(linear.evolved(TILTED_GAUSSIAN, 3.0).on_grid(grid))


def test_density_of_an_oscillator_is_gaussian() -> None:
    """Noise in v alone; docs/sources.md, N20, has 8.7e-4 at 64^2."""
    assert kinetic_error(64) < 8.7e-4


@pytest.mark.slow
def test_density_of_an_oscillator_is_gaussian_at_128() -> None:
    assert kinetic_error(128) < 1.2e-4


def test_boltzmann_density_is_stationary_for_underdamped_motion() -> None:
    """e^{-U / T - m v^2 / 2 T} in a double well, for `evolve` and for particles."""
    well = sf.sdes.double_well(1.5)
    sde = sf.sdes.underdamped(well, GAMMA, T, M, t_end=1.0)
    grid = Grid((-2.4, -4.0), (2.4, 4.0), (80, 80))
    q, v = grid.centres().chunk(2, 1)
    p = boltzmann(grid, (well(q) + M / 2 * v[:, 0] ** 2) / T)
    assert evolve(sde, p, f64([0.0, 1.0]), steps=150)[-1].total_variation(p) < 4e-3
    x = SDESolver("heun", 100, seed=4).solve(sde, p.sample(10_000, seed=6)).x[-1]
    virial = x[:, :1] * gradient(well, x[:, :1])
    found = Estimate.of(torch.cat([virial, M * x[:, 1:] ** 2], 1))
    assert (found.standard_score(T).abs() < 4).all()


def test_underdamped_state_is_positions_then_velocities() -> None:
    sde = sf.sdes.underdamped(sf.sdes.harmonic(2.0), 3.0, 1.0, 4.0)
    x = randn(5, 6)
    q, v = x[:, :3], x[:, 3:]
    assert close(sde.drift(x, f64(0.0)), torch.cat([v, -q / 2 - 3 * v], 1))
    assert sde.diffusion is not None
    assert close(sde.diffusion(x, f64(0.0)), f64([0, 0, 0, *[math.sqrt(1.5)] * 3]))
    pulled = sf.sdes.underdamped(
        lambda q, c: sf.sdes.harmonic(2.0)(q - c), 3.0, 1.0, 4.0, protocol=lambda t: 6 * t
    )
    assert close(pulled.drift(x, f64(0.5))[:, 3:], (3 - q) / 2 - 3 * v)


# ------------------------------------------------------------------------------ geometric Brownian


@pytest.mark.parametrize("calculus", ["ito", "stratonovich"])
def test_geometric_brownian_particles_are_lognormal(calculus) -> None:
    """Kolmogorov and Smirnov's test, by SciPy; the other reading of the noise is refuted."""
    growth, size, t = 0.4, 0.7, 1.5
    sde = sf.sdes.geometric_brownian(growth, size, t, calculus)
    x = SDESolver("milstein", 300, seed=2).solve(sde, torch.full((4000, 1), 2.0, dtype=F64)).x[-1]
    p = {}
    for reading in ("ito", "stratonovich"):
        drift = growth - (size**2 / 2 if reading == "ito" else 0.0)
        truth = lognorm(size * math.sqrt(t), scale=2.0 * math.exp(drift * t))
        p[reading] = kstest(x[:, 0].numpy(), truth.cdf).pvalue
    assert p.pop(calculus) > 1e-3
    assert max(p.values()) < 1e-20


# ------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("sde", "words"),
    [
        (sf.sdes.brownian(0.3, 2.0), "Brownian motion, diffusivity 0.3, t from 0 to 2"),
        (
            sf.sdes.ornstein_uhlenbeck(ROTATING),
            "Ornstein-Uhlenbeck process in 2 dimensions, t from 0 to 1",
        ),
        (
            sf.sdes.langevin(tilted, 0.7, 1.9, 0.5),
            "overdamped Langevin dynamics, temperature 0.7, mobility 1.9, t from 0 to 0.5",
        ),
        (
            sf.sdes.underdamped(tilted, 0.5, 0.8, 2.0),
            "underdamped Langevin dynamics, friction 0.5, temperature 0.8, mass 2, t from 0 to 1",
        ),
        (
            sf.sdes.geometric_brownian(0.1, 0.2),
            "geometric Brownian motion, growth 0.1, volatility 0.2, t from 0 to 1",
        ),
    ],
    ids=["brownian", "linear", "langevin", "underdamped", "geometric"],
)
def test_classical_sdes_print_in_words(sde: sf.SDE, words: str) -> None:
    assert repr(sde) == words


# --------------------------------------------------------------------------------- wrong arguments

CLOUD = torch.ones(5, 2, dtype=F64)


def run(sde: sf.SDE, x: Tensor = CLOUD) -> object:
    return SDESolver(steps=2).solve(sde, x)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (
            lambda: sf.sdes.ornstein_uhlenbeck([[-1.0, 0.0], [0.0, 1.0]]),
            ValueError,
            "real part is -1",
        ),
        (lambda: sf.sdes.ornstein_uhlenbeck([[0.0, 1.0], [-1.0, 0.0]]), ValueError, "decays"),
        (lambda: sf.sdes.ornstein_uhlenbeck([[math.nan]]), ValueError, "eigenvalues"),
        (
            lambda: sf.sdes.ornstein_uhlenbeck([1.0, 2.0]),
            ValueError,
            r"square, \(d, d\), got \(2,\)",
        ),
        (lambda: sf.sdes.ornstein_uhlenbeck(ROTATING, ROTATING), ValueError, "becomes diagonal"),
        (
            lambda: sf.sdes.ornstein_uhlenbeck(ROTATING, [1.0, 2.0, 3.0]),
            ValueError,
            r"got shape \(3,\)",
        ),
        (lambda: sf.sdes.ornstein_uhlenbeck(ROTATING, -1.0), ValueError, "not negative"),
        (lambda: sf.sdes.ornstein_uhlenbeck(ROTATING, 0.0), ValueError, "not all zero"),
        (
            lambda: sf.sdes.ornstein_uhlenbeck(ROTATING).evolved(TILTED_GAUSSIAN, -1.0),
            ValueError,
            "time must be zero or more",
        ),
        (
            lambda: sf.sdes.ornstein_uhlenbeck([[1.0]]).evolved(TILTED_GAUSSIAN, 1.0),
            ValueError,
            "the mixture has dimension 2, the process 1",
        ),
        (
            lambda: sf.sdes.ornstein_uhlenbeck(ROTATING, [0.0, 1.0]).entropy_production(),
            ValueError,
            "noise on every axis",
        ),
        (
            lambda: sf.sdes.langevin(tilted, temperature=-1.0),
            ValueError,
            "temperature must be posi",
        ),
        (lambda: sf.sdes.langevin(tilted, mobility=0.0), ValueError, "mobility must be positive"),
        (lambda: sf.sdes.langevin(tilted, t_end=0.0), ValueError, "t_end must be positive"),
        (lambda: sf.sdes.langevin(2.0), TypeError, "potential must be a function"),  # type: ignore[arg-type]
        (lambda: run(sf.sdes.langevin(lambda x: x**2)), ValueError, r"\(5,\), got \(5, 2\)"),
        (lambda: run(sf.sdes.langevin(lambda x: x[:2].sum(1))), ValueError, "the total energy"),
        (lambda: run(sf.sdes.langevin(lambda x: np.ones(5))), ValueError, "got ndarray"),  # type: ignore[arg-type,return-value]
        (lambda: run(sf.sdes.langevin(lambda x: x.detach().sum(1))), ValueError, "no gradient"),
        (
            lambda: sf.sdes.underdamped(tilted, friction=-1.0),
            ValueError,
            "friction must be positive",
        ),
        (lambda: sf.sdes.underdamped(tilted, mass=0.0), ValueError, "mass must be positive"),
        (
            lambda: run(sf.sdes.underdamped(sf.sdes.harmonic()), torch.ones(5, 3)),
            ValueError,
            "got 3 columns; append a velocity",
        ),
        (lambda: sf.sdes.brownian(-0.5), ValueError, "diffusivity must be positive"),
        (lambda: sf.sdes.brownian("fast"), TypeError, "diffusivity must be a number"),  # type: ignore[arg-type]
        (lambda: sf.sdes.ornstein_uhlenbeck("A"), TypeError, "matrix must be real numbers"),  # type: ignore[arg-type]
        (
            lambda: sf.sdes.ornstein_uhlenbeck(ROTATING, None),  # type: ignore[arg-type]
            TypeError,
            "noise must be real numbers",
        ),
        (
            lambda: sf.sdes.ornstein_uhlenbeck(ROTATING).evolved(sf.datasets.ring(), 1.0),  # type: ignore[arg-type]
            TypeError,
            "start must be a GaussianMixture, got Dataset",
        ),
        (
            lambda: sf.sdes.langevin(tilted, protocol=2.0),  # type: ignore[arg-type]
            TypeError,
            r"protocol must be a function of \(t\), got float",
        ),
        (
            lambda: sf.sdes.langevin(sf.sdes.harmonic(), protocol=lambda t: t),
            TypeError,
            r"with a protocol, potential must be a function of \(x, control\)",
        ),
        (
            lambda: sf.sdes.langevin(lambda x, c: x.sum(1) * c),
            TypeError,
            r"potential must be a function of \(x\), got one of \(x, c\)",
        ),
        (
            lambda: run(sf.sdes.langevin(lambda x, c: tilted(x), protocol=lambda t: None)),  # type: ignore[arg-type,return-value]
            ValueError,
            "the protocol returned None",
        ),
        (lambda: sf.sdes.geometric_brownian(0.1, -0.2), ValueError, "volatility must be positive"),
        (lambda: sf.sdes.geometric_brownian(np.nan, 0.2), ValueError, "growth must be finite"),
        (
            lambda: sf.sdes.geometric_brownian(0.1, 0.2, calculus="Ito"),  # type: ignore[arg-type]
            ValueError,
            "'ito' or 'stratonovich', got 'Ito'",
        ),
        (lambda: sf.sdes.double_well(0.0), ValueError, "barrier must be positive"),
        (
            lambda: run(replace(sf.sdes.brownian(), diffusion=lambda x, t: torch.ones(5, 2, 2))),
            ValueError,
            r"returned \(5, 2, 2\) for a cloud \(5, 2\), but noise is \(\), \(d,\)",
        ),
        (
            lambda: run(replace(sf.sdes.brownian(), diffusion=lambda x, t: torch.ones(3))),
            ValueError,
            r"returned \(3,\) for a cloud",
        ),
    ],
)
def test_classical_sdes_refuse_wrong_arguments_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)


def test_potential_that_writes_into_the_cloud_is_refused() -> None:
    sde = sf.sdes.langevin(lambda x: x.mul_(0.5)[:, 0])
    with pytest.raises(ValueError, match="writes into the cloud that it is given"):
        sf.SDESolver("euler", 3).solve(sde, randn(4, 1))
