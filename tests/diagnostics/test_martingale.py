"""Dynkin's formula on trial: uniform p-values on a path's own law, tiny ones on any other."""

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


def test_dynkin_is_calibrated() -> None:
    p = []
    for k in range(100):
        path, law = walk(500, seed=k)
        p.append(dynkin_test(path, law, seed=k).p_value)
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert rejected(np.array(p)) <= stats.binom.ppf(0.999, 100, 0.05) / 100


def test_dynkin_integrates_to_second_order() -> None:
    """Twelve Heun steps are enough for ten thousand; a sum of left ends would be off by dt / 2."""
    path, law = walk(10_000, seed=5, steps=12)
    assert dynkin_test(path, law).p_value > 1e-3
    late = replace(path, x=torch.cat([path.x[:1], path.x[:-2], path.x[-1:]]))
    assert dynkin_test(late, law).p_value < 1e-4


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("noise", lambda law: replace(law, diffusion=lambda x, t: f64(1.15))),
        ("no noise", lambda law: replace(law, diffusion=lambda x, t: f64(1e-3))),
        ("drift", lambda law: replace(law, drift=lambda x, t: -1.1 * x)),
        ("sign", lambda law: replace(law, drift=lambda x, t: x)),
    ],
)
def test_dynkin_sees_another_law(name: str, change: Callable[[sf.SDE], sf.SDE]) -> None:
    path, law = walk(10_000, seed=1)
    assert dynkin_test(path, law).p_value > 1e-3
    assert dynkin_test(path, change(law)).p_value < 1e-5


def test_dynkin_sees_a_law_that_runs_down() -> None:
    """The same motion told in falling time is the same motion; with its drift as it was, not."""
    path, law = walk(10_000, seed=2)
    down = Path(1 - path.t, path.x, 0, 0.0)
    turned = replace(law, drift=lambda x, t: x, t_start=1.0, t_end=0.0)
    told = dynkin_test(down, turned).statistic
    assert told == pytest.approx(dynkin_test(path, law).statistic, rel=1e-5)
    assert dynkin_test(down, replace(law, t_start=1.0, t_end=0.0)).p_value < 1e-10


def test_dynkin_is_blind_to_a_wrong_start() -> None:
    path, law = walk(10_000, seed=3)
    assert dynkin_test(path, law).p_value > 1e-3
    moved = path.x[0] ** 2
    other = sf.SDESolver("heun", steps=40, seed=4).solve(law, moved, save=41)
    assert dynkin_test(other, law).p_value > 1e-3


def test_dynkin_sees_a_memory_of_the_start() -> None:
    """Driven around by where it began, an isotropic cloud stays as isotropic as it was: only
    the correlation with x_0 tells.
    """
    n, steps = 20_000, 40
    law = sf.SDE(lambda x, t: 0 * x, lambda x, t: f64(0.5), 0.0, 1.0)
    x = torch.randn(n, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    path = sf.SDESolver(steps=steps).solve(law, x, save=steps + 1)
    assert dynkin_test(path, law).p_value > 1e-3
    turn = path.t[:, None, None] * 0.03 * torch.stack([x[:, 1], -x[:, 0]], 1)
    assert dynkin_test(replace(path, x=path.x + turn), law).p_value < 1e-5


def test_dynkin_reads_stratonovich_noise() -> None:
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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_dynkin_on_the_ring() -> None:
    """Ten thousand particles, 200 Heun steps: calibrated, and 1 % of noise does not pass."""
    field, times, n = sf.ExactField(VP_TAU, ring()), tau_times(200), 10_000
    law, p = sf.reverse(field), {1.0: [], 0.99: []}
    for noise, runs in ((1.0, 20), (0.99, 12)):
        sde = scored(field, 1.0, 1.0, noise)
        for k in range(runs):
            x = noised(VP_TAU.t_max).sample(n, seed=1000 + k)
            path = sf.SDESolver("heun", times=times, seed=k).solve(sde, x, save=len(times))
            p[noise].append(dynkin_test(path, law, seed=k).p_value)
    print("Dynkin", {k: rejected(np.array(v)) for k, v in p.items()})
    assert stats.kstest(p[1.0], "uniform").pvalue > 0.01
    assert rejected(np.array(p[1.0])) <= 0.2
    assert rejected(np.array(p[0.99])) >= 0.75


# ------------------------------------------------------------------------------------------- doors

CLOUD = pair().sample(500, seed=0)
PATH = Path(f64([0.0, 1.0]), torch.stack([CLOUD, CLOUD]), 0, 0.0)
LONG = Path(torch.linspace(0, 1, 20, dtype=F64), CLOUD.expand(20, -1, -1), 0, 0.0)
QUIET = sf.SDE(lambda x, t: -x, lambda x, t: f64(1.0), 0.0, 1.0)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: dynkin_test(PATH, QUIET), ValueError, "every step"),
        (lambda: dynkin_test(CLOUD, QUIET), TypeError, "must be a Path"),
        (lambda: dynkin_test(LONG, replace(QUIET, diffusion=None)), ValueError, "no noise"),
        (lambda: dynkin_test(replace(LONG, t=1 - LONG.t), QUIET), ValueError, "opposite directions"),
        (lambda: dynkin_test(replace(LONG, t=2 * LONG.t), QUIET), ValueError, "outside"),
        (lambda: dynkin_test(replace(LONG, x=LONG.x[:, :50]), QUIET), ValueError, "100 particles"),
    ],
)  # fmt: skip
def test_mistakes_are_refused_in_a_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
