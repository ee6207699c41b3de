"""The tests against a density: uniform p-values for exact samples, small ones for others, and the
numbers of independent libraries on the same counts.
"""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import sdeflow as sf
from sdeflow import Density, Grid, check_density
from sdeflow.diagnostics import check_path, dynkin_test, holm
from sdeflow.diagnostics.goodness_of_fit import EXPECTED, GoodnessOfFit
from sdeflow.diagnostics.hypothesis import waves
from sdeflow.diagnostics.verdict import format_p_value
from sdeflow.fokker_planck import Rescaling
from sdeflow.solvers import Path
from tests.problems import (
    VP_TAU,
    f64,
    lopsided,
    noised,
    pair,
    rejected,
    ring,
    scored,
    tau_times,
    walk,
)

F64 = torch.float64


def line(mixture: sf.GaussianMixture, cells: int = 200, half: float = 4.0) -> Density:
    return mixture.on_grid(Grid(-half, half, (cells,)), missing=1.0)


def square(mixture: sf.GaussianMixture, cells: int = 64, half: float = 4.0) -> Density:
    return mixture.on_grid(Grid(-half, half, (cells, cells)), missing=1.0)


WIDE = sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 1.0)
PROBLEMS: dict[str, tuple[sf.GaussianMixture, Density]] = {
    "ring": (ring(), square(ring())),
    "tilted": (lopsided(), square(lopsided())),
    "one Gaussian": (WIDE, square(WIDE)),
    "a box that cuts it": (WIDE, square(WIDE, 32, 1.5)),
    "coarse cells": (ring(), square(ring(), 16)),
    "a line": (pair(), line(pair())),
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rounding_onto_a_sharp_edge_is_no_particle_in_an_empty_cell(dtype: torch.dtype) -> None:
    """The edges of a checkerboard are edges of cells; smaller squares are found."""
    data, grid = sf.datasets.checkerboard(), Grid((-4.0, -4.0), (4.0, 4.0), (32, 32))
    density, x = data.distribution.on_grid(grid), data.sample(20_000, 0)
    assert (density.mass.reshape(-1)[grid.cell(x.to(dtype))] < 1e-15).any()
    assert check_density(x.to(dtype), density).p_value > 1e-3
    on_edges = x.to(dtype).double()
    before = on_edges.clone()
    assert check_density(on_edges, density).p_value > 1e-3
    assert on_edges.equal(before)
    assert check_density((0.97 * x).to(dtype), density).p_value < 1e-9


def p_values(
    distribution: sf.GaussianMixture | Density, fit: GoodnessOfFit, runs: int, seed: int = 0
) -> np.ndarray:
    """(runs, tests) of clouds of the distribution itself."""
    clouds = (distribution.sample(fit.n, seed=seed + k) for k in range(runs))
    return np.array([[t.p_value for t in fit(x).tests] for x in clouds])


# ------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("name", PROBLEMS)
def test_p_values_are_uniform_for_exact_samples(name: str) -> None:
    """Kolmogorov-Smirnov over 150 clouds; rare cells reject no more often than the level."""
    mixture, density = PROBLEMS[name]
    p = p_values(mixture, GoodnessOfFit(density, 4000), 150)
    for column in p[:, :2].T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        assert rejected(column) <= stats.binom.ppf(0.999, 150, 0.05) / 150
    assert rejected(p[:, 2]) <= stats.binom.ppf(0.999, 150, 0.05) / 150


def test_p_values_are_uniform_for_samples_of_the_density() -> None:
    density = PROBLEMS["tilted"][1].normalised()
    for column in p_values(density, GoodnessOfFit(density, 4000), 150)[:, :2].T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("n", "runs"), [(10_000, 2000), (100_000, 200)])
@pytest.mark.parametrize("name", ["ring", "one Gaussian", "a line"])
def test_p_values_are_uniform_over_thousands_of_clouds(name: str, n: int, runs: int) -> None:
    mixture, density = PROBLEMS[name]
    p = p_values(mixture, GoodnessOfFit(density, n), runs)
    low, high = (0.04, 0.062) if runs == 2000 else (0.01, 0.1)
    print(name, n, [(stats.kstest(c, "uniform").pvalue, rejected(c)) for c in p.T])
    for column in p[:, :2].T:
        assert stats.kstest(column, "uniform").pvalue > 0.01
        assert low <= rejected(column) <= high
    assert rejected(p[:, 2]) <= high


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_family_of_ten_times_errs_no_more_often_than_its_level() -> None:
    """A cloud that the exact Ornstein-Uhlenbeck kernel carries through ten times."""
    mixture, n, runs = ring(), 10_000, 400
    decay = math.exp(-0.05)
    spread = [math.sqrt(1 - decay ** (2 * k)) for k in range(10)]
    noised = [mixture.noised(decay**k, s) for k, s in enumerate(spread)]
    fits = [GoodnessOfFit(square(q, half=5.0), n, seed=k) for k, q in enumerate(noised)]
    failed = 0
    for run in range(runs):
        noise = torch.Generator().manual_seed(run)
        x, found = mixture.sample(n, seed=run), []
        for fit in fits:
            found += [t.p_value for t in fit(x).tests]
            z = torch.randn(n, 2, dtype=F64, generator=noise)
            x = decay * x + math.sqrt(1 - decay**2) * z
        failed += min(holm(found)) < 0.05
    print("family-wise", failed / runs)
    assert failed / runs <= 0.06


@pytest.mark.parametrize("seed", range(2))
def test_a_million_exact_samples_pass_on_cells_as_wide_as_a_mode(seed: int) -> None:
    """And they fail where the waves are evaluated at the particles: interpolation is the error."""
    mixture, density = PROBLEMS["coarse cells"]
    n, w = 1_000_000, f64([[1.1, -0.4], [0.3, 3.0]])
    x = mixture.sample(n, seed=seed)
    assert check_density(x, density, seed=seed).p_value > 1e-3
    share, centres = density.mass.reshape(-1).numpy(), density.grid.centres().numpy()
    phi = waves(centres, w.numpy())
    mean = share @ phi
    spread = (phi * share[:, None]).T @ phi - np.outer(mean, mean)
    off = waves(x.numpy(), w.numpy()).mean(0) - mean
    assert stats.chi2.sf(n * off @ np.linalg.solve(spread, off), 4) < 1e-10


# ------------------------------------------------------------------- equality with other libraries


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("n", [100, 1000, 100_000])
def test_chi_square_equals_that_of_scipy(name: str, n: int) -> None:
    mixture, density = PROBLEMS[name]
    fit, x = GoodnessOfFit(density, n), mixture.sample(n, seed=3)
    verdict = fit(x)
    which = density.grid.cell(x).numpy()
    found = np.bincount(fit.label[which], minlength=verdict.bins)
    theirs = stats.chisquare(found, fit.expected)
    assert verdict.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    assert verdict.tests[0].p_value == pytest.approx(theirs.pvalue, rel=1e-6)
    assert verdict.distance == pytest.approx(abs(found / n - fit.expected / n).sum() / 2)
    assert fit.expected.min() >= EXPECTED * (1 - 1e-9)
    assert fit.expected.sum() == pytest.approx(n)


def test_waves_have_mean_zero_and_unit_covariance_under_the_density() -> None:
    fit = GoodnessOfFit(PROBLEMS["tilted"][1], 10_000)
    assert fit.waves.shape[1] >= 25
    assert abs(fit.share @ fit.waves).max() < 1e-9
    spread = (fit.waves * fit.share[:, None]).T @ fit.waves
    assert abs(spread - np.eye(len(spread))).max() < 1e-6


def test_squared_residuals_sum_to_the_chi_square() -> None:
    mixture, density = PROBLEMS["ring"]
    fit = GoodnessOfFit(density, 10_000)
    verdict = fit(mixture.sample(10_000, seed=0))
    label, share = fit.label[:-1], fit.expected / 10_000
    residual = verdict.residual.numpy().ravel()
    each = np.array([residual[label == k][0] for k in range(verdict.bins)])
    assert (residual == each[label]).all()
    assert (each**2 @ (1 - share)) == pytest.approx(verdict.statistic)
    assert verdict.residual.shape == density.grid.shape


# --------------------------------------------------------------------------- effects, floors, Holm


def test_effect_is_unbiased_and_its_error_is_its_scatter() -> None:
    """Against the chi-square divergence of two mixtures, from their exact masses on the bins."""
    other, n, runs = pair(first=-1.16), 4000, 300
    fit = GoodnessOfFit(line(pair()), n)
    share = fit.expected / n
    q = np.append(line(other).mass.numpy(), 0.0)
    divergence = ((np.bincount(fit.label, q) - share) ** 2 / share).sum()
    assert 0.01 < divergence < 0.1
    for mixture, expected in ((other, divergence), (pair(), 0.0)):
        verdicts = [fit(mixture.sample(n, seed=k)) for k in range(runs)]
        effects = np.array([v.effect for v in verdicts])
        error = effects.std(ddof=1)
        assert abs(effects.mean() - expected) < 4 * error / math.sqrt(runs)
        assert np.mean([v.effect_error for v in verdicts]) == pytest.approx(error, rel=0.2)
        covered = np.mean([v.bound > expected for v in verdicts])
        assert covered == 1 if expected == 0 else 0.9 <= covered <= 0.99


def test_sampling_floor_is_the_distance_of_perfect_clouds() -> None:
    mixture, density = PROBLEMS["ring"]
    fit, n = GoodnessOfFit(density, 4000), 4000
    found = [fit(mixture.sample(n, seed=k)).distance for k in range(200)]
    mean, sd = fit.sampling_floor
    assert np.mean(found) == pytest.approx(mean, abs=4 * sd / math.sqrt(200))
    assert np.std(found) == pytest.approx(sd, rel=0.2)
    share = fit.expected / n
    large = np.sqrt(2 * share * (1 - share) / (math.pi * n)).sum() / 2
    assert mean == pytest.approx(large, rel=0.01)
    # 0.4 sqrt(bins / n) is an upper bound by Cauchy-Schwarz, sharp for equal shares.
    even = math.sqrt(len(share) / (2 * math.pi * n))
    assert 0.95 * even < large < even


def test_p_values_above_a_half_are_not_printed() -> None:
    """min(1, m p) = 1 is no p-value of one."""
    assert [format_p_value(p) for p in (1.0, 0.51, 0.5, 3.14e-12)] == [
        "p > 0.5", "p > 0.5", "p = 0.5", "p = 3.1e-12",
    ]  # fmt: skip


def test_a_small_cloud_passes_but_is_not_equivalent() -> None:
    mixture, density = PROBLEMS["ring"]
    few = check_density(mixture.sample(300, seed=0), density)
    many = check_density(mixture.sample(100_000, seed=0), density)
    assert few.passed()
    assert many.passed()
    assert not few.equivalent()
    assert many.equivalent()
    assert not check_density(1.03 * mixture.sample(100_000, seed=0), density).equivalent()


def test_verdict_is_set_by_its_seed() -> None:
    mixture, density = PROBLEMS["tilted"]
    x = mixture.sample(5000, seed=0)
    a, b, c = (check_density(x, density, seed=s) for s in (1, 1, 2))
    assert (a.tests, a.sampling_floor) == (b.tests, b.sampling_floor)
    assert a.tests[0] == c.tests[0]
    assert a.tests[1] != c.tests[1]


def test_a_density_error_above_the_floor_warns() -> None:
    mixture, density = PROBLEMS["tilted"]
    x, floor = mixture.sample(5000, seed=0), GoodnessOfFit(density, 5000).sampling_floor[0]
    check_density(x, replace(density, error=0.9 * floor))  # a warning would be an error
    with pytest.warns(RuntimeWarning, match="a small p-value may come from the grid"):
        check_density(x, replace(density, error=1.1 * floor))


# --------------------------------------------------------------------------------- what is outside


def test_outside_of_the_grid_is_a_bin() -> None:
    """Neither too few particles nor too many may be there."""
    mixture, density = PROBLEMS["a box that cuts it"]
    x = mixture.sample(20_000, seed=0)
    out = density.grid.cell(x) < 0
    assert check_density(x, density).passed(0.01)
    assert not check_density(x[~out], density).passed(1e-6)
    assert not check_density(torch.cat([x, x[out][:600]]), density).passed(1e-6)


def test_a_particle_where_the_density_is_zero_is_rejected() -> None:
    flat = Density(Grid(-1.0, 1.0, (32, 32)), torch.full((32, 32), 1 / 1024, dtype=F64))
    half = flat.mass.clone()
    half[:16] = 0.0
    hole = Density(flat.grid, half).normalised()
    for density, stray in ((flat, [[1.1, 0.0]]), (hole, [[-0.5, 0.3]])):
        x = density.sample(100_000, seed=0)
        assert check_density(x, density).passed(0.01)
        x[0] = f64(stray)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = check_density(x, density)
        assert found.tests[2].p_value < 1e-6
        assert not found.passed()
        assert len(said) == (density is flat)


def test_particles_behind_a_wall_and_rounded_ones_are_named() -> None:
    """A density that `evolve` reflected is no density of particles that went on."""
    flat = Density(Grid(-1.0, 1.0, (32,)), torch.full((32,), 1 / 32, dtype=F64))
    x = flat.sample(1000, seed=0)
    x[:2] = -1.1
    with pytest.warns(RuntimeWarning, match="2 of the particles lie beyond the grid's end -1,"):
        check_density(x, flat)
    z = torch.linspace(-5, 5, 1025, dtype=F64)
    mass = torch.special.ndtr(z).diff()
    shifted = Density(Grid(1e5 - 5, 1e5 + 5, (1024,)), mass)
    x = 1e5 + torch.randn(1000, 1, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert check_density(x, shifted).passed()
    with pytest.warns(RuntimeWarning, match="rounding lowers the p-values; run the"):
        check_density(x.float(), shifted)


@pytest.mark.parametrize("unit", [1e-12, 1e-6, 1e12])
def test_verdict_does_not_depend_on_the_unit_or_the_order_of_rows(unit: float) -> None:
    mixture, density = PROBLEMS["tilted"]
    grid = density.grid
    low, high = ([unit * v for v in c] for c in (grid.low, grid.high))
    scaled = Density(Grid(tuple(low), tuple(high), grid.shape), density.mass)
    x = 1.1 * mixture.sample(3000, seed=0)
    plain, other = check_density(x, density), check_density(unit * x.flip(0), scaled)
    assert [t.statistic for t in other.tests] == pytest.approx(
        [t.statistic for t in plain.tests], rel=1e-6
    )


def test_p_value_of_one_particle_in_rare_cells_is_its_binomial_tail() -> None:
    """The outside has mass 1e-6, and five levels are tested."""
    flat = torch.full((32, 32), (1 - 1e-6) / 1024, dtype=F64)
    density = Density(Grid(-1.0, 1.0, (32, 32)), flat)
    x = density.sample(10_000, seed=0)
    x[0] = 2.0
    assert check_density(x, density).tests[2].p_value == pytest.approx(5 * (1 - math.exp(-0.01)))


def test_thirty_particles_in_rare_cells_are_rejected() -> None:
    """Thirty in a tail of mass 1e-6: no bin shows them, the rare cells do."""
    mixture, density = PROBLEMS["tilted"]
    x = mixture.sample(100_000, seed=0)
    x[:30] = 50.0
    found = check_density(x, density)
    assert found.tests[2].p_value < 1e-20
    assert not found.passed(1e-10)


# ------------------------------------------------------------------------------------------- power


def one_dimension(n: int) -> dict[float, sf.diagnostics.PathVerdict]:
    """Particles with their score times a factor, against the densities of the right SDE."""
    process, steps = sf.VP(), 100
    field, rescaling = sf.ExactField(process, pair()), Rescaling(process, 1.0, 0.25)
    c, size = process(f64(process.t_max)), 6 * rescaling(process.t_max)
    prior = pair().noised(c.alpha, c.sigma)
    start = prior.on_grid(Grid(-size, size, (256,)))
    times = sf.processes.log_snr_times(process, steps)
    keep, x = times[[0, 60, 80, 100]], prior.sample(n, seed=5)
    densities = sf.evolve(sf.reverse(field), start, keep, steps=200, rescaling=rescaling)
    solver = sf.SDESolver("heun", times=times, seed=1)
    return {
        factor: check_path(solver.solve(scored(field, factor), x, save=keep), densities)
        for factor in (1.0, 1.05)
    }


@pytest.mark.parametrize("n", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_score_off_by_five_percent_is_rejected_at_every_later_time(n: int) -> None:
    """The right one passes at all four times; at the first time the two clouds are the same."""
    found = one_dimension(n)
    assert found[1.0].passed(1e-3)
    assert found[1.05].p_value < 1e-6
    assert [v.passed() for v in found[1.05].verdicts] == [True, False, False, False]


def broken(name: str, cells: int = 128, steps: int = 200) -> Density:
    """The density at t_min of a reverse sampler with one defect, without sampling noise."""
    field, grid = sf.ExactField(VP_TAU, ring()), Grid(-5.0, 5.0, (cells, cells))
    start = noised(VP_TAU.t_max).on_grid(grid)
    kind, _, value = name.partition(" ")
    if kind == "EM":
        return sf.fokker_planck.sampler_density(sf.reverse(field), start, tau_times(int(value)))[
            -1
        ]
    if kind == "silent":  # no noise in the last steps of 200
        base, at = sf.reverse(field), tau_times(200)[[-1 - int(value), -1]]
        sde = sf.SDE(base.drift, None, base.t_start, base.t_end)
        before = noised(at[0]).on_grid(grid)
        return sf.evolve(sde, before, at, steps=400, estimate=False)[-1]
    eta = 0.0 if kind == "flow" else 1.0
    factor, noise = (1.0, float(value)) if kind == "noise" else (float(value), 1.0)
    return sf.evolve(
        scored(field, factor, eta, noise), start, f64([VP_TAU.t_max, VP_TAU.t_min]), steps=steps,
        rescaling=Rescaling(VP_TAU, 1.0, 0.25), estimate=False,
    )[-1]  # fmt: skip


TRUTH = noised(VP_TAU.t_min).on_grid(Grid(-5.0, 5.0, (128, 128)))


def test_a_score_off_by_five_percent_is_rejected_on_the_ring() -> None:
    wrong = broken("score 1.05", cells=64, steps=100)
    right = broken("score 1.0", cells=64, steps=100)
    assert check_density(noised(VP_TAU.t_min).sample(100_000, seed=0), right).passed(1e-2)
    assert check_density(wrong.sample(100_000, seed=0), right).p_value < 1e-6


ROWS = [  # defect, n, the best of the study's tests (docs/sources.md, N18)
    ("EM 50", 10_000, 1.0), ("EM 100", 10_000, 1.0), ("EM 200", 10_000, 0.92),
    ("EM 200", 100_000, 1.0), ("EM 400", 10_000, 0.32), ("EM 400", 100_000, 1.0),
    ("score 1.05", 10_000, 1.0), ("score 1.02", 10_000, 0.30), ("score 1.02", 100_000, 1.0),
    ("score 1.01", 100_000, 0.90), ("flow 1.02", 10_000, 1.0), ("noise 0.95", 10_000, 1.0),
    ("noise 0.98", 10_000, 0.42), ("silent 1", 10_000, 0.88), ("silent 4", 10_000, 1.0),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "n", "best"), ROWS)
def test_power_is_at_least_that_of_the_best_known_test(name: str, n: int, best: float) -> None:
    """Power at 5 %, over as many runs as the study; lower only within binomial chance."""
    runs = 60 if n == 10_000 else 10
    p = p_values(broken(name), GoodnessOfFit(TRUTH, n), runs)
    power = [rejected(column) for column in p.T]
    joint = np.mean([min(holm(row)) < 0.05 for row in p])
    print(f"{name}, n = {n}: chi-square {power[0]:.2f}, characteristic {power[1]:.2f}, "
          f"after Holm {joint:.2f}; the study's best {best}")  # fmt: skip
    assert max(power) >= stats.binom.ppf(0.01, runs, best) / runs


# ------------------------------------------------------------------------------------------ paths


def test_path_verdict_has_one_verdict_per_time_and_rejects_a_shift() -> None:
    path, sde = walk(20_000)
    few = Path(path.t[::8], path.x[::8], 0, 0.0)
    densities = sf.evolve(sde, line(pair()), few.t, steps=100)
    verdict = check_path(few, densities)
    assert len(verdict.verdicts) == 6
    assert verdict.passed(0.01)
    every = [t.p_value for v in verdict.verdicts for t in v.tests]
    assert verdict.p_value == min(holm(every))
    with_motion = check_path(path, sf.evolve(sde, line(pair()), path.t, steps=100), sde=sde)
    assert with_motion.tests[-1] == dynkin_test(path, sde)
    assert len(with_motion.tests) == 41 * 3 + 1
    lines = str(verdict).splitlines()
    assert len(lines) == 6 + 4  # a row per time, two of heads, a blank one and the p-value
    assert [float(line.split("|")[1]) for line in lines[2:8]] == pytest.approx(
        few.t.tolist(), rel=1e-3
    )
    assert verdict._repr_markdown_() == str(verdict)
    assert repr(verdict) == f"verdict on a path at 6 times: {lines[-1]}"
    wrong = Path(few.t, torch.cat([few.x[:3], few.x[3:] + 0.05]), 0, 0.0)
    found = check_path(wrong, densities)
    assert [v.p_value < 1e-4 for v in found.verdicts] == [False] * 3 + [True] * 3
    assert not found.passed()


def test_verdict_prints_its_numbers() -> None:
    mixture, density = PROBLEMS["ring"]
    verdict = check_density(mixture.sample(10_000, seed=0), density)
    words = str(verdict)
    numbers = [verdict.distance, *verdict.sampling_floor]
    said = [f"{test.p_value:.2g}" for test in verdict.tests] + [f"{v:.4f}" for v in numbers]
    assert all(word in words for word in said)
    assert verdict._repr_markdown_() == words
    assert repr(verdict) == (
        f"verdict on 10000 particles in {verdict.bins} bins: {format_p_value(verdict.p_value)} "
        f"after Holm, total variation {said[3]}, sampling floor {said[4]} +- {said[5]}"
    )


# ----------------------------------------------------------------------------------- bad arguments

SMALL = PROBLEMS["a line"][1]
CLOUD = pair().sample(500, seed=0)
ONE_BIN = line(sf.GaussianMixture.isotropic(f64([[5.0]]), 0.1), 4, 9.0)
LATE = sf.fokker_planck.DensityPath(
    f64([0.0, 0.7]), (SMALL, SMALL), sf.fokker_planck.Diagnostics()
)
PATH = Path(f64([0.0, 1.0]), torch.stack([CLOUD, CLOUD]), 0, 0.0)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: check_density(CLOUD.expand(-1, 2), SMALL), ValueError, "must have dimension 1"),
        (lambda: check_density(CLOUD / 0, SMALL), ValueError, "NaN or infinite"),
        (lambda: check_density(CLOUD[:99], SMALL), ValueError, "at least 100 particles"),
        (lambda: check_density(CLOUD, SMALL.mass), TypeError, "must be a Density"),
        (lambda: check_density(CLOUD, SMALL, bins=1), ValueError, "bins must be at least 2"),
        (lambda: check_density(CLOUD, SMALL, seed=-1), ValueError, "seed must be at least 0"),
        (
            lambda: check_density(CLOUD, Density(SMALL.grid, SMALL.mass / 3)),
            ValueError, "holds 0.33 of the mass .* normalise it",
        ),
        (lambda: check_density(CLOUD, ONE_BIN), ValueError, "lies in one bin"),
        (lambda: GoodnessOfFit(SMALL, 400)(CLOUD), ValueError, "made for 400 particles, got 500"),
        (lambda: check_path(PATH, LATE), ValueError, "saved at t = 1, .* nearest is at 0.7"),
        (lambda: check_path(CLOUD, LATE), TypeError, "a Path and a DensityPath"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
