"""The judge on trial: its p-values must be uniform when nothing is wrong, small when something is,
and equal to those of independent libraries on the same counts.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import sdeflow as sf
from sdeflow import Density, Grid, check_density
from sdeflow.diagnostics import check_path, dynkin_test, holm
from sdeflow.diagnostics.goodness_of_fit import EXPECTED, Judge
from sdeflow.diagnostics.hypothesis import waves
from sdeflow.diagnostics.verdict import told
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


def line(law: sf.GaussianMixture, cells: int = 200, half: float = 4.0) -> Density:
    return law.on_grid(Grid(-half, half, (cells,)), missing=1.0)


def square(law: sf.GaussianMixture, cells: int = 64, half: float = 4.0) -> Density:
    return law.on_grid(Grid(-half, half, (cells, cells)), missing=1.0)


WIDE = sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 1.0)
LAWS: dict[str, tuple[sf.GaussianMixture, Density]] = {
    "ring": (ring(), square(ring())),
    "tilted": (lopsided(), square(lopsided())),
    "one Gaussian": (WIDE, square(WIDE)),
    "a box that cuts it": (WIDE, square(WIDE, 32, 1.5)),
    "coarse cells": (ring(), square(ring(), 16)),
    "a line": (pair(), line(pair())),
}


def p_values(
    law: sf.GaussianMixture | Density, judge: Judge, runs: int, seed: int = 0
) -> np.ndarray:
    """(runs, tests) of clouds of the law itself."""
    clouds = (law.sample(judge.n, seed=seed + k) for k in range(runs))
    return np.array([[t.p_value for t in judge(x).tests] for x in clouds])


# ------------------------------------------------------------------------------------- calibration


@pytest.mark.parametrize("name", LAWS)
def test_p_values_are_uniform_for_exact_samples(name: str) -> None:
    """Kolmogorov-Smirnov over 150 clouds; the strays never err more often than they say."""
    law, density = LAWS[name]
    p = p_values(law, Judge(density, 4000), 150)
    for column in p[:, :2].T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
        assert rejected(column) <= stats.binom.ppf(0.999, 150, 0.05) / 150
    assert rejected(p[:, 2]) <= stats.binom.ppf(0.999, 150, 0.05) / 150


def test_p_values_are_uniform_for_samples_of_the_density() -> None:
    density = LAWS["tilted"][1].normalised()
    for column in p_values(density, Judge(density, 4000), 150)[:, :2].T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("n", "runs"), [(10_000, 2000), (100_000, 200)])
@pytest.mark.parametrize("name", ["ring", "one Gaussian", "a line"])
def test_calibration_in_full(name: str, n: int, runs: int) -> None:
    law, density = LAWS[name]
    p = p_values(law, Judge(density, n), runs)
    low, high = (0.04, 0.062) if runs == 2000 else (0.01, 0.1)
    print(name, n, [(stats.kstest(c, "uniform").pvalue, rejected(c)) for c in p.T])
    for column in p[:, :2].T:
        assert stats.kstest(column, "uniform").pvalue > 0.01
        assert low <= rejected(column) <= high
    assert rejected(p[:, 2]) <= high


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_family_of_ten_times_errs_no_more_than_one_test() -> None:
    """A cloud that the exact Ornstein-Uhlenbeck kernel carries through ten times."""
    law, n, runs = ring(), 10_000, 400
    decay = math.exp(-0.05)
    spread = [math.sqrt(1 - decay ** (2 * k)) for k in range(10)]
    noised = [law.noised(decay**k, s) for k, s in enumerate(spread)]
    judges = [Judge(square(q, half=5.0), n, seed=k) for k, q in enumerate(noised)]
    failed = 0
    for run in range(runs):
        noise = torch.Generator().manual_seed(run)
        x, found = law.sample(n, seed=run), []
        for judge in judges:
            found += [t.p_value for t in judge(x).tests]
            z = torch.randn(n, 2, dtype=F64, generator=noise)
            x = decay * x + math.sqrt(1 - decay**2) * z
        failed += min(holm(found)) < 0.05
    print("family-wise", failed / runs)
    assert failed / runs <= 0.06


@pytest.mark.parametrize("seed", range(2))
def test_a_million_pass_on_cells_as_wide_as_a_mode(seed: int) -> None:
    """And not where the law is read at the particles: that is the trap of interpolation."""
    law, density = LAWS["coarse cells"]
    n, w = 1_000_000, f64([[1.1, -0.4], [0.3, 3.0]])
    x = law.sample(n, seed=seed)
    assert check_density(x, density, seed=seed).p_value > 1e-3
    share, centres = density.mass.reshape(-1).numpy(), density.grid.centres().numpy()
    phi = waves(centres, w.numpy())
    mean = share @ phi
    spread = (phi * share[:, None]).T @ phi - np.outer(mean, mean)
    off = waves(x.numpy(), w.numpy()).mean(0) - mean
    assert stats.chi2.sf(n * off @ np.linalg.solve(spread, off), 4) < 1e-10


# ------------------------------------------------------------------- equality with other libraries


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("n", [100, 1000, 100_000])
def test_the_chi_square_is_scipys(name: str, n: int) -> None:
    law, density = LAWS[name]
    judge, x = Judge(density, n), law.sample(n, seed=3)
    verdict = judge(x)
    which = density.grid.cell(x).numpy()
    found = np.bincount(judge.label[which], minlength=verdict.bins)
    theirs = stats.chisquare(found, judge.expected)
    assert verdict.statistic == pytest.approx(theirs.statistic, rel=1e-9)
    assert verdict.tests[0].p_value == pytest.approx(theirs.pvalue, rel=1e-6)
    assert verdict.distance == pytest.approx(abs(found / n - judge.expected / n).sum() / 2)
    assert judge.expected.min() >= EXPECTED * (1 - 1e-9)
    assert judge.expected.sum() == pytest.approx(n)


def test_the_waves_are_whitened_by_the_law_itself() -> None:
    judge = Judge(LAWS["tilted"][1], 10_000)
    assert judge.waves.shape[1] >= 25
    assert abs(judge.share @ judge.waves).max() < 1e-9
    spread = (judge.waves * judge.share[:, None]).T @ judge.waves
    assert abs(spread - np.eye(len(spread))).max() < 1e-6


def test_the_residuals_add_up_to_the_chi_square() -> None:
    law, density = LAWS["ring"]
    judge = Judge(density, 10_000)
    verdict = judge(law.sample(10_000, seed=0))
    label, share = judge.label[:-1], judge.expected / 10_000
    residual = verdict.residual.numpy().ravel()
    each = np.array([residual[label == k][0] for k in range(verdict.bins)])
    assert (residual == each[label]).all()
    assert (each**2 @ (1 - share)) == pytest.approx(verdict.statistic)
    assert verdict.residual.shape == density.grid.shape


# --------------------------------------------------------------------------- effects, floors, Holm


def test_the_effect_is_unbiased_and_knows_its_error() -> None:
    """Against the chi-square divergence of two mixtures, from their exact masses on the bins."""
    other, n, runs = pair(first=-1.16), 4000, 300
    judge = Judge(line(pair()), n)
    share = judge.expected / n
    q = np.append(line(other).mass.numpy(), 0.0)
    truth = ((np.bincount(judge.label, q) - share) ** 2 / share).sum()
    assert 0.01 < truth < 0.1
    for law, meant in ((other, truth), (pair(), 0.0)):
        verdicts = [judge(law.sample(n, seed=k)) for k in range(runs)]
        effects = np.array([v.effect for v in verdicts])
        error = effects.std(ddof=1)
        assert abs(effects.mean() - meant) < 4 * error / math.sqrt(runs)
        assert np.mean([v.effect_error for v in verdicts]) == pytest.approx(error, rel=0.2)
        covered = np.mean([v.bound > meant for v in verdicts])
        assert covered == 1 if meant == 0 else 0.9 <= covered <= 0.99


def test_the_floor_is_where_perfect_clouds_are() -> None:
    law, density = LAWS["ring"]
    judge, n = Judge(density, 4000), 4000
    found = [judge(law.sample(n, seed=k)).distance for k in range(200)]
    mean, sd = judge.floor
    assert np.mean(found) == pytest.approx(mean, abs=4 * sd / math.sqrt(200))
    assert np.std(found) == pytest.approx(sd, rel=0.2)
    share = judge.expected / n
    large = np.sqrt(2 * share * (1 - share) / (math.pi * n)).sum() / 2
    assert mean == pytest.approx(large, rel=0.01)
    # And of nearly equal shares 0.4 sqrt(bins / n), no more: by Cauchy and Schwarz.
    even = math.sqrt(len(share) / (2 * math.pi * n))
    assert 0.95 * even < large < even


def test_a_p_value_is_told_as_far_as_holm_knows_it() -> None:
    """min(1, m p) = 1 is no p-value of one."""
    assert [told(p) for p in (1.0, 0.51, 0.5, 3.14e-12)] == [
        "p > 0.5", "p > 0.5", "p = 0.5", "p = 3.1e-12",
    ]  # fmt: skip


def test_a_large_p_is_no_equivalence() -> None:
    law, density = LAWS["ring"]
    few = check_density(law.sample(300, seed=0), density)
    many = check_density(law.sample(100_000, seed=0), density)
    assert few.passed()
    assert many.passed()
    assert not few.equivalent()
    assert many.equivalent()
    assert not check_density(1.03 * law.sample(100_000, seed=0), density).equivalent()


def test_the_same_seed_gives_the_same_verdict() -> None:
    law, density = LAWS["tilted"]
    x = law.sample(5000, seed=0)
    a, b, c = (check_density(x, density, seed=s) for s in (1, 1, 2))
    assert (a.tests, a.floor) == (b.tests, b.floor)
    assert a.tests[0] == c.tests[0]
    assert a.tests[1] != c.tests[1]


def test_a_density_coarser_than_the_floor_says_so() -> None:
    law, density = LAWS["tilted"]
    x, floor = law.sample(5000, seed=0), Judge(density, 5000).floor[0]
    check_density(x, replace(density, error=0.9 * floor))  # a warning would be an error
    with pytest.warns(RuntimeWarning, match="a rejection may be the grid's fault"):
        check_density(x, replace(density, error=1.1 * floor))


# --------------------------------------------------------------------------------- what is outside


def test_what_the_box_cuts_off_is_a_bin_of_its_own() -> None:
    """Its particles are expected: neither too few nor too many may be there."""
    law, density = LAWS["a box that cuts it"]
    x = law.sample(20_000, seed=0)
    out = density.grid.cell(x) < 0
    assert check_density(x, density).passed(0.01)
    assert not check_density(x[~out], density).passed(1e-6)
    assert not check_density(torch.cat([x, x[out][:600]]), density).passed(1e-6)


def test_a_particle_where_the_law_has_none_is_evidence() -> None:
    flat = Density(Grid(-1.0, 1.0, (32, 32)), torch.full((32, 32), 1 / 1024, dtype=F64))
    half = flat.mass.clone()
    half[:16] = 0.0
    hole = Density(flat.grid, half).normalised()
    for density, stray in ((flat, [[1.1, 0.0]]), (hole, [[-0.5, 0.3]])):
        x = density.sample(100_000, seed=0)
        assert check_density(x, density).passed(0.01)
        x[0] = f64(stray)
        found = check_density(x, density)
        assert found.tests[2].p_value < 1e-6
        assert not found.passed()


def test_one_stray_by_hand() -> None:
    """Outside lies 1e-6 of the law; the levels that are looked at are five."""
    flat = torch.full((32, 32), (1 - 1e-6) / 1024, dtype=F64)
    density = Density(Grid(-1.0, 1.0, (32, 32)), flat)
    x = density.sample(10_000, seed=0)
    x[0] = 2.0
    assert check_density(x, density).tests[2].p_value == pytest.approx(5 * (1 - math.exp(-0.01)))


def test_many_outside_where_few_are_expected() -> None:
    """Thirty in a million's tail of 1e-6: no bin shows them, the strays do."""
    law, density = LAWS["tilted"]
    x = law.sample(100_000, seed=0)
    x[:30] = 50.0
    found = check_density(x, density)
    assert found.tests[2].p_value < 1e-20
    assert not found.passed(1e-10)


# ------------------------------------------------------------------------------------------- power


def one_dimension(n: int) -> dict[float, sf.diagnostics.PathVerdict]:
    """Particles with their score times a factor, against the evolve of the right law."""
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
def test_a_score_off_by_five_percent_is_caught_on_the_way(n: int) -> None:
    """And the right one passes at all four times; at the first the two are the same."""
    found = one_dimension(n)
    assert found[1.0].passed(1e-3)
    assert found[1.05].p_value < 1e-6
    assert [v.passed() for v in found[1.05].verdicts] == [True, False, False, False]


def broken(name: str, cells: int = 128, steps: int = 200) -> Density:
    """The law, at t_min, of a reverse sampler with one defect: no sampling noise in it."""
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


def test_a_score_off_by_five_percent_is_caught_on_the_ring() -> None:
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
def test_power_is_the_studys_best_in_every_row(name: str, n: int, best: float) -> None:
    """At 5 %, over as many runs as the study had; lower only as a binomial may be."""
    runs = 60 if n == 10_000 else 10
    p = p_values(broken(name), Judge(TRUTH, n), runs)
    power = [rejected(column) for column in p.T]
    joint = np.mean([min(holm(row)) < 0.05 for row in p])
    print(f"{name}, n = {n}: chi-square {power[0]:.2f}, characteristic {power[1]:.2f}, "
          f"after Holm {joint:.2f}; the study's best {best}")  # fmt: skip
    assert max(power) >= stats.binom.ppf(0.01, runs, best) / runs


# ------------------------------------------------------------------------------ paths, histories


def test_a_path_is_judged_at_every_saved_time() -> None:
    path, law = walk(20_000)
    few = Path(path.t[::8], path.x[::8], 0, 0.0)
    densities = sf.evolve(law, line(pair()), few.t, steps=100)
    verdict = check_path(few, densities)
    assert len(verdict.verdicts) == 6
    assert verdict.passed(0.01)
    every = [t.p_value for v in verdict.verdicts for t in v.tests]
    assert verdict.p_value == min(holm(every))
    with_motion = check_path(path, sf.evolve(law, line(pair()), path.t, steps=100), sde=law)
    assert with_motion.tests[-1] == dynkin_test(path, law)
    assert len(with_motion.tests) == 41 * 3 + 1
    assert str(verdict).count("\n") == 7
    wrong = Path(few.t, torch.cat([few.x[:3], few.x[3:] + 0.05]), 0, 0.0)
    found = check_path(wrong, densities)
    assert [v.p_value < 1e-4 for v in found.verdicts] == [False] * 3 + [True] * 3
    assert not found.passed()


def test_a_verdict_reads_as_a_table() -> None:
    law, density = LAWS["ring"]
    verdict = check_density(law.sample(10_000, seed=0), density)
    words = str(verdict)
    numbers = [verdict.distance, verdict.floor[0], verdict.floor[1]]
    said = [f"{test.p_value:.2g}" for test in verdict.tests] + [f"{v:.4f}" for v in numbers]
    assert all(word in words for word in said)


# ------------------------------------------------------------------------------------------- doors

SMALL = LAWS["a line"][1]
CLOUD = pair().sample(500, seed=0)
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
        (
            lambda: check_density(CLOUD, line(sf.GaussianMixture.isotropic(f64([[5.0]]), 0.1), 4, 9.0)),
            ValueError, "lies in one bin",
        ),
        (lambda: Judge(SMALL, 400)(CLOUD), ValueError, "made for 400 particles, got 500"),
        (lambda: check_path(PATH, LATE), ValueError, "saved at t = 1, .* nearest is at 0.7"),
        (lambda: check_path(CLOUD, LATE), TypeError, "a Path and a History"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_a_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
