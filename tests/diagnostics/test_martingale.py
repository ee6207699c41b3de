"""The Dynkin test: uniform p-values for a path's own SDE, tiny ones for any other."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import sdeflow as sf
from sdeflow.diagnostics import dynkin_test
from sdeflow.solvers import Path
from tests.problems import VP_TAU, f64, noised, pair, rejected, ring, scored, tau_times, walk

F64 = torch.float64


def test_p_values_of_the_own_sde_are_uniform() -> None:
    p = []
    for k in range(100):
        path, sde = walk(500, seed=k)
        p.append(dynkin_test(path, sde, seed=k).p_value)
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert rejected(np.array(p)) <= stats.binom.ppf(0.999, 100, 0.05) / 100


def test_dynkin_integral_is_of_second_order() -> None:
    """Twelve Heun steps suffice for ten thousand; a sum of left ends would be off by dt / 2."""
    path, sde = walk(10_000, seed=5, steps=12)
    assert dynkin_test(path, sde).p_value > 1e-3
    late = replace(path, x=torch.cat([path.x[:1], path.x[:-2], path.x[-1:]]))
    assert dynkin_test(late, sde).p_value < 1e-4


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("noise", lambda sde: replace(sde, diffusion=lambda x, t: f64(1.15))),
        ("no noise", lambda sde: replace(sde, diffusion=lambda x, t: f64(1e-3))),
        ("drift", lambda sde: replace(sde, drift=lambda x, t: -1.1 * x)),
        ("sign", lambda sde: replace(sde, drift=lambda x, t: x)),
    ],
)
def test_another_sde_is_rejected(name: str, change: Callable[[sf.SDE], sf.SDE]) -> None:
    path, sde = walk(10_000, seed=1)
    assert dynkin_test(path, sde).p_value > 1e-3
    assert dynkin_test(path, change(sde)).p_value < 1e-5


def test_statistic_does_not_depend_on_the_direction_of_time() -> None:
    """The same motion in falling time, with its drift turned; without, it is rejected."""
    path, sde = walk(10_000, seed=2)
    down = Path(1 - path.t, path.x, 0, 0.0)
    turned = sf.SDE(lambda x, t: x, sde.diffusion, 1.0, 0.0)
    statistic = dynkin_test(down, turned).statistic
    assert statistic == pytest.approx(dynkin_test(path, sde).statistic, rel=1e-5)
    assert dynkin_test(down, sf.SDE(sde.drift, sde.diffusion, 1.0, 0.0)).p_value < 1e-10


def test_a_wrong_start_is_not_detected() -> None:
    path, sde = walk(10_000, seed=3)
    assert dynkin_test(path, sde).p_value > 1e-3
    moved = path.x[0] ** 2
    other = sf.SDESolver("heun", steps=40, seed=4).solve(sde, moved, save=41)
    assert dynkin_test(other, sde).p_value > 1e-3


def test_correlation_with_the_start_is_rejected() -> None:
    """A rotation that depends on x_0 leaves an isotropic cloud isotropic: only the correlation
    with x_0 shows it.
    """
    n, steps = 20_000, 40
    sde = sf.SDE(lambda x, t: 0 * x, lambda x, t: f64(0.5), 0.0, 1.0)
    x = torch.randn(n, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    path = sf.SDESolver(steps=steps).solve(sde, x, save=steps + 1)
    assert dynkin_test(path, sde).p_value > 1e-3
    turn = path.t[:, None, None] * 0.03 * torch.stack([x[:, 1], -x[:, 0]], 1)
    assert dynkin_test(replace(path, x=path.x + turn), sde).p_value < 1e-5


def test_stratonovich_and_ito_forms_have_one_statistic() -> None:
    """dx = s x o dW is dx = (s^2 / 2) x dt + s x dW: the same, up or down in time."""
    steps, s, n = 40, 0.4, 4000
    for first, last in ((0.0, 1.0), (1.0, 0.0)):
        strat = sf.SDE(
            lambda x, t: 0 * x, lambda x, t: s * x, first, last, calculus="stratonovich"
        )
        sign = 1.0 if last > first else -1.0
        ito = sf.SDE(lambda x, t, c=sign: c * s**2 / 2 * x, strat.diffusion, first, last)
        x = 1 + 0.1 * torch.randn(n, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
        path = sf.SDESolver("heun", steps=steps).solve(strat, x, save=steps + 1)
        one, other = dynkin_test(path, strat), dynkin_test(path, ito)
        assert one.statistic == pytest.approx(other.statistic, rel=1e-9)
        assert one.p_value > 1e-3
        assert dynkin_test(path, replace(strat, calculus="ito")).p_value < 1e-10


STEEP = sf.sdes.langevin(sf.sdes.double_well(2.0), t_end=2.0)


def steep_path(save: int) -> Path:
    x = torch.randn(1000, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    return sf.SDESolver("heun", steps=200, seed=1).solve(STEEP, x, save=save)


def test_path_of_which_states_are_missing_is_refused_or_judged_rightly() -> None:
    """11 of 201 states of a correct run had p = 1e-8; where the sum is good, all may be judged."""
    assert dynkin_test(steep_path(201), STEEP).p_value > 0.1
    for save in (11, 51):
        path = steep_path(save)
        with pytest.raises(ValueError, match=r"needs every step.*solve with save="):
            dynkin_test(path, STEEP)
        with pytest.raises(ValueError, match="too far apart in time"):
            dynkin_test(Path(path.t, path.x, 0, 0.0), STEEP)
    path, sde = walk(1000, seed=5, steps=200)
    sparse = Path(path.t[::10], path.x[::10], 0, 0.0)
    assert dynkin_test(sparse, sde).p_value == pytest.approx(
        dynkin_test(path, sde).p_value, abs=0.1
    )


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("place", [0.0, 0.3])
def test_path_from_one_point_is_judged_in_any_unit(unit: float, place: float) -> None:
    sde = sf.SDE(lambda x, t: -x, lambda x, t: f64(unit), 0.0, 1.0)
    start = torch.full((500, 1), place * unit, dtype=F64)
    path = sf.SDESolver("heun", steps=100, seed=1).solve(sde, start, save=101)
    right, wrong = (dynkin_test(path, s) for s in (sde, replace(sde, drift=lambda x, t: x)))
    assert right.p_value > 1e-3
    assert wrong.p_value < 1e-6
    one = sf.SDE(lambda x, t: -x, lambda x, t: f64(1.0), 0.0, 1.0)
    plain = sf.SDESolver("heun", steps=100, seed=1).solve(one, start / unit, save=101)
    assert right.statistic == pytest.approx(dynkin_test(plain, one).statistic, rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_p_values_on_the_ring_are_uniform_and_one_percent_of_noise_is_rejected() -> None:
    """Ten thousand particles, 200 Heun steps."""
    field, times, n = sf.ExactField(VP_TAU, ring()), tau_times(200), 10_000
    sde, p = sf.reverse(field), {1.0: [], 0.99: []}
    for noise, runs in ((1.0, 20), (0.99, 12)):
        moved_by = scored(field, 1.0, 1.0, noise)
        for k in range(runs):
            x = noised(VP_TAU.t_max).sample(n, seed=1000 + k)
            path = sf.SDESolver("heun", times=times, seed=k).solve(moved_by, x, save=len(times))
            p[noise].append(dynkin_test(path, sde, seed=k).p_value)
    print("Dynkin", {k: rejected(np.array(v)) for k, v in p.items()})
    assert stats.kstest(p[1.0], "uniform").pvalue > 0.01
    assert rejected(np.array(p[1.0])) <= 0.2
    assert rejected(np.array(p[0.99])) >= 0.75


# ----------------------------------------------------------------------------------- bad arguments

CLOUD = pair().sample(500, seed=0)
PATH = Path(f64([0.0, 1.0]), torch.stack([CLOUD, CLOUD]), 0, 0.0)
STILL = Path(torch.linspace(0, 1, 20, dtype=F64), CLOUD.expand(20, -1, -1), 0, 0.0)
RELAXING = sf.SDE(lambda x, t: -x, lambda x, t: f64(1.0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: dynkin_test(PATH, RELAXING), ValueError, "every step"),
        (lambda: dynkin_test(CLOUD, RELAXING), TypeError, "must be a Path"),
        (lambda: dynkin_test(STILL, sf.VE()), TypeError, "sde must be an SDE"),
        (
            lambda: dynkin_test(
                replace(STILL, x=0 * STILL.x), replace(RELAXING, diffusion=lambda x, t: f64(0.0))
            ),
            ValueError, "does not move at random",
        ),
        (
            lambda: dynkin_test(STILL, replace(RELAXING, diffusion=lambda x, t: None)),
            TypeError, "the diffusion must return a tensor",
        ),
        (
            lambda: dynkin_test(STILL, replace(RELAXING, drift=lambda x, t: x[:1])),
            ValueError, "the drift returned",
        ),
        (lambda: dynkin_test(STILL, replace(RELAXING, diffusion=None)), ValueError, "no noise"),
        (lambda: dynkin_test(replace(STILL, t=1 - STILL.t), RELAXING), ValueError, "flip them"),
        (lambda: dynkin_test(replace(STILL, t=2 * STILL.t), RELAXING), ValueError, "outside"),
        (
            lambda: dynkin_test(replace(STILL, x=STILL.x[:, :50]), RELAXING),
            ValueError, "100 particles",
        ),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)


def test_float32_path_at_a_late_time_is_judged_at_its_times() -> None:
    """At t = 1e7 float32 holds whole numbers only: p was 0 for a right run."""
    sde = sf.SDE(
        lambda x, t: 3 * torch.cos(6.2831853 * t) * torch.ones_like(x),
        lambda x, t: 0.1,
        1e7,
        1e7 + 1,
    )
    path = sf.SDESolver("heun", 100, seed=0).solve(sde, torch.zeros(500, 1), save=101)
    assert dynkin_test(path, sde).p_value > 0.01


def test_states_of_a_path_are_not_written() -> None:
    path, sde = walk(200, seed=1)
    kept, p = path.x.clone(), dynkin_test(path, sde).p_value
    inside = replace(
        sde,
        drift=lambda x, t: x.add_(0 * x.copy_(sde.drift(x, t))),
        diffusion=lambda x, t: x.mul_(0) + sde.diffusion(x, t),
    )
    assert dynkin_test(path, inside).p_value == p
    assert torch.equal(path.x, kept)
