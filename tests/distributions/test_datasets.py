"""Data sets in the plane: their constants, their draws, and points of one's own.

Constants are the lectures' published numbers, geometry is scikit-learn's, distances are brute
force: none is the package's own formula again. Statistics have fixed seeds and bounds at five
standard errors or p = 1e-4.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import datasets as sk
from torch import Tensor

import sdeflow as sf
from sdeflow.distributions import datasets as ds
from tests.problems import close, randn

DOUBLE = torch.float64
SETS: dict[str, Callable[[], ds.Dataset]] = {
    **ds.NAMES,
    "wide spiral": lambda: ds.spiral(60, 1.5, width=0.1),
    "lopsided ring": lambda: ds.ring(3, weights=(0.6, 0.3, 0.1)),
    "table": lambda: ds.from_points(randn(40, 2, seed=3) + 2, torch.arange(40) % 4),
    "squares": lambda: ds.Dataset(
        "squares",
        ds.PiecewiseConstant(
            torch.tensor([0.5, -1.0], dtype=DOUBLE),
            0.25,
            torch.tensor([[1.0, 0, 3], [0, 2, 2]], dtype=DOUBLE),
        ),
    ),
}


@pytest.fixture(params=SETS.values(), ids=SETS.keys())
def data(request: pytest.FixtureRequest) -> ds.Dataset:
    """Every named set, and one of each kind that is not among them."""
    return request.param()


def polar(radius: np.ndarray, angle: np.ndarray) -> Tensor:
    z = radius * np.exp(1j * angle)
    return torch.from_numpy(np.stack([z.real, z.imag], 1))


# ------------------------------------------------------------------------ properties of every set


def test_the_first_k_draws_are_the_draw_of_size_k(data: ds.Dataset) -> None:
    for dtype in (torch.float32, DOUBLE):
        whole = data.sample(5000, 7, dtype)
        assert whole.shape == (5000, 2)
        assert whole.dtype == dtype
        for k in (1, 2, 17, 999, 4097):
            assert torch.equal(data.sample(k, 7, dtype), whole[:k])
    assert data.sample(3, 0).dtype == torch.float32
    assert not torch.isin(data.sample(50, 8), data.sample(50, 7)).all()
    if data.classes:
        x, label = data.sample_labelled(5000, 7)
        assert torch.equal(x, data.sample(5000, 7))
        assert torch.equal(data.sample_labelled(17, 7)[1], label[:17])
        assert label.dtype == torch.int64
        assert set(label.tolist()) == set(range(len(data.classes)))


def test_mean_and_std_are_those_of_the_draws(data: ds.Dataset) -> None:
    n = 100_000
    x = data.sample(n, 1, DOUBLE)
    assert data.mean.shape == (2,)
    assert data.mean.dtype == DOUBLE
    assert ((x.mean(0) - data.mean).abs() < 5 * x.std(0) / n**0.5).all()
    square = ((x - data.mean) ** 2).mean(1)
    assert abs(square.mean() - data.std**2) < 5 * square.std() / n**0.5


def test_coordinates_of_the_noise_are_independent() -> None:
    for noisy in (ds.circles((1.0,), 0.2), ds.spiral(width=0.2)):
        x = noisy.sample(20_000, 2, DOUBLE)
        z = x - (ds.spiral() if noisy.name == "spiral" else ds.circles((1.0,), 0.0)).sample(
            20_000, 2, DOUBLE
        )
        for column in z.T:
            assert stats.kstest(column.numpy() / 0.2, "norm").pvalue > 1e-4
        assert abs(np.corrcoef(z.T.numpy(), x.T.numpy())[0, 1]) < 5 / 20_000**0.5
        assert abs(np.corrcoef(z.T.numpy())[0, 1]) < 5 / 20_000**0.5


def test_data_sets_refuse_questions_that_do_not_apply() -> None:
    with pytest.raises(ValueError, match="swiss_roll has no labels"):
        ds.swiss_roll().sample_labelled(3, 0)
    with pytest.raises(ValueError, match="checkerboard is not a set of points"):
        ds.checkerboard().smooth(0.1)
    with pytest.raises(ValueError, match="ring has no curve"):
        ds.ring().distance(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="spiral is not made of squares"):
        ds.spiral().cell(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="must have dimension 2"):
        ds.spiral().distance(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="n must be at least 1"):
        ds.spiral().sample(0, 0)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        ds.spiral().sample(1, -1)
    with pytest.raises(TypeError, match="floating-point type"):
        ds.spiral().sample(1, 0, torch.int64)
    with pytest.raises(ValueError, match="width must be positive"):
        ds.spiral().smooth(0.0)
    with pytest.raises(ValueError, match="std of dot must be positive"):
        ds.Dataset("dot", sf.distributions.PointSet(torch.zeros(1, 2, dtype=DOUBLE)))


# -------------------------------------------------------------------------------------- the spiral


def test_spiral_has_the_lecture_s_constants() -> None:
    data = ds.spiral()
    x = data.distribution.points
    assert x is not None
    assert data.distribution.labels is not None
    assert x.shape == (100, 2)
    for i, place in ((0, (0.0, 0.1)), (99, (0.0, -1.1)), (75, (0.5301, 0.6741))):
        assert torch.allclose(x[i], torch.tensor(place, dtype=DOUBLE), atol=6e-5)
    assert torch.allclose(data.mean, torch.tensor([-0.0755, -0.0130], dtype=DOUBLE), atol=6e-5)
    covariance = torch.cov(x.T, correction=0)
    assert torch.linalg.eigvalsh(covariance).tolist() == pytest.approx([0.2005, 0.2386], abs=6e-5)
    assert data.std == pytest.approx((0.4392 / 2) ** 0.5, abs=6e-5)
    step = torch.linalg.norm(x.diff(dim=0), dim=1)
    assert [float(v) for v in (step.min(), step.mean(), step.max())] == pytest.approx(
        [0.0195, 0.0959, 0.1738], abs=6e-5
    )
    # The classes: 30 / 30 / 40 from the inside out, by name.
    assert data.classes == ("person", "dog", "cat")
    assert data.distribution.labels.tolist() == 30 * [0] + 30 * [1] + 40 * [2]
    r = torch.linalg.norm(x, dim=1)
    ends = [
        (
            float(r[data.distribution.labels == k].min()),
            float(r[data.distribution.labels == k].max()),
        )
        for k in range(3)
    ]
    assert torch.allclose(
        torch.tensor(ends), torch.tensor([(0.1, 0.393), (0.403, 0.696), (0.706, 1.1)]), atol=6e-4
    )


def test_spiral_s_curve_has_the_lecture_s_length_and_gap() -> None:
    (arc,) = ds.spiral().curve
    u = torch.linspace(arc.low, arc.high, 100_001, dtype=DOUBLE)
    length = torch.linalg.norm(arc.place(u).diff(dim=0), dim=1).sum()
    assert float(length) == pytest.approx(9.4996, abs=6e-5)
    for turns in (0.5, 2.5, 7.0):
        data = ds.spiral(200, turns)
        x, (arc,) = data.distribution.points, data.curve
        assert x is not None
        r = torch.linalg.norm(x, dim=1)
        assert float(r[0]) == pytest.approx(0.25 / turns)
        assert float(r[-1]) == pytest.approx(1 + 0.25 / turns)
        assert torch.allclose(r.diff(), r.diff()[0])  # equal steps in angle are equal steps in r
        gap = arc.place(torch.tensor([5.0 + 2 * math.pi])) - arc.place(torch.tensor([5.0]))
        assert float(torch.linalg.norm(gap)) == pytest.approx(1 / turns)
        assert data.distribution.labels is not None
        assert (data.distribution.labels.diff() >= 0).all()
        assert set(data.distribution.labels.tolist()) == {0, 1, 2}
    # Midway between two arms of gap 0.4 a ray through the centre is 0.2 from both, nearly.
    between = polar(np.array([0.8]), np.array([math.pi / 2]))  # arms cross this ray at .5, .9
    assert float(ds.spiral().distance(between - torch.tensor([0.0, 0.1]))) == pytest.approx(
        0.2, abs=3e-3
    )


def test_spiral_points_are_equally_likely() -> None:
    data = ds.spiral()
    assert data.distribution.points is not None
    x, label = data.sample_labelled(50_000, 3, DOUBLE)
    gap, which = (x[:, None] - data.distribution.points).abs().sum(-1).min(1)
    assert gap.max() == 0
    assert stats.chisquare(torch.bincount(which, minlength=100).numpy()).pvalue > 1e-4
    assert data.distribution.labels is not None
    assert torch.equal(label, data.distribution.labels[which])


def test_spiral_refuses_constants_out_of_range() -> None:
    with pytest.raises(ValueError, match="turns must exceed 1/4"):
        ds.spiral(turns=0.25)
    with pytest.raises(ValueError, match="points must be at least 2"):
        ds.spiral(points=1)
    with pytest.raises(TypeError, match="points must be a whole number"):
        ds.spiral(points=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="width must be zero or more"):
        ds.spiral(width=-0.1)


@pytest.mark.parametrize("width", [0.05, 0.3])
def test_smoothed_points_have_a_density_with_their_moments(width: float) -> None:
    data = ds.spiral()
    mixture = data.smooth(width)
    h = width / 2
    line = torch.arange(-3, 3, h, dtype=DOUBLE)
    grid = torch.cartesian_prod(line, line)
    mass = (
        h * h * mixture.log_prob(grid).exp()
    )  # trapezoidal: to rounding for Gaussians at h = width / 2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-7)
    assert torch.allclose(mass @ grid, data.mean, atol=1e-7)
    spread = (mass[:, None] * (grid - data.mean) ** 2).sum() / 2
    assert float(spread) == pytest.approx(data.std**2 + width**2, abs=1e-6)
    wide = ds.spiral(width=width)
    assert wide.distribution.width == width
    assert wide.std == pytest.approx(float(spread) ** 0.5, abs=1e-6)
    assert wide.distribution is not None
    assert close(wide.distribution.log_prob(grid[::97]), mixture.log_prob(grid[::97]))
    with pytest.raises(ValueError, match="points without a width have no density"):
        data.distribution.log_prob(grid)


def test_exact_field_of_the_spiral_takes_points_and_labels() -> None:
    data = ds.spiral()
    assert data.distribution.points is not None
    field = sf.ExactField(
        sf.VE(sigma_min=1e-3),
        sf.distributions.PointSet(data.distribution.points, data.distribution.labels),
    )
    # At the smallest noise the denoiser returns each point to itself.
    assert close(field.data(data.distribution.points, 0.0), data.distribution.points, rtol=1e-4)
    assert len(field.given(2).distribution.points) == 40


# -------------------------------------------------------------------------------- the checkerboard


def test_checkerboard_covariance_is_that_of_its_squares() -> None:
    n = 200_000
    x = ds.checkerboard().sample(n, 0, DOUBLE)
    second = x[:, :, None] * x[:, None, :]
    error = second.std(0) / n**0.5
    exact = torch.tensor([[16 / 3, -1.0], [-1.0, 16 / 3]], dtype=DOUBLE)
    assert ((second.mean(0) - exact).abs() < 5 * error).all()
    assert ds.checkerboard().std == pytest.approx((16 / 3) ** 0.5, rel=1e-14)


def test_checkerboard_is_uniform_on_its_squares_and_nowhere_else() -> None:
    data = ds.checkerboard()
    x, label = data.sample_labelled(200_000, 1)
    i, j = torch.floor((x + 4) / 2).long().T
    assert ((i + j) % 2 == 1).all()
    assert (x.abs() < 4).all()
    assert torch.equal(data.cell(x), label)
    # 4 x 4 boxes in each of the 8 squares: one chi-square over position and square.
    k, m = torch.floor((x + 4 - 2 * torch.stack([i, j], 1)) * 2).long().T
    counts = torch.bincount(16 * label + 4 * k + m, minlength=128)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_checkerboard_cells_are_counted_along_rows() -> None:
    data = ds.checkerboard()
    squares = ["2.3.", ".0.1"]  # rows from the top, of the lower half
    squares = ["6.7.", ".4.5", *squares]
    for row, line in enumerate(squares):
        for column, square in enumerate(line):
            centre = torch.tensor([[2.0 * column - 3, 3 - 2.0 * row]])
            assert int(data.cell(centre)) == (-1 if square == "." else int(square))
    outside = torch.tensor([[5.0, 1], [-4.1, -1], [1.0, 4.1], [1e30, 0], [-1e30, -1e30]])
    assert (data.cell(outside) == -1).all()
    # Edges belong to the square, corners to one of those that meet there.
    edges = torch.tensor([[-2.0, -3], [0, -3], [-1, -4], [-1, -2], [4, -3], [-4, 3], [-3, 4]])
    assert data.cell(edges).tolist() == [0, 0, 0, 0, 1, 6, 6]
    assert (data.cell(torch.tensor([[-2.0, -2.0], [0.0, 0.0], [2.0, -2.0]])) >= 0).all()
    assert int(data.cell(torch.tensor([[-4.0, -4.0]]))) == -1
    assert data.cell(torch.tensor([[-2.0001, -3.0], [0.0001, -3.0]])).tolist() == [-1, -1]


# -------------------------------------------------------------------------- the field's usual sets


NOISE = {ds.two_moons: 0.05, ds.circles: 0.05, ds.s_curve: 0.05, ds.swiss_roll: 0.2}


def sklearn_moons(n: int, noise: float | None) -> np.ndarray:
    return sk.make_moons(n, noise=noise, random_state=0)[0]


def sklearn_circles(n: int, noise: float | None) -> np.ndarray:
    return sk.make_circles(n, noise=noise, factor=0.5, random_state=0)[0]


def sklearn_s(n: int, noise: float | None) -> np.ndarray:
    return sk.make_s_curve(n, noise=noise or 0.0, random_state=0)[0][:, [0, 2]]


def sklearn_roll(n: int, noise: float | None) -> np.ndarray:
    return sk.make_swiss_roll(n, noise=5 * (noise or 0.0), random_state=0)[0][:, [0, 2]] / 5


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ds.two_moons, sklearn_moons),
        (ds.circles, sklearn_circles),
        (ds.s_curve, sklearn_s),
        (ds.swiss_roll, sklearn_roll),
    ],
)
def test_geometry_is_scikit_learn_s(
    ours: Callable[..., ds.Dataset], theirs: Callable[[int, float | None], np.ndarray]
) -> None:
    # Without noise: one curve. Theirs lies on ours, ours has no part that theirs lacks.
    bare = ours(noise=0.0)
    x, y = bare.sample(8000, 0, DOUBLE), torch.from_numpy(theirs(8000, None))
    assert bare.distance(y).max() < 2e-7
    assert bare.distance(x).max() < 2e-7
    assert torch.cdist(x[:2000], y).min(1).values.max() < 0.03
    assert torch.cdist(y[:2000], x).min(1).values.max() < 0.03
    # With noise: one distribution, projected on three axes; and the noise is as stated.
    noisy = ours()
    z = (noisy.sample(8000, 0, DOUBLE) - x) / NOISE[ours]
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-4
    x, y = noisy.sample(20_000, 0, DOUBLE), torch.from_numpy(theirs(20_000, NOISE[ours]))
    for side in ((1.0, 0.0), (0.0, 1.0), (0.6, 0.8)):
        axis = torch.tensor(side, dtype=DOUBLE)
        assert stats.ks_2samp((x @ axis).numpy(), (y @ axis).numpy()).pvalue > 1e-4


def test_labels_of_moons_and_circles_are_scikit_learn_s() -> None:
    for data, make in (
        (ds.two_moons(0.0), sk.make_moons),
        (ds.circles(noise=0.0), lambda n: sk.make_circles(n, factor=0.5)),
    ):
        y, theirs = make(400)
        x, label = data.sample_labelled(5000, 0, DOUBLE)
        near = torch.cdist(x, torch.from_numpy(y)).argmin(1)
        assert torch.equal(label, torch.from_numpy(theirs)[near])


def test_moments_of_the_curves_in_closed_form() -> None:
    moons = ds.two_moons(0.0)
    assert torch.allclose(moons.mean, torch.tensor([0.5, 0.25], dtype=DOUBLE), atol=1e-14)
    # |x - mean|^2 = 1 + |c - mean|^2 + 2 (...) on each half circle, c its centre.
    exact = 1 + 0.5**2 + 0.25**2 - 2 * 0.25 * 2 / math.pi
    assert moons.std == pytest.approx((exact / 2) ** 0.5, rel=1e-14)
    assert ds.two_moons(0.3).std == pytest.approx((exact / 2 + 0.09) ** 0.5, rel=1e-14)
    rings = ds.circles((3.0, 1.0), 0.1)
    assert rings.std == pytest.approx((5 / 2 + 0.01) ** 0.5, rel=1e-14)
    assert rings.classes == ("radius 3", "radius 1")


def test_distance_is_that_of_brute_force() -> None:
    x = 1.5 * randn(300, 2, seed=5)
    # The spiral, as a complex exponential, at two million places.
    angle = np.linspace(math.pi / 2, 5.5 * math.pi, 2_000_001)
    curve = angle / (5 * math.pi) * np.exp(1j * angle)
    z = torch.view_as_complex(x).numpy()
    brute = np.array([np.abs(curve - point).min() for point in z[:60]])
    assert np.abs(ds.spiral().distance(x).numpy()[:60] - brute).max() < 2e-7
    # Circles and moons have closed forms.
    r = torch.linalg.norm(x, dim=1)
    exact = torch.minimum((r - 1).abs(), (r - 0.5).abs())
    assert torch.allclose(ds.circles().distance(x), exact, atol=1e-7)
    up = torch.where(x[:, 1] > 0, (r - 1).abs(), torch.hypot(x[:, 0].abs() - 1, x[:, 1]))
    y = torch.tensor([1.0, 0.5], dtype=DOUBLE) - x
    s = torch.linalg.norm(y, dim=1)
    low = torch.where(y[:, 1] > 0, (s - 1).abs(), torch.hypot(y[:, 0].abs() - 1, y[:, 1]))
    assert torch.allclose(ds.two_moons().distance(x), torch.minimum(up, low), atol=1e-7)
    assert ds.spiral().distance(x.float()).dtype == torch.float32
    assert ds.spiral().distance(ds.spiral().distribution.points).max() < 2e-7  # type: ignore[arg-type]


def test_rings_have_the_published_constants() -> None:
    data = ds.eight_gaussians()
    mixture = data.distribution
    assert mixture is not None
    # FFJORD's code, number by number: its centres over its 1.414.
    h = 1 / math.sqrt(2)
    centres = [(1, 0), (-1, 0), (0, 1), (0, -1), (h, h), (h, -h), (-h, h), (-h, -h)]
    theirs = 4 * torch.tensor(centres, dtype=DOUBLE) / 1.414
    assert torch.cdist(theirs, mixture.means).min(1).values.max() < 5e-4
    assert len(mixture.means) == 8
    assert torch.allclose(
        mixture.covariances[3], (0.5 / 1.414) ** 2 * torch.eye(2, dtype=DOUBLE), 1e-3
    )
    assert torch.equal(data.sample(100, 5, DOUBLE), mixture.sample(100, 5))
    # The tables' set: |x|^2 has mean radius^2 + 2 std^2 = 27.
    assert ds.eight_gaussians(5, 1).std == pytest.approx((27 / 2) ** 0.5, rel=1e-12)
    five = ds.ring()
    assert five.distribution is not None
    assert torch.allclose(
        torch.linalg.norm(five.distribution.means, dim=1), 2 * five.mean.new_ones(5)
    )
    assert five.distribution.covariances[0].diagonal().tolist() == pytest.approx([0.0625, 0.0625])
    shares = torch.bincount(ds.ring(3, weights=(6, 3, 1)).sample_labelled(50_000, 0)[1])
    assert stats.chisquare(shares.numpy(), [30_000, 15_000, 5_000]).pvalue > 1e-4
    with pytest.raises(ValueError, match=r"weights must hold finite numbers of shape \(3,\)"):
        ds.ring(3, weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="radius must be positive"):
        ds.ring(radius=0.0)


def test_gaussian_grid_has_the_published_constants() -> None:
    mixture = ds.gaussian_grid().distribution
    assert mixture is not None
    grid = {(2.0 * i, 2.0 * j) for i in range(-2, 3) for j in range(-2, 3)}
    assert {tuple(m) for m in mixture.means.tolist()} == grid
    assert ds.gaussian_grid().std == pytest.approx((8 + 0.0025) ** 0.5)
    even = ds.gaussian_grid(2, 3.0, 0.5).distribution
    assert even is not None
    assert torch.equal(even.means.abs(), torch.full((4, 2), 1.5, dtype=DOUBLE))


def test_pinwheel_turns_clockwise() -> None:
    data = ds.pinwheel(tangential=0.0, radial=0.1)
    x, arm = data.sample_labelled(20_000, 0, DOUBLE)
    w = torch.view_as_complex(x.contiguous()).numpy() / 2
    # Undo the turn of the arm and the twist: what is left is the real axis.
    straight = w * np.exp(1j * (2 * math.pi / 5 * arm.numpy() + 0.25 * np.exp(np.abs(w))))
    assert np.abs(straight.imag).max() < 1e-12
    assert stats.kstest(straight.real, stats.norm(1, 0.1).cdf).pvalue > 1e-4
    # FFJORD's constants: E |x|^2 = 4 (1 + 0.3^2 + 0.1^2), five arms.
    assert ds.pinwheel().std == pytest.approx(2.2**0.5)
    assert len(ds.pinwheel().classes) == 5
    # The thickness is the default's: across an arm 0.1, before the factor 2.
    thick = ds.pinwheel(radial=0.0, rate=0.0).sample(20_000, 0, DOUBLE)
    assert ((thick**2).sum(1) / 4 - 1).mean() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ds.two_moons(-0.1), "noise must be zero or more"),
        (lambda: ds.circles(()), "radii is empty"),
        (lambda: ds.circles((1.0, 0.0)), "radius must be positive"),
        (lambda: ds.pinwheel(arms=1), "arms must be at least 2"),
        (lambda: ds.gaussian_grid(0), "side must be at least 1"),
        (lambda: ds.eight_gaussians(std=math.nan), "std must be positive"),
    ],
)
def test_constants_out_of_range_are_refused(make: Callable[[], ds.Dataset], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        make()


def test_named_finds_sets_and_files() -> None:
    for name in ds.NAMES:
        assert ds.named(name).name == name
    with pytest.raises(
        ValueError, match=r"no data set 'spirale'; there are spiral, checkerboard, "
    ):
        ds.named("spirale")
    with pytest.raises(ValueError, match=r"nowhere\.csv does not exist"):
        ds.named("nowhere.csv")
    with pytest.raises(TypeError, match="path must be a file name or a Path, got None"):
        ds.named(None)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- your own points

POINTS = torch.tensor([[0.0, 1.0], [-2.5, 0.125], [3e-3, 1e4]], dtype=DOUBLE)


def test_from_points_keeps_points_and_labels() -> None:
    data = ds.from_points(POINTS.float(), torch.tensor([0, 2, 2], dtype=torch.int32))
    assert data.classes == ("0", "1", "2")
    assert data.distribution.labels is not None
    assert data.distribution.labels.dtype == torch.int64
    assert data.distribution.points is not None
    assert data.distribution.points.dtype == DOUBLE
    centred = ds.from_points(POINTS - POINTS.mean(0))
    assert close(centred.mean + POINTS.mean(0), POINTS.mean(0))
    assert centred.std == pytest.approx(data.std, rel=1e-6)


@pytest.mark.parametrize(
    ("points", "labels", "classes", "error", "word"),
    [
        ([[0.0, 1.0]], None, (), ValueError, "at least two distinct points; these 1 "),
        ([[0.5, 1.0]] * 4, None, (), ValueError, "at least two distinct points; these 4 "),
        ([[1e9, 0.0], [1e9 + 1, 0.0]], None, (), ValueError, "subtract their mean"),
        ([[1e39, 0.0], [0.0, 0.0]], None, (), ValueError, "beyond single precision.* row 0"),
        ([[0.0, 0.0], [0.0, math.nan]], None, (), ValueError, "first in row 1"),
        ([0.0, 1.0], None, (), ValueError, r"shape \(n, d\)"),
        ([[0, 1], [1, 1]], None, (), TypeError, "floating-point tensor"),
        ([[0.0, 1.0], [1.0, 1.0]], [0.0, 1.0], (), TypeError, "whole numbers"),
        ([[0.0, 1.0], [1.0, 1.0]], [0, 1, 0], (), ValueError, r"must be \(2,\)"),
        ([[0.0, 1.0], [1.0, 1.0]], [0, -1], (), ValueError, "count from 0"),
        ([[0.0, 1.0], [1.0, 1.0]], [0, 2], ("a", "b"), ValueError, "label 2 but only 2 class"),
        ([[0.0, 1.0], [1.0, 1.0]], None, ("a", "b"), ValueError, "class names but no labels"),
    ],
)
def test_from_points_refuses_bad_points(
    points: list,
    labels: list | None,
    classes: tuple[str, ...],
    error: type[Exception],
    word: str,
) -> None:
    x = torch.tensor(points)
    if x.is_floating_point():  # in double, where 1e39 is a number
        x = torch.tensor(points, dtype=DOUBLE)
    with pytest.raises(error, match=word):
        ds.from_points(x, None if labels is None else torch.tensor(labels), classes)
