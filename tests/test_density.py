"""Cell masses against SciPy's integrals, conservation laws and histograms."""

import copy
import math
import pickle
from dataclasses import FrozenInstanceError
from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.integrate import dblquad, quad
from scipy.stats import chi2, multivariate_normal
from torch import Tensor

import sdeflow as sf
from sdeflow import Density, Grid
from sdeflow.density import captured
from sdeflow.distributions.mixture import prior_density
from tests.problems import close, f64, lopsided, randn

BOX = Grid((-4.0, -5.0), (5.0, 4.5), (48, 60))


def ring() -> sf.GaussianMixture:
    mixture = sf.datasets.ring(weights=(5, 4, 3, 2, 1)).distribution
    assert mixture is not None
    return mixture


def line(width: float = 0.5) -> sf.GaussianMixture:
    return sf.GaussianMixture.isotropic(f64([[-1.0], [0.7]]), width, f64([1.0, 3.0]))


# -------------------------------------------------------------------------------------------- grid


def test_each_centre_is_in_its_own_cell() -> None:
    x = BOX.centres()
    assert BOX.cell(x).tolist() == list(range(48 * 60))
    corners = BOX.corners()
    assert corners.shape == (49 * 61, 2)
    assert corners[0].tolist() == [-4.0, -5.0]
    assert corners[-1].tolist() == [5.0, 4.5]
    assert float(BOX.centres()[1, 1] - BOX.centres()[0, 1]) == pytest.approx(BOX.width[1])
    assert BOX.volume == pytest.approx(9.0 * 9.5 / (48 * 60))


def test_points_on_faces_and_outside_have_the_right_cell() -> None:
    g = Grid(0.0, 1.0, (4,))
    x = f64([[0.0], [0.25], [1.0], [-1e-9], [1.0 + 1e-9], [0.999]])
    assert g.cell(x).tolist() == [0, 1, 3, -1, -1, 3]
    counts, outside = g.count(x)
    assert counts.tolist() == [1, 1, 0, 2]
    assert outside == 2


def test_grid_counts_equal_numpys_histogram() -> None:
    x = lopsided().sample(5000, seed=1) * 3
    ours, outside = BOX.count(x)
    theirs = np.histogram2d(*x.T.numpy(), bins=[BOX.edges(0).numpy(), BOX.edges(1).numpy()])[0]
    assert (ours.numpy() == theirs).all()
    assert outside == 5000 - theirs.sum() > 0


def test_grid_shape_may_be_any_sequence() -> None:
    for shape in ((8, 6), [8, 6], np.array([8, 6]), torch.tensor([8, 6]), torch.Size([8, 6])):
        assert Grid(-5.0, np.float64(5.0), shape) == Grid((-5.0, -5.0), (5.0, 5.0), (8, 6))
    for one in (8, np.int64(8), np.array(8), torch.tensor(8)):
        assert Grid(np.array(-5.0), 5.0, one) == Grid(-5.0, 5.0, (8,))  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------- from a mixture


def test_masses_equal_quadrature_in_one_dimension() -> None:
    g = Grid((-5.0,), (5.0,), (25,))
    ours = line().on_grid(g).mass
    p = lambda x: float(line().log_prob(f64([[x]])).exp())  # noqa: E731
    theirs = [quad(p, a, b, epsabs=1e-14)[0] for a, b in pairwise(g.edges(0).tolist())]
    assert close(ours, f64(theirs), rtol=1e-12)


@pytest.mark.parametrize("mixture", [lopsided(), ring()], ids=["tilted", "round"])
def test_masses_equal_quadrature_in_two_dimensions(mixture: sf.GaussianMixture) -> None:
    g = Grid((-4.0, -4.0), (4.0, 4.0), (20, 16))
    mass = mixture.on_grid(g).mass
    parts = [
        (float(w), multivariate_normal(m.numpy(), c.numpy()))
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    x, y = g.edges(0).tolist(), g.edges(1).tolist()
    for i, j in ((10, 8), (12, 9), (7, 10), (14, 7), (3, 3)):
        theirs = dblquad(
            lambda v, u: sum(w * part.pdf([u, v]) for w, part in parts),
            x[i], x[i + 1], y[j], y[j + 1], epsabs=1e-13, epsrel=1e-11,
        )[0]  # fmt: skip
        assert float(mass[i, j]) == pytest.approx(theirs, rel=1e-9, abs=1e-13)


@settings(max_examples=25)
@given(
    angle=st.floats(0, 2 * math.pi), ratio=st.floats(1.0, 8.0), cells=st.sampled_from([16, 40, 96])
)
def test_masses_of_a_tilted_component_are_sums_over_finer_cells(
    angle: float, ratio: float, cells: int
) -> None:
    """Additivity: the masses of a grid are sums over a finer one, whatever route each takes."""
    c, s = math.cos(angle), math.sin(angle)
    turn = f64([[c, -s], [s, c]])
    cov = turn @ torch.diag(f64([0.49, (0.7 / ratio) ** 2])) @ turn.T
    mixture = sf.GaussianMixture(f64([1.0]), f64([[0.2, -0.3]]), cov[None])
    box = Grid(-6.0, 6.0, (cells, cells))
    fine = Grid(-6.0, 6.0, (3 * cells, 3 * cells))
    coarse = mixture.on_grid(box)
    assert close(coarse.mass, mixture.on_grid(fine).coarsen(3).mass, rtol=0, atol=1e-12)
    assert coarse.total() == pytest.approx(1.0, abs=1e-11)


def test_tail_masses_have_relative_precision_on_both_sides() -> None:
    g = Grid(-12.0, 12.0, (48,))
    mass = sf.GaussianMixture.isotropic(f64([[0.0]]), 1.0).on_grid(g).mass
    assert float(mass[0]) > 0
    assert torch.allclose(mass, mass.flip(0), rtol=1e-10, atol=0.0)


def test_masses_of_a_point_set_are_its_counts() -> None:
    points = f64([[0.1, 0.1], [0.12, 0.11], [2.05, -1.0], [-3.0, 3.0]])
    density = sf.GaussianMixture.isotropic(points, 0.0).on_grid(BOX)
    assert close(density.mass, Density.from_samples(BOX, points).mass)


def test_missing_mass_is_refused_with_its_amount() -> None:
    small = Grid((-2.0, -2.0), (2.0, 2.0), (32, 32))
    x = ring().sample(200_000, seed=3)
    missed = 1 - Density.from_samples(small, x).total()
    with pytest.raises(ValueError, match=r"misses 0\.\d+ of the mass; widen it") as refusal:
        ring().on_grid(small)
    assert float(str(refusal.value).split("misses ")[1].split()[0]) == pytest.approx(
        missed, abs=5e-3
    )
    kept = ring().on_grid(small, missing=0.5)
    assert kept.total() == pytest.approx(1 - missed, abs=5e-3)
    assert kept.normalised().total() == pytest.approx(1.0, abs=1e-15)


# -------------------------------------------------------------------------- samples there and back


def test_samples_have_the_cell_masses() -> None:
    """Chi-square over 200,000 draws, cells of expectation 20 or more."""
    density = lopsided().on_grid(BOX)
    n = 200_000
    counts, outside = BOX.count(density.sample(n, seed=4))
    assert outside == 0
    expected = n * density.normalised().mass
    big = expected > 20
    statistic = float(((counts - expected)[big] ** 2 / expected[big]).sum())
    assert 1e-4 < chi2.sf(statistic, int(big.sum())) < 1 - 1e-4


def test_samples_are_uniform_in_their_cells() -> None:
    density = lopsided().on_grid(BOX)
    x = density.sample(50_000, seed=5)
    part = (x - BOX.centres()[BOX.cell(x)]) / f64(BOX.width)
    assert float(part.abs().max()) <= 0.5
    assert close(part.var(0), f64([1 / 12, 1 / 12]), rtol=0, atol=2e-3)
    assert abs(float(torch.corrcoef(part.T)[0, 1])) < 0.02


def test_first_samples_do_not_depend_on_the_number() -> None:
    density = lopsided().on_grid(BOX)
    many = density.sample(5000, seed=6)
    assert torch.equal(density.sample(37, seed=6), many[:37])
    assert not torch.equal(density.sample(37, seed=7), many[:37])


def test_samples_are_never_in_empty_cells() -> None:
    mass = torch.zeros(4, 4)
    mass[1, 2] = mass[3, 0] = 0.5
    g = Grid(0.0, 4.0, (4, 4))
    assert set(g.cell(Density(g, mass).sample(1000, seed=0)).tolist()) == {6, 12}


# ------------------------------------------------------------------------------------- observables


def test_moments_equal_those_of_the_mixture() -> None:
    density = lopsided().on_grid(Grid(-7.0, 7.0, (160, 140)))
    assert close(density.mean(), lopsided().mean(), rtol=0, atol=1e-9)
    assert close(density.covariance(), lopsided().covariance(), rtol=0, atol=1e-9)
    one = line().on_grid(Grid(-6.0, 6.0, (90,)))
    assert close(one.covariance(), line().covariance(), rtol=0, atol=1e-9)


def test_moments_of_a_histogram_equal_those_of_the_cloud() -> None:
    x = lopsided().sample(4000, seed=8)
    density = Density.from_samples(Grid(-7.0, 7.0, (700, 700)), x)
    assert close(density.mean(), x.mean(0), rtol=0, atol=1e-3)
    assert close(density.covariance(), torch.cov(x.T, correction=0), rtol=0, atol=2e-3)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_marginals_equal_those_of_the_mixture(axis: int) -> None:
    """The marginal of a Gaussian mixture is the mixture of its rows."""
    full = lopsided()
    alone = sf.GaussianMixture(
        full.weights, full.means[:, [axis]], full.covariances[:, axis, axis, None, None]
    )
    ours = full.on_grid(Grid((-6.0, -7.0), (7.0, 6.0), (40, 52))).marginal(axis)
    assert close(ours.mass, alone.on_grid(ours.grid).mass, rtol=0, atol=1e-9)


def test_entropy_and_kl_equal_closed_forms() -> None:
    g = Grid(-9.0, 9.0, (256, 256))
    a = sf.GaussianMixture(f64([1.0]), f64([[0.3, 0.0]]), f64([[[1.0, 0.3], [0.3, 0.8]]]))
    b = sf.GaussianMixture(f64([1.0]), f64([[0.0, 0.2]]), f64([[[1.2, 0.0], [0.0, 1.1]]]))
    p, q = a.on_grid(g), b.on_grid(g)
    ca, cb = a.covariances[0], b.covariances[0]
    off = b.means[0] - a.means[0]
    inverse = torch.linalg.inv(cb)
    kl = (inverse @ ca).trace() + off @ inverse @ off - 2 + cb.logdet() - ca.logdet()
    # Within a cell p is not constant: the sums miss h^2 / 24 E|grad ln p|^2 and the like.
    assert p.kl(q) == pytest.approx(float(kl) / 2, rel=2e-3)
    assert p.kl(q) != pytest.approx(q.kl(p), rel=1e-2)
    entropy = 1 + math.log(2 * math.pi) + float(ca.logdet()) / 2
    assert p.entropy() == pytest.approx(entropy, abs=1e-3)
    assert p.kl(p) == 0


def test_total_variation_counts_the_outside() -> None:
    g = Grid(0.0, 1.0, (4,))
    p = Density(g, f64([0.5, 0.5, 0.0, 0.0]))
    q = Density(g, f64([0.0, 0.0, 0.25, 0.25]))
    assert p.total_variation(q) == 1.0
    assert p.total_variation(Density(g, f64([0.5, 0.25, 0.0, 0.0]))) == 0.25
    assert p.total_variation(p) == 0
    assert p.kl(q) == pytest.approx(math.log(0.5e15))  # nothing counts as 1e-15


def test_log_prob_is_constant_in_each_cell() -> None:
    g = Grid((-6.0, -6.0), (6.0, 6.0), (400, 400))
    density = lopsided().on_grid(g)
    x = lopsided().sample(500, seed=9)
    middle = g.centres()[g.cell(x)]
    assert close(density.log_prob(x), lopsided().log_prob(middle), rtol=0, atol=0.03)
    assert density.log_prob(f64([[7.0, 0.0]])).tolist() == [-math.inf]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([2, 4]))
def test_coarsening_keeps_mass_and_reduces_distances(seed: int, factor: int) -> None:
    g = Grid((-1.0, 2.0), (3.0, 5.0), (16, 24))
    p, q = (Density(g, m / m.sum()) for m in randn(2, 16, 24, seed=seed).abs())
    a, b = p.coarsen(factor), q.coarsen(factor)
    assert a.total() == pytest.approx(1.0, abs=1e-14)
    assert a.total_variation(b) <= p.total_variation(q) + 1e-15
    assert a.kl(b) <= p.kl(q) + 1e-12
    assert close(p.coarsen(factor).marginal(1).mass, p.marginal(1).coarsen(factor).mass)


def test_scaling_transforms_moments_and_entropy() -> None:
    """3 x has three times the mean, nine times the covariance, and p(x) / 9 for a mixture."""
    p = lopsided().on_grid(Grid(-7.0, 7.0, (140, 140)))
    q = p.scaled(3.0)
    mixture = lopsided().noised(3.0, 0.0)
    assert close(q.mass, mixture.on_grid(q.grid).mass, rtol=0, atol=1e-12)
    assert close(q.mean(), 3 * p.mean())
    assert close(q.covariance(), 9 * p.covariance())
    assert q.entropy() == pytest.approx(p.entropy() + 2 * math.log(3), abs=1e-12)


def test_grids_and_densities_print_in_words() -> None:
    density = Density(GRID_4, UNIFORM, error=0.0123)
    assert str(BOX) == "48 x 60 cells in [-4, 5] x [-5, 4.5]"
    assert repr(density) == (
        "density on 4 x 4 cells in [0, 1] x [0, 1], total mass 1, error about 0.01"
    )
    assert repr(density.marginal(0)).startswith("density on 4 cells in [0, 1], total mass 1")


def test_error_is_kept_and_densities_are_immutable() -> None:
    p = Density(Grid(0.0, 1.0, (8, 8)), torch.full((8, 8), 1 / 64), error=0.01)
    assert {p.coarsen().error, p.scaled(2.0).error, p.marginal(0).error} == {0.01}
    with pytest.raises(FrozenInstanceError):
        p.error = 0.0  # type: ignore[misc]


def test_prior_density_is_that_of_the_prior_samples() -> None:
    process = sf.VE()
    x = process.prior(20_000, 2, 3, torch.float64)
    size = float(x.std())
    wide = prior_density(Grid(-6 * size, 6 * size, (64, 64)), process)
    assert close(wide.covariance(), x.T.cov(), rtol=0, atol=6 * size**2 * math.sqrt(2 / 20_000))
    sigma = float(process(f64(0.5)).sigma)
    half = prior_density(Grid(-6 * sigma, 6 * sigma, (64,)), process, 0.5)
    assert float(half.covariance()) == pytest.approx(sigma**2, rel=1e-4)


# --------------------------------------------------------------------------------- wrong arguments

GRID_4 = Grid(0.0, 1.0, (4, 4))
UNIFORM = torch.full((4, 4), 1 / 16)


def singular() -> sf.GaussianMixture:
    return sf.GaussianMixture(f64([1.0]), f64([[0.0, 0.0]]), torch.ones(1, 2, 2))


def uniform_but(value: float) -> Tensor:
    mass = UNIFORM.clone()
    mass[1, 2] = value
    return mass


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: Grid(0.0, 1.0, (4, 4, 4)), "one or two axes"),
        (lambda: Grid(0.0, 1.0, (3, 4)), "at least 4"),
        (lambda: Grid(1.0, 1.0, (4,)), "low must lie below high"),
        (lambda: Grid(0.0, 1e300, (4,)), "must be 1e-152 to 1e152 wide, got"),
        (lambda: Grid(0.0, 1e-300, (4,)), "must be 1e-152 to 1e152 wide, got"),
        (lambda: Grid((0.0,), (1.0, 1.0), (4, 4)), "low must hold 2 finite numbers"),
        (lambda: Grid(0.0, math.inf, (4,)), "high must hold 1 finite numbers"),
        (lambda: GRID_4.coarser(3), "cannot be merged 3 by 3"),
        (lambda: GRID_4.cell(torch.zeros(5, 3)), "must have dimension 2"),
        (lambda: Density(GRID_4, UNIFORM[:3]), r"mass must be \(4, 4\)"),
        (lambda: Density(GRID_4, uniform_but(math.nan)), "NaN or infinite"),
        (lambda: Density(GRID_4, uniform_but(-0.1)), "negative in 1 cells"),
        (lambda: Density(GRID_4, UNIFORM * 2), "add up to 2; divide them by their sum"),
        (lambda: Density(GRID_4, UNIFORM * 0), "add up to 0"),
        (lambda: line().on_grid(GRID_4), "must agree"),
        (lambda: Density.from_samples(GRID_4, torch.full((9, 2), 7.0)), "no particle lies in"),
        (lambda: singular().on_grid(BOX), "tilted component of standard deviation"),
        (
            lambda: Density(GRID_4, UNIFORM).kl(Density(GRID_4.scaled(2.0), UNIFORM)),
            "different grids",
        ),
        (lambda: Density(GRID_4, UNIFORM).marginal(2), "axis must be"),
        (lambda: Density(GRID_4, UNIFORM).scaled(0.0), "factor must be positive"),
        (lambda: Density(GRID_4, UNIFORM).sample(0, seed=0), "n must be at least 1"),
    ],
)
def test_density_refuses_wrong_values_in_one_sentence(mistake, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)


def test_density_refuses_wrong_types_in_one_sentence() -> None:
    with pytest.raises(TypeError, match="low must be real numbers"):
        Grid("a", 1.0, (4,))  # type: ignore[arg-type]
    for junk in ("1", None, lambda x: x, [[0.5, None]], UNIFORM * 1j):
        with pytest.raises(TypeError, match="mass must be real numbers"):
            Density(GRID_4, junk)  # type: ignore[arg-type]


@pytest.mark.parametrize("half", [1.0, 2.3, 3.1, 3.6])
def test_advised_missing_mass_is_accepted(half: float) -> None:
    law, grid = (
        sf.GaussianMixture.isotropic(f64([[0.0, 0.0]]), 1.0),
        sf.Grid(-half, half, (16, 16)),
    )
    with pytest.raises(ValueError, match="allow it by missing=") as said:
        law.on_grid(grid, missing=1e-5)
    advised = float(str(said.value).rpartition("=")[2])
    assert law.on_grid(grid, missing=advised).total() < 1
    with pytest.raises(ValueError, match="allow it"):
        law.on_grid(grid, missing=advised / 2.1)


@settings(max_examples=60)
@given(st.floats(1e-9, 1.0, exclude_max=True), st.floats(0.0, 0.9))
def test_advised_missing_mass_is_always_enough(held: float, share: float) -> None:
    """Whatever is lost; the advice is a number to be typed in."""
    mass, missing = np.array([held, 0.0, 0.0, 0.0]), share * (1 - held)
    if 1 - held <= missing:
        return
    with pytest.raises(ValueError, match="allow it by missing=") as said:
        captured(mass, Grid(0.0, 1.0, (4,)), missing)
    advised = float(str(said.value).rpartition("=")[2])
    assert captured(mass, Grid(0.0, 1.0, (4,)), advised).total() == pytest.approx(held)


def test_grid_without_any_mass_is_refused_without_a_number() -> None:
    with pytest.raises(ValueError, match="holds none of the mass; move it"):
        captured(np.zeros(4), Grid(0.0, 1.0, (4,)), 1.0)
    with pytest.raises(ValueError, match="missing must be zero or more"):
        captured(np.full(4, 0.2), Grid(0.0, 1.0, (4,)), math.nan)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_masses_divided_by_their_sum_in_a_shorter_type_are_accepted(dtype: torch.dtype) -> None:
    for seed in range(20):
        mass = randn(16, 24, seed=seed).abs().to(dtype)
        density = Density(Grid(0.0, 1.0, (16, 24)), mass / mass.sum())
        assert 1 - 3 * torch.finfo(dtype).eps < density.total() <= 1 + 1e-9
    with pytest.raises(ValueError, match="divide them by their sum"):
        Density(GRID_4, (UNIFORM * 1.05).to(dtype))


def test_masses_may_be_an_array_or_lists() -> None:
    for mass in (UNIFORM.numpy(), UNIFORM.tolist(), UNIFORM.double().numpy()):
        assert torch.equal(Density(GRID_4, mass).mass, UNIFORM.double())  # type: ignore[arg-type]


@settings(max_examples=20)
@given(st.sampled_from([1e-150, 1e-9, 2.0**-30, 1e9, 1e150]))
def test_unit_of_length_does_not_matter(unit: float) -> None:
    """A kilometre or a nanometre: cells, draws, moments and distances, to rounding errors."""
    g, h = Grid((-1.0, 2.0), (3.0, 5.0), (16, 24)), Grid(
        (-unit, 2 * unit), (3 * unit, 5 * unit), (16, 24)
    )  # fmt: skip
    mass = randn(16, 24, seed=1).abs()
    p, q = (Density(grid, mass / mass.sum()) for grid in (g, h))
    assert torch.equal(g.cell(p.sample(300, seed=2)), h.cell(q.sample(300, seed=2)))
    assert close(q.sample(300, seed=2) / unit, p.sample(300, seed=2), rtol=1e-14)
    assert close(q.mean() / unit, p.mean())
    assert close(q.covariance() / unit / unit, p.covariance())
    assert q.entropy() - 2 * math.log(unit) == pytest.approx(p.entropy(), abs=1e-9)
    assert q.kl(p.scaled(1.0) and Density(h, p.mass)) == 0
    assert h.same(g.scaled(unit))
    assert not h.same(Grid((-unit, 2 * unit), (3.01 * unit, 5 * unit), (16, 24)))


def test_grids_are_the_same_to_a_part_of_a_cell_wherever_they_are() -> None:
    """A nanometre is another cell a metre away from the origin too."""
    far = Grid(1.0, 1.0 + 1e-8, (10,))
    assert far.same(Grid(1.0, 1.0 + 1e-8 + 1e-16, (10,)))
    assert not far.same(Grid(1.0 + 1e-9, 1.0 + 1.1e-8, (10,)))
    assert not far.same(Grid(1.0, 1.0 + 1e-8, (20,)))
    with pytest.raises(ValueError, match="rounding errors of positions there"):
        Grid(1e9, 1e9 + 1e-6, (100,))


def test_copies_are_the_same_densities() -> None:
    density = Density(BOX, lopsided().on_grid(BOX).mass, error=0.01)
    for again in (
        pickle.loads(pickle.dumps(density)),
        copy.deepcopy(density),
        copy.copy(density),
        Density(density.grid, density.mass.tolist(), density.error),  # type: ignore[arg-type]
    ):
        assert again.grid == BOX
        assert torch.equal(again.mass, density.mass)
        assert again.error == 0.01
        assert torch.equal(again.sample(50, seed=1), density.sample(50, seed=1))
        assert again.kl(density) == 0


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: Density(GRID_4, UNIFORM).kl(UNIFORM), "other must be a Density, got a tensor"),
        (lambda: Density(GRID_4, UNIFORM).total_variation(None), "other must be a Density"),
        (lambda: Density((0, 1), UNIFORM), r"grid must be a Grid, got tuple; make one by Grid"),
        (lambda: Density(GRID_4, UNIFORM, "a"), "error must be a number or None"),
        (lambda: Density.from_samples(None, UNIFORM), "grid must be a Grid"),
        (lambda: GRID_4.same(4), "grid must be a Grid"),
        (lambda: GRID_4.edges("x"), "axis must be a whole number"),
        (lambda: Density(GRID_4, UNIFORM).marginal(None), "axis must be a whole number"),
        (lambda: Grid("0", 1.0, (4,)), "low must be real numbers"),
    ],
)
def test_density_refuses_things_of_another_kind_in_one_sentence(mistake, words: str) -> None:
    with pytest.raises(TypeError, match=words) as refusal:
        mistake()
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match="axis must be 0 to 1"):
        GRID_4.middles(2)
