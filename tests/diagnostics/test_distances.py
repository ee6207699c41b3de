"""Distances of clouds against other libraries, closed forms and the symmetries of space."""

import math
import tracemalloc
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.diagnostics import column_scale, distances
from sdeflow.diagnostics.distances import (
    Distance,
    energy_distance,
    sampling_floor,
    sliced_wasserstein,
)
from tests.problems import f64, lopsided, randn

DISTANCES = (sf.wasserstein, sliced_wasserstein, energy_distance)


def gaussian(covariance: Tensor, n: int, seed: int) -> Tensor:
    return randn(n, 2, seed=seed) @ torch.linalg.cholesky(covariance).T


# ---------------------------------------------------------------------------------------- W2


@pytest.mark.parametrize("n", [1, 2, 7, 60])
def test_w2_equals_that_of_pot(n: int) -> None:
    ot = pytest.importorskip("ot")
    x, y = randn(n, 3, seed=1), 0.5 * randn(n, 3, seed=2) + 1
    even = np.full(n, 1 / n)
    cost = ot.emd2(even, even, ot.dist(x.numpy(), y.numpy()))
    assert sf.wasserstein(x, y) == pytest.approx(math.sqrt(cost), rel=1e-9)


def test_w2_of_a_shifted_cloud_is_the_shift() -> None:
    """The identity is the best coupling of a translation, whatever the cloud."""
    x = lopsided().sample(200, 0)
    shift = f64([0.3, -0.4])
    assert sf.wasserstein(x, x + shift) == pytest.approx(0.5)
    # And of a scaling about the mean: the root-mean-square of what each moves.
    y = 2 * x
    assert sf.wasserstein(x, y) == pytest.approx(math.sqrt(float((x**2).sum(1).mean())))


def test_w2_on_the_line_pairs_ranks() -> None:
    x, y = randn(50, 1, seed=1), randn(50, 1, seed=2).exp()
    ranked = (x.sort(0).values - y.sort(0).values).square().mean().sqrt()
    assert sf.wasserstein(x, y) == pytest.approx(float(ranked))
    assert sliced_wasserstein(x, y) == pytest.approx(float(ranked))  # the only direction


def test_w2_of_two_gaussians_is_the_bures_distance() -> None:
    """Bures: W2^2 = |m|^2 + |A^1/2 - B^1/2|^2 for covariances that commute."""
    turn = torch.linalg.qr(randn(2, 2, seed=3))[0]
    a, b = (turn @ torch.diag(f64(d)) @ turn.T for d in ([4.0, 0.25], [1.0, 1.0]))
    exact = math.sqrt((2 - 1) ** 2 + (0.5 - 1) ** 2 + 1.5**2)
    draws = [
        sf.wasserstein(gaussian(a, 400, s), gaussian(b, 400, s + 50) + f64([1.5, 0.0]))
        for s in range(12)
    ]
    # Sampling can only lengthen W2^2, by about floor^2 of either law; it scatters as n^(-1/2).
    floor = sampling_floor(lambda n, seed: gaussian(a, n, seed), 400)[0]
    spread = float(np.std(draws, ddof=1)) / math.sqrt(len(draws))
    assert exact - 4 * spread < np.mean(draws) < math.hypot(exact, floor) + 4 * spread


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_are_symmetric_and_keep_under_shift_scale_and_order(distance: Distance) -> None:
    x, y = lopsided().sample(80, 0), randn(80, 2)
    d = distance(x, y)
    assert d > 0.1
    assert distance(y, x) == pytest.approx(d)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    assert distance(x[order], y) == pytest.approx(d)
    assert distance(x, y[order]) == pytest.approx(d)
    # A length; the energy distance is the root of one.
    scale = math.sqrt(3) if distance is energy_distance else 3
    assert distance(3 * x, 3 * y) == pytest.approx(scale * d)
    assert distance(x + 7, y + 7) == pytest.approx(d)
    assert distance(x, x) == pytest.approx(0.0, abs=1e-12)
    assert distance(x.float(), y.float()) == pytest.approx(d, rel=1e-5)


# ------------------------------------------------------------------------------------ sliced


@pytest.mark.parametrize("d", [1, 2, 5])
def test_sliced_w2_of_a_shift_is_the_shift_over_root_d(d: int) -> None:
    """E (z . shift)^2 = |shift|^2 / d over the sphere; (z . e)^2 is Beta(1/2, (d - 1)/2)."""
    x, directions = randn(100, d), 4000
    shift = torch.zeros(d, dtype=torch.float64)
    shift[-1] = 2.0
    ratio = sliced_wasserstein(x, x + shift, directions) ** 2 / (4.0 / d)
    spread = math.sqrt((2 * d - 2) / (d + 2) / directions)  # sd over mean of that Beta
    assert abs(ratio - 1) <= 4.5 * spread + 1e-12


def test_sliced_w2_is_no_longer_than_w2() -> None:
    for seed in range(5):
        x, y = lopsided().sample(60, seed), 2 * randn(60, 2, seed=seed) - 1
        # Each projection is; over all directions the mean square is half of it at most.
        assert sliced_wasserstein(x, y) <= sf.wasserstein(x, y)
        assert sliced_wasserstein(x, y, 2000) <= sf.wasserstein(x, y) * math.sqrt(0.5) * 1.08


def test_sliced_w2_does_not_depend_on_repeated_particles() -> None:
    """The distribution is the same if every particle is repeated."""
    x, y = randn(40, 2), lopsided().sample(120, 0)
    d = sliced_wasserstein(x, y)
    assert sliced_wasserstein(x.repeat(3, 1), y) == pytest.approx(d)
    assert sliced_wasserstein(y, x) == pytest.approx(d)
    assert sliced_wasserstein(x, y, seed=1) != d
    assert sliced_wasserstein(x, y) == d


@pytest.mark.parametrize("sizes", [(5, 7), (20, 33), (33, 20), (1, 4), (12, 36)], ids=str)
def test_sliced_w2_on_the_line_equals_that_of_pot(sizes: tuple[int, int]) -> None:
    """One direction only; the quantile functions step at i / n and at j / m."""
    ot = pytest.importorskip("ot")
    x, y = randn(sizes[0], 1, seed=1), 0.5 * randn(sizes[1], 1, seed=2) + 1
    exact = math.sqrt(float(ot.wasserstein_1d(x.numpy(), y.numpy(), p=2)[0]))
    assert sliced_wasserstein(x, y) == pytest.approx(exact, rel=1e-9)


# ------------------------------------------------------------------------------------ energy


def test_energy_distance_on_the_line_equals_that_of_scipy() -> None:
    """scipy's counts each particle with itself: between large clouds that hardly matters."""
    x, y = randn(2000, 1, seed=1), randn(1500, 1, seed=2) + 0.7
    other = scipy.stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy())
    # The self-pairs take E|x - x'| / n off each term, E|x - x'| = 2 / sqrt(pi).
    own = 2 / math.sqrt(math.pi) * (1 / 2000 + 1 / 1500)
    assert energy_distance(x, y) ** 2 == pytest.approx(other**2 - own, abs=0.1 * own)


def test_squared_energy_distance_of_one_distribution_is_unbiased() -> None:
    """Unbiased: negative as often as not, where the biased one never is."""
    draws = [
        energy_distance(randn(20, 2, seed=2 * s), randn(20, 2, seed=2 * s + 1)) for s in range(200)
    ]
    zeros = sum(d == 0 for d in draws)
    # Its square goes as sum_k l_k (z_k^2 - 1): negative with a chance between that of one term,
    # P(z^2 < 1) = 0.68, and that of very many, 0.5.
    noise = 4.5 * math.sqrt(200 / 4)
    assert 0.5 * 200 - noise < zeros < 0.68 * 200 + noise


def test_energy_distance_of_two_gaussians_is_the_closed_form() -> None:
    """N(0, I) and a shift of 1: 2 E|z + m| - 2 E|z| with z ~ N(0, 2 I), of Rice and Rayleigh."""
    radial = scipy.stats.rice(1 / math.sqrt(2), scale=math.sqrt(2)).mean()
    exact = 2 * (radial - scipy.stats.rayleigh(scale=math.sqrt(2)).mean())
    shift = f64([1.0, 0.0])
    squares = [
        energy_distance(randn(300, 2, seed=2 * s), randn(300, 2, seed=2 * s + 1) + shift) ** 2
        for s in range(30)
    ]
    assert abs(np.mean(squares) - exact) < 4.5 * np.std(squares, ddof=1) / math.sqrt(30)
    assert np.mean(squares) > 10 * np.std(squares, ddof=1) / math.sqrt(30)


@pytest.mark.parametrize("d", [1, 2])
def test_energy_distance_of_large_clouds_is_that_of_all_pairs_in_little_memory(
    d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = randn(700, d, seed=1), randn(450, d, seed=2) + 0.4
    own = [torch.cdist(c, c).sum() / (len(c) * (len(c) - 1)) for c in (x, y)]
    exact = math.sqrt(2 * float(torch.cdist(x, y).mean()) - float(sum(own)))
    assert energy_distance(x, y) == pytest.approx(exact, rel=1e-9)
    monkeypatch.setattr(distances, "HELD", 1000)
    assert energy_distance(x, y) == pytest.approx(exact, rel=1e-9)
    assert sliced_wasserstein(x, y) == pytest.approx(whole := sliced_wasserstein(x, y), rel=1e-12)
    monkeypatch.undo()
    assert sliced_wasserstein(x, y) == pytest.approx(whole, rel=1e-12)
    tracemalloc.start()
    energy_distance(randn(3000, d, seed=1), randn(3000, d, seed=2))
    assert tracemalloc.get_traced_memory()[1] < 50e6  # 3,000^2 distances are 72 MB
    tracemalloc.stop()


# ------------------------------------------------------------------------------------- units


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e-9, 1e12, 1e300])
def test_distances_do_not_depend_on_the_unit(distance: Distance, unit: float) -> None:
    x, y = randn(60, 2, seed=1), randn(60, 2, seed=2) + 1
    power = 0.5 if distance is energy_distance else 1
    assert distance(x * unit, y * unit) == pytest.approx(distance(x, y) * unit**power, rel=1e-12)


def weather(n: int, seed: int, correlation: float = -0.83) -> Tensor:
    """Temperatures 300 +- 1 K beside pressures 1e5 +- 800 Pa."""
    z = gaussian(f64([[1.0, correlation], [correlation, 1.0]]), n, seed)
    return f64([300.0, 1e5]) + f64([1.0, 800.0]) * z


@pytest.mark.parametrize("distance", DISTANCES)
def test_distances_of_unlike_columns_warn_and_see_both_with_a_scale(distance) -> None:
    """A wrong correlation, and a width of 5.9 K for 1 K, are far above the floor."""
    data = weather(300, 0)
    wrong = weather(300, 1, correlation=-0.18)
    wrong[:, 0] = 300 + 5.9 * (wrong[:, 0] - 300)
    with pytest.warns(RuntimeWarning, match=r"column 1 alone decides the distance; give scale="):
        distance(data, wrong)
    scale = column_scale(data)
    mean, sd = sampling_floor(weather, 300, partial(distance, scale=scale))
    assert distance(data, wrong, scale=scale) > mean + 10 * sd
    plain = distance(data / scale, wrong / scale)
    assert distance(data, wrong, scale=scale.tolist()) == pytest.approx(plain)
    distance(data, wrong, scale=1)  # silent: their units are said to be the same


def test_scale_of_a_column_is_its_standard_deviation_whatever_the_outliers() -> None:
    x = weather(4000, 0)
    assert column_scale(x).tolist() == pytest.approx([1.0, 800.0], rel=0.05)
    one = x.clone()
    one[7] = 1e9
    assert column_scale(one).tolist() == pytest.approx(column_scale(x).tolist(), rel=2e-3)
    assert torch.equal(column_scale(x[torch.randperm(4000)]), column_scale(x))
    assert column_scale(x.float()).tolist() == pytest.approx(column_scale(x).tolist(), rel=1e-4)
    few = torch.zeros(100, 2, dtype=torch.float64)
    few[0, 0], few[:, 1] = 10.0, 0.1  # one that differs; and a constant column
    assert column_scale(few).tolist() == pytest.approx([float(few[:, 0].std(correction=0))] * 2)
    assert column_scale(0 * few).tolist() == [1.0, 1.0]


# ------------------------------------------------------------------------------------- floor


def test_sampling_floor_is_the_distance_of_two_samples() -> None:
    mixture = lopsided()
    mean, sd = sampling_floor(mixture.sample, 150, repeats=16, seed=0)
    fresh = [
        sf.wasserstein(mixture.sample(150, 1000 + s), mixture.sample(150, 5000 + s))
        for s in range(16)
    ]
    error = math.sqrt((sd**2 + float(np.var(fresh, ddof=1))) / 16)
    assert abs(mean - float(np.mean(fresh))) < 4.5 * error
    # chi^2 with 15 degrees each: a ratio of deviations beyond 3 has p < 1e-4.
    assert 1 / 3 < sd / float(np.std(fresh, ddof=1)) < 3
    # A cloud and a wrong one of the same size lie far above it.
    assert sf.wasserstein(mixture.sample(150, 1), 1.5 * mixture.sample(150, 2)) > mean + 4 * sd


def test_sampling_floor_scatters_by_its_standard_deviation() -> None:
    """The means of 60 floors vary by sd^2 / repeats, no more and no less: Fisher's ratio."""
    mixture, repeats, runs = lopsided(), 8, 60
    floors = [
        sampling_floor(mixture.sample, 40, repeats=repeats, seed=2 * repeats * k)
        for k in range(runs)
    ]
    means, sds = np.array(floors).T
    ratio = means.var(ddof=1) * repeats / np.mean(sds**2)
    chance = scipy.stats.f(runs - 1, runs * (repeats - 1))
    assert chance.ppf(1e-4) < ratio < chance.isf(1e-4)


@pytest.mark.parametrize("distance", DISTANCES)
def test_sampling_floor_falls_with_the_number_of_particles(distance: Distance) -> None:
    """Between n^(-1/2), the rate of projections, and n^(-1/4), the worst for W2 in a plane."""
    mixture = lopsided()
    n = (40, 640)
    floors = [sampling_floor(mixture.sample, k, distance, repeats=24, seed=1) for k in n]
    slope = math.log(floors[1][0] / floors[0][0]) / math.log(n[1] / n[0])
    error = math.hypot(*(sd / mean / math.sqrt(24) for mean, sd in floors)) / math.log(16)
    if distance is energy_distance:  # already unbiased: zero half the time, and n^(-1/2) else
        assert abs(slope + 0.5) < 4 * error
    else:
        assert -0.5 - 4 * error < slope < -0.25 + 4 * error


def test_sampling_floor_is_set_by_its_seed() -> None:
    mixture = lopsided()
    assert sampling_floor(mixture.sample, 30) == sampling_floor(mixture.sample, 30)
    assert sampling_floor(mixture.sample, 30) != sampling_floor(mixture.sample, 30, seed=16)


# ---------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("distance", DISTANCES)
def test_bad_pairs_of_clouds_are_refused(distance: Distance) -> None:
    x = randn(5, 2)
    for bad, error, complaint in (
        (x[:, 0], ValueError, r"must be a cloud of shape \(n, d\)"),
        (x[:0], ValueError, "is empty"),
        (randn(5, 3), ValueError, "y must have dimension 2, got 3"),
        (x * math.nan, ValueError, "NaN or infinite entries"),
        (x / 0, ValueError, "NaN or infinite entries"),
        (x.long(), TypeError, "floating-point tensor"),
        (x.numpy(), TypeError, "floating-point tensor"),
    ):
        with pytest.raises(error, match=complaint):
            distance(x, bad)


def test_bad_sizes_are_refused() -> None:
    x = randn(5, 2)
    with pytest.raises(ValueError, match="clouds of one size, got 5 and 4"):
        sf.wasserstein(x, x[:4])
    big = torch.zeros(5001, 2)
    with pytest.raises(ValueError, match="use sliced_wasserstein"):
        sf.wasserstein(big, big)
    for a, b in ((x[:1], x), (x, x[:1])):
        with pytest.raises(ValueError, match="two particles"):
            energy_distance(a, b)
    with pytest.raises(ValueError, match="directions must be at least 1"):
        sliced_wasserstein(x, x, 0)
    with pytest.raises(TypeError, match=r"give its method \.sample"):
        sampling_floor(lopsided(), 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="distance must be a function of two clouds"):
        sampling_floor(lopsided().sample, 5, "wasserstein")  # type: ignore[arg-type]
    for scale, error in (
        ("a", TypeError),
        (True, TypeError),
        (0.0, ValueError),
        ([1.0], ValueError),
    ):
        with pytest.raises(error, match="scale must be a positive number, or one for each"):
            sf.wasserstein(x, x, scale=scale)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="repeats must be at least 2"):
        sampling_floor(lopsided().sample, 5, repeats=1)
