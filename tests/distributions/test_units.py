"""Data with columns of unlike size, correlated columns or outliers, in units of their own."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow._validation import SdeflowError
from sdeflow.distributions import PointSet
from sdeflow.distributions import datasets as ds
from sdeflow.distributions.units import Units, of_points
from sdeflow.experiment import demo, run
from sdeflow.experiment.config import Config
from sdeflow.experiment.problem import problem
from tests.problems import close, lopsided, randn

DOUBLE = torch.float64
STD, CORRELATION = torch.tensor([1.13, 800.0], dtype=DOUBLE), -0.83
COVARIANCE = torch.outer(STD, STD) * torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]])
CENTRE = torch.tensor([300.0, 1e5], dtype=DOUBLE)


def weather(n: int = 1000) -> Tensor:
    """Temperatures (K) beside pressures (Pa), with exactly these moments."""
    z = randn(n, 2, seed=4)
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(torch.linalg.cholesky(z.T @ z / n)).T
    return CENTRE + z @ torch.linalg.cholesky(COVARIANCE).T


def sampled(data: ds.Dataset, n: int = 500) -> Tensor:
    """Particles of the reverse SDE of VE under the exact field, in the data's own units."""
    field = sf.ExactField(sf.VE(), data.standardised().distribution)
    noise = field.process.prior(n, 2, 0).double()
    return data.restore(sf.SDESolver("heun", 40).solve(sf.reverse(field), noise, 1).x[-1])


# ------------------------------------------------------------------------- unlike columns: samples


@pytest.mark.parametrize("kind", ["points", "mixture"])
def test_samples_have_the_moments_of_unlike_correlated_columns(kind: str) -> None:
    """Divided by one number, 566, both columns would get 5.7 K of VE's last noise."""
    mixture = sf.GaussianMixture(torch.ones(1).double(), CENTRE[None], COVARIANCE[None])
    data = ds.from_points(weather()) if kind == "points" else ds.Dataset("weather", mixture)
    x = sampled(data)
    assert ((x.std(0) / STD - 1).abs() < 4 / 1000**0.5).all()
    found = float(torch.corrcoef(x.T)[0, 1])
    assert abs(found - CORRELATION) < 4 * (1 - CORRELATION**2) / 500**0.5
    words = "columns scaled by 1.13 and 800, whitened, correlation -0.83"
    assert str(data.units) == words
    assert words in repr(data)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_units_follow_the_unit_of_length(size: float) -> None:
    data = ds.from_points(size * weather())
    z = data.standardised().distribution.points
    assert close(z.T @ z / len(z), torch.eye(2), 1e-9)
    assert close(z, ds.from_points(weather()).standardised().distribution.points, 1e-9)
    assert close(data.restore(z) / size, weather(), 1e-9)
    assert close(data.units.standardise(data.distribution.points), z, 1e-9)


@pytest.mark.parametrize("count", [1, 40])
def test_outliers_do_not_set_the_scale(count: int) -> None:
    clean = randn(800, 2, seed=9)
    spoilt = clean.clone()
    spoilt[-count:] = 1e5
    data = ds.from_points(spoilt)
    quartiles = torch.tensor([0.25, 0.75], dtype=DOUBLE)
    low, high = torch.quantile(sampled(data), quartiles, dim=0)
    want = torch.quantile(clean, quartiles, dim=0).diff(dim=0)[0]
    assert ((high - low) / want - 1).abs().max() < 0.25  # of 55 and more with the outliers' scale
    assert f"outliers left out of the scale: {count} of 800 points" in str(data.units)


def test_many_far_points_are_a_part_of_the_data() -> None:
    x = randn(1000, 2, seed=9)
    x[:100] += 100
    assert str(of_points(x)).endswith("whitened, correlation 1")
    x[:100, 1] -= 200
    assert "outliers" not in str(of_points(x))


# -------------------------------------------------------------------------------------- the choice


def test_named_sets_keep_one_number_and_their_bits() -> None:
    """Shape is what they are for: a ring of two modes is not made a cross."""
    for data in (*(make() for make in ds.NAMES.values()), ds.ring(2), ds.ring(2, 2.0, 1e-3)):
        assert data.units.scale == data.std
        assert torch.equal(data.units.centre, data.mean)
        z = data.standardised()
        assert z.std == pytest.approx(1.0, rel=1e-12)
        assert torch.equal(
            data.restore(z.sample(9, 0)), z.sample(9, 0) * data.std + data.mean.float()
        )


@pytest.mark.parametrize("ratio", [1.0, 2.4, 2.6, 1e6])
def test_own_points_are_whitened_beyond_a_ratio_of_two_and_a_half(ratio: float) -> None:
    x = weather() - CENTRE
    x = x @ torch.linalg.inv(torch.linalg.cholesky(COVARIANCE)).T
    x[:, 1] *= ratio
    data = ds.from_points(x)
    assert isinstance(data.units.scale, float) is (ratio < 2.5)
    if ratio < 2.5:
        assert data.units.scale == pytest.approx(data.std)
    # A width or a curve says that both columns have one unit.
    assert isinstance(ds.from_points(x, width=0.1).units.scale, float)


def test_constant_and_proportional_columns_are_told() -> None:
    x = weather()
    x[:, 0] = 300.0
    data = ds.from_points(x)
    assert str(data.units) == "all columns scaled by 566; column 1 is constant"
    assert torch.isfinite(data.standardised().sample(9, 0)).all()
    x[:, 0] = 2e-3 * x[:, 1] + 7
    data = ds.from_points(x)
    assert str(data.units).endswith("correlation 1; columns are proportional")
    z = data.standardised().distribution.points
    assert float(z.square().sum(1).mean()) == pytest.approx(1.0)
    assert close(data.restore(z), x, 1e-9)


def test_a_discrete_column_has_its_own_scale() -> None:
    x = weather()
    x[:, 0] = (torch.arange(len(x)) % 20 == 0).double()  # 95 % of them are 0
    data = ds.from_points(x)
    z = data.standardised().distribution.points
    assert close(z.T @ z / len(z), torch.eye(2), 1e-9)


def test_units_of_three_columns() -> None:
    z = randn(4000, 3, seed=2)
    x = z * torch.tensor([1e-3, 1.0, 1e3]) + torch.tensor([0.0, 5.0, 0.0])
    x[:, 2] += 1e6 * x[:, 0]
    units = of_points(x)
    assert str(units).endswith("whitened, largest correlation 0.72")
    w = units.standardise(x)
    assert close(w.T @ w / len(w), torch.eye(3), 1e-8)
    x[:, 1] = 5.0
    assert "column 2 is constant" in str(of_points(x))
    assert close(of_points(x).restore(of_points(x).standardise(x)), x, 1e-9)


# ---------------------------------------------------------------------------------- moved by a map

MATRIX = torch.tensor([[2.0, 0.5], [-1.0, 3.0]], dtype=DOUBLE)
SHIFT = torch.tensor([1.0, -2.0], dtype=DOUBLE)


@pytest.mark.parametrize(
    "law",
    [
        lopsided(),
        PointSet(randn(30, 2), width=0.3),
        lopsided(torch.float32),
    ],
    ids=["mixture", "points with width", "float32"],
)
def test_moved_density_is_that_of_the_map(law: sf.distributions.Distribution) -> None:
    """p(z) |dz| = p(x) |dx| for x = shift + scale z."""
    z = randn(50, 2, seed=3)
    x = SHIFT + z @ MATRIX.T
    volume = math.log(abs(float(torch.linalg.det(MATRIX))))
    found = law.moved(SHIFT, MATRIX).log_prob(z)
    tolerance = 1e-10 if law.mean().dtype == DOUBLE else 1e-3
    assert close(found, law.log_prob(x) + volume, tolerance)
    both = law.moved(SHIFT, 1.5).moved(torch.zeros(2), 2.0), law.moved(SHIFT, 3 * torch.eye(2))
    assert close(both[0].log_prob(z), both[1].log_prob(z), tolerance)


def test_lists_are_read_in_double_precision() -> None:
    law = lopsided()
    same = law.moved([0.1, 1 / 3], [[1.1, 0.0], [0.0, 0.7]])
    shift, scale = ([0.1, 1 / 3], [[1.1, 0.0], [0.0, 0.7]])
    there = law.moved(torch.tensor(shift, dtype=DOUBLE), torch.tensor(scale, dtype=DOUBLE))
    assert torch.equal(same.means, there.means)


def rectangles(side: float | tuple[float, float]) -> sf.distributions.PiecewiseConstant:
    weights = torch.tensor([[1.0, 0, 3], [0, 2, 2]])
    return sf.distributions.PiecewiseConstant(torch.tensor([0.5, -1.0]), side, weights)


def test_piecewise_densities_keep_their_axes() -> None:
    """Rectangles of 1 K by 700 Pa are squares of other units, at every noise level."""
    unit = torch.tensor([1.0, 700.0], dtype=DOUBLE)
    squares = rectangles(0.25)
    back = rectangles((0.25, 175.0)).moved(torch.tensor([0.0, 699.0]), torch.diag(unit))
    assert back.side == 0.25
    moved = squares.moved(torch.zeros(2), torch.diag(1 / unit))
    assert close(moved.mean(), squares.mean() * unit, 1e-12)
    assert moved.std() == pytest.approx(float((squares.variances() * unit**2).mean().sqrt()))
    z = squares.sample(400, 1)
    assert close(moved.sample(400, 1), z * unit, 1e-12)
    assert torch.equal(moved.cell(z * unit), squares.cell(z))
    assert close(moved.log_prob(z * unit), squares.log_prob(z) - math.log(700), 1e-12)
    ends = [-2.0, -3.0], [3.0, 2.0]
    there = (
        [float(a) for a in torch.tensor(ends[0]) * unit],
        [float(b) for b in torch.tensor(ends[1]) * unit],
    )
    assert close(
        moved.on_grid(sf.Grid(*there, (20, 20))).mass,
        squares.on_grid(sf.Grid(*ends, (20, 20))).mass,
        1e-12,
    )
    data = ds.Dataset("map", moved)
    assert isinstance(data.units.scale, Tensor)
    assert "whitened" not in str(data.units)
    standard = data.standardised().distribution
    # Both coordinates have variance 1 there, and the posterior is the one of Bayes' rule.
    assert close(standard.variances(), torch.ones(2), 1e-12)
    y = randn(9, 2, seed=8)
    known = standard.posterior(y, *torch.tensor([0.8, 0.5], dtype=DOUBLE))
    weights = torch.exp(-((y[:, None] - 0.8 * standard.sample(50_000, 5)) ** 2).sum(-1) / 0.5)
    mean = (weights[..., None] * standard.sample(50_000, 5)).sum(1) / weights.sum(1, True)
    assert close(known.data, mean, 0.02)
    assert close(standard.noise_mean(0.8, 0.5, y)(y), known.noise, 1e-9)
    for wrong in (MATRIX, torch.diag(torch.tensor([1.0, -1.0]))):
        with pytest.raises(ValueError, match="takes a diagonal matrix"):
            squares.moved(SHIFT, wrong)
    with pytest.raises(ValueError, match="side must be one number or two"):
        rectangles((1.0, 2.0, 3.0))


def test_moved_points_carry_their_labels() -> None:
    points, labels = randn(30, 2), torch.arange(30) % 3
    moved = PointSet(points, labels).moved(SHIFT, MATRIX)
    assert close(moved.points @ MATRIX.T + SHIFT, points, 1e-12)
    assert torch.equal(moved.labels, labels)
    with pytest.raises(ValueError, match="takes a scale of one number"):
        PointSet(points, labels, 0.1).moved(SHIFT, MATRIX)


@pytest.mark.parametrize("name", sorted(ds.NAMES))
def test_scales_that_cannot_be_are_refused(name: str) -> None:
    law = ds.named(name).distribution
    for scale, word in (
        (0.0, "scale must be positive"),
        (-1.0, "scale must be positive"),
        (math.nan, "scale must be positive"),
        (torch.ones(2, 2), "a matrix with an inverse"),
        (torch.eye(3), r"scale must hold finite numbers of shape \(2, 2\)"),
    ):
        with pytest.raises(ValueError, match=word):
            law.moved(SHIFT, scale)
    with pytest.raises(ValueError, match=r"shift must hold finite numbers of shape \(2,\)"):
        law.moved(torch.zeros(3), 1.0)
    if name in ("two_moons", "pinwheel"):
        with pytest.raises(ValueError, match="takes a scale of one number"):
            law.moved(SHIFT, MATRIX)


# ------------------------------------------------------------------------------- digits, and a run


def test_float32_is_refused_where_it_cannot_tell_the_points_apart() -> None:
    """Seconds since 1970: float32 has steps of 128 s there."""
    x = randn(500, 2, seed=5) * 100
    x[:, 0] += 1.7e9
    data = ds.from_points(x)
    with pytest.raises(ValueError, match=r"float32 has too few digits .* dtype=torch\.float64"):
        data.sample(10, 0)
    assert torch.isin(data.sample(10, 0, DOUBLE)[:, 0], x[:, 0]).all()
    z = data.standardised().sample(400, 0)
    assert z.dtype == torch.float32
    back = data.restore(z)
    assert back.dtype == DOUBLE
    assert len(back[:, 0].unique()) > 250
    assert float((back[:, :1] - x[:, 0]).abs().amin(1).max()) < 1e-3


def test_a_run_keeps_its_units(tmp_path: Path) -> None:
    """And a run of an older version, which kept none, the one number that it was trained with."""
    np.savetxt(tmp_path / "weather.csv", weather(200).numpy(), delimiter=",")
    config = Config(str(tmp_path / "weather.csv"), steps=10, batch=8, width=8, depth=1)
    built = run.fit(config, tmp_path / "r")
    kept = json.loads((tmp_path / "r" / "config.json").read_text())
    del kept["sha256"]
    assert np.allclose(kept["units"]["centre"], CENTRE)
    assert close(run.reopen(tmp_path / "r").units.scale, built.units.scale, 1e-15)
    report = demo.measure(built, 20)
    assert report["units"] == "columns scaled by 1.13 and 800, whitened, correlation -0.83"
    other = Units(CENTRE, 3.0)
    for units, scale in ((other.plain(), 3.0), (None, built.data.std)):
        about = {**kept, "units": units}
        (tmp_path / "r" / "config.json").write_text(
            json.dumps({k: v for k, v in about.items() if v is not None})
        )
        again = run.reopen(tmp_path / "r")
        assert again.units.scale == scale
        assert close(again.standard.distribution.points, (weather(200) - CENTRE) / scale, 1e-9)
        for file in (tmp_path / "r").glob("checkpoint*"):  # of other units
            file.unlink()
        assert run.fit(config, tmp_path / "r").units.scale == scale
    for broken in ({"centre": [0.0]}, {**other.plain(), "scale": [[1.0]]}, "none", [1]):
        (tmp_path / "r" / "config.json").write_text(json.dumps({**kept, "units": broken}))
        with pytest.raises(SdeflowError, match=r"config\.json is damaged"):
            run.reopen(tmp_path / "r")


def test_a_problem_answers_in_the_units_that_it_is_given() -> None:
    config = Config("ring", width=8, depth=1)
    assert problem(config).units.scale == ds.ring().std
    given = problem(config, Units(torch.zeros(2, dtype=DOUBLE), 2.0))
    assert given.standard.std == pytest.approx(ds.ring().std / 2)
    assert replace(ds.ring(), isotropic=False).units.scale == pytest.approx(ds.ring().std)
