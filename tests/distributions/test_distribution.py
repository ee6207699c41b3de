"""What every distribution promises: whole numbers, copies, arguments of its own, noise."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

import sdeflow as sf
from tests.problems import close, lopsided, randn

LAWS: dict[str, sf.distributions.Distribution] = {
    "mixture": lopsided(),
    "points": sf.distributions.PointSet(randn(40, 2), torch.arange(40) % 3, 0.2),
    **{name: make().distribution for name, make in sf.datasets.NAMES.items()},
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_draws_are_asked_for_by_whole_numbers(law: sf.distributions.Distribution) -> None:
    assert torch.equal(law.sample(np.int64(5), np.uint64(2**64 - 1)), law.sample(5, 2**64 - 1))
    for n, seed, error, word in (
        (0, 0, ValueError, "n must be at least 1"),
        (-3, 0, ValueError, "n must be at least 1"),
        (2.5, 0, TypeError, "n must be a whole number"),
        (5, -1, ValueError, "seed must be at least 0"),
        (5, 2**64, ValueError, r"seed must be below 2\^64"),  # it would be seed 0 again
        (5, None, TypeError, "seed must be a whole number"),
    ):
        with pytest.raises(error, match=word):
            law.sample(n, seed)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_copies_give_the_same_answers(law: sf.distributions.Distribution) -> None:
    """Copied, pickled, moved there and back; also after the original has answered."""
    x, z = law.sample(50, 3).double(), randn(20, 2)
    moved = law.moved(torch.ones(2), 2.0)
    for one in (law, moved):
        one.noise_mean(0.5, 0.5, z)(z) if one.has_posterior else None
        for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert torch.equal(other.sample(50, 3), one.sample(50, 3))
            assert torch.equal(other.mean(), one.mean())
            if one.has_posterior:
                asked = z, torch.tensor(0.7), torch.tensor(0.5)
                assert torch.equal(other.posterior(*asked).noise, one.posterior(*asked).noise)
    assert close(moved.moved(torch.full((2,), -0.5), 0.5).sample(50, 3).double(), x, 1e-6)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_answers_follow_the_unit_of_length(
    law: sf.distributions.Distribution, unit: float
) -> None:
    z, moved = randn(30, 2), law.moved(torch.zeros(2), 1 / unit)
    assert close(moved.sample(20, 0) / unit, law.sample(20, 0), 1e-12)
    assert close(moved.mean() / unit, law.mean(), 1e-12, 1e-12)
    assert moved.std() / unit == pytest.approx(law.std(), rel=1e-12)
    standard = [sf.distributions.Dataset("d", one).standardised() for one in (moved, law)]
    assert close(*(one.distribution.sample(20, 0) for one in standard), 1e-9)
    if not law.has_posterior:
        return
    known, there = law.posterior(z, 0.8, 0.3), moved.posterior(z * unit, 0.8, 0.3 * unit)
    assert close(there.data / unit, known.data, 1e-9)
    assert close(there.noise, known.noise, 1e-9)
    assert close(there.data_variance / unit**2, known.data_variance, 1e-9)
    ask = law.noise_mean(0.8, 0.3, z)(z), moved.noise_mean(0.8, 0.3 * unit, z)(z * unit)
    assert close(*ask, 1e-9)
    height = moved.log_prob(z * unit, 0.8, 0.3 * unit) + 2 * math.log(unit)
    assert close(height, law.log_prob(z, 0.8, 0.3), 1e-9)


@pytest.mark.parametrize("name", sf.datasets.NAMES)
def test_data_sets_can_be_pickled(name: str) -> None:
    for data in (sf.datasets.named(name), sf.datasets.named(name).standardised()):
        for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
            x = data.sample(20, 1)
            assert torch.equal(other.sample(20, 1), x)
            assert torch.equal(other.restore(x), data.restore(x))
            if data.curve:
                assert torch.equal(other.distance(x), data.distance(x))


@pytest.mark.parametrize("name", ["mixture", "points"])
def test_draws_of_another_type_are_the_same_rounded(name: str) -> None:
    law = LAWS[name]
    single = (
        law.to(torch.float32)
        if isinstance(law, sf.GaussianMixture)
        else sf.distributions.PointSet(law.points.float(), law.labels, law.width)
    )
    x, y = law.sample(500, 2), single.sample(500, 2)
    assert y.dtype == torch.float32
    assert close(y.double(), x, 1e-6)


def test_a_prior_density_is_asked_inside_the_span() -> None:
    grid = sf.Grid(-5.0, 5.0, (16, 16))
    for t in (1.5, -0.1):
        with pytest.raises(ValueError, match="where this VP process is defined"):
            sf.distributions.prior_density(grid, sf.VP(), t)
    with pytest.raises(TypeError, match="grid must be a Grid"):
        sf.distributions.prior_density(5, sf.VP())


def test_edits_of_the_arguments_do_not_reach_a_distribution() -> None:
    means, points, low = randn(3, 2), randn(9, 2), torch.zeros(2)
    laws = (
        sf.GaussianMixture.isotropic(means, 0.1),
        sf.distributions.PointSet(points),
        sf.distributions.PiecewiseConstant(low, 1.0, torch.eye(2)),
    )
    before = [law.sample(20, 0) for law in laws]
    for given in (means, points, low):
        given += 5.0
    assert all(torch.equal(law.sample(20, 0), x) for law, x in zip(laws, before, strict=True))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"alpha": -1.0}, "alpha must be positive"),
        ({"alpha": math.nan}, "alpha must be finite"),
        ({"sigma": -0.1}, "sigma must be zero or more"),
        ({"sigma": torch.ones(3)}, r"sigma must be one number or \(5,\), one per particle"),
        ({"sigma": torch.ones(5, 1)}, r"sigma must be one number or \(5,\)"),
    ],
)
@pytest.mark.parametrize("name", ["mixture", "points", "spiral", "checkerboard"])
def test_noise_that_cannot_be_is_refused(name: str, change: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        LAWS[name].log_prob(randn(5, 2), **{"sigma": 0.3, **change})


@pytest.mark.parametrize("change", [{"alpha": 1e30}, {"alpha": 1e-30}, {"sigma": 1e30}])
@pytest.mark.parametrize("name", ["mixture", "points", "checkerboard"])
def test_noise_whose_square_float32_cannot_hold_is_refused(name: str, change: dict) -> None:
    x, noise = randn(5, 2), {"sigma": 0.3, **change}
    with pytest.raises(ValueError, match=f"square of {next(iter(change))} is no number"):
        LAWS[name].log_prob(x.float(), **noise)
    assert not LAWS[name].log_prob(x, **noise).isnan().any()
    LAWS[name].log_prob(x.half(), 0.5, 300.0)  # computed in float32, like the square


@pytest.mark.parametrize("made", [sf.distributions.PointSet(randn(3, 2)), LAWS["checkerboard"]])
def test_posterior_without_noise_needs_a_smooth_density(made) -> None:
    """It was NaN, 0 / 0."""
    for sigma in (0.0, torch.zeros(()), torch.tensor([0.0, 0.1, 0.1, 0.1, 0.1])):
        with pytest.raises(ValueError, match="sigma must be positive, because the density"):
            made.posterior(randn(5, 2), 0.5, sigma)
    assert LAWS["points"].posterior(randn(5, 2), 0.5, 0.0).data.isfinite().all()


def test_width_that_the_type_of_the_points_cannot_hold_is_refused() -> None:
    points = torch.zeros(3, 2, dtype=torch.float16)
    assert sf.distributions.PointSet(points, None, 600.0).sample(9, 0).isfinite().all()
    with pytest.raises(ValueError, match=r"width 1e\+12 are no numbers in torch\.float16"):
        sf.distributions.PointSet(points, None, 1e12)
