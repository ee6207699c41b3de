"""The exact case, against scipy, autograd, and sums over a grid that know only Bayes' rule."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats
from torch import Tensor

import sdeflow as sf
from tests.problems import close, f64, lopsided, randn

LEVELS = [(1.0, 0.05), (0.9, 0.5), (0.4, 0.9), (0.05, 1.2), (1.0, 3.0)]


def scipy_log_prob(mixture: sf.GaussianMixture, x: Tensor) -> Tensor:
    parts = [
        np.log(float(w)) + stats.multivariate_normal(m.numpy(), c.numpy()).logpdf(x.numpy())
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    return torch.from_numpy(special.logsumexp(parts, axis=0))


def hessian_trace(mixture: sf.GaussianMixture, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    score = torch.autograd.grad(mixture.log_prob(x).sum(), x, create_graph=True)[0]
    second = [
        torch.autograd.grad(score[:, i].sum(), x, retain_graph=True)[0][:, i]
        for i in range(x.shape[1])
    ]
    return torch.stack(second).sum(0)


def gradient(mixture: sf.GaussianMixture, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(mixture.log_prob(x).sum(), x)[0]


# ------------------------------------------------------------------------------- density and score


def test_log_prob_equals_that_of_scipy(mixture: sf.GaussianMixture) -> None:
    x = 2 * randn(200, 2)
    assert close(mixture.log_prob(x), scipy_log_prob(mixture, x), 1e-12)
    # Far out, where every term underflows, the logarithm does not.
    assert close(mixture.log_prob(100 * x), scipy_log_prob(mixture, 100 * x), 1e-12)


def test_density_has_mass_one(mixture: sf.GaussianMixture) -> None:
    u = torch.linspace(-7, 7, 701, dtype=torch.float64)
    x = torch.cartesian_prod(u, u)
    assert float(mixture.log_prob(x).exp().sum() * 0.02**2) == pytest.approx(1, abs=1e-9)


def test_score_is_the_gradient_of_log_prob(mixture: sf.GaussianMixture) -> None:
    for noised in (mixture, mixture.noised(0.6, 0.3), mixture.noised(1.0, 5.0)):
        x = 2 * randn(50, 2)
        assert close(noised.score(x), gradient(noised, x), 1e-12)


@pytest.mark.parametrize("d", [1, 3, 5])
def test_mixture_is_exact_in_any_dimension(d: int) -> None:
    root = randn(4, d, d)
    mixture = sf.GaussianMixture(f64([1.0, 2.0, 3.0, 4.0]), randn(4, d, seed=1), root @ root.mT)
    x = randn(20, d, seed=2)
    assert mixture.dim == d
    assert close(mixture.log_prob(x), scipy_log_prob(mixture, x), 1e-10)
    assert close(mixture.score(x), gradient(mixture, x), 1e-9)


# ----------------------------------------------------------------------------------------- noising


@given(st.floats(0.01, 1.0), st.floats(0.01, 10.0))
def test_noised_mixture_agrees_with_noised_draws(alpha: float, sigma: float) -> None:
    """Component by component the sum of two Gaussians; scipy takes the covariances from here."""
    mixture, eye = lopsided(), torch.eye(2, dtype=torch.float64)
    noised = mixture.noised(alpha, sigma)
    fresh = sf.GaussianMixture(
        mixture.weights,
        alpha * mixture.means,
        torch.stack([(alpha * c) @ (alpha * eye) + sigma**2 * eye for c in mixture.covariances]),
    )
    x = randn(20, 2) * (alpha + sigma)
    assert close(noised.log_prob(x), scipy_log_prob(fresh, x), 1e-9)
    assert close(noised.covariances, fresh.covariances, 1e-12)


def test_noised_mixture_is_a_convolution() -> None:
    """In one dimension, against the integral of p(x_0) N(x; alpha x_0, sigma^2)."""
    mixture = sf.GaussianMixture(
        f64([0.3, 0.7]),
        f64([[-1.0], [0.8]]),
        f64([[[0.04]], [[0.3]]]),
    )
    alpha, sigma = 0.7, 0.4

    def p0(u: float) -> float:
        return 0.3 * stats.norm.pdf(u, -1, 0.2) + 0.7 * stats.norm.pdf(u, 0.8, 0.3**0.5)

    for at in (-1.5, 0.0, 0.6, 2.0):
        want = integrate.quad(
            lambda u, at=at: p0(u) * stats.norm.pdf(at, alpha * u, sigma),
            -5, 5, points=[-1, 0.8], epsabs=1e-13,
        )[0]  # fmt: skip
        got = mixture.noised(alpha, sigma).log_prob(f64([[at]])).exp()
        assert float(got) == pytest.approx(want, rel=1e-9)


def test_noising_in_two_steps_equals_noising_in_one(mixture: sf.GaussianMixture) -> None:
    one = mixture.noised(0.8, 0.3).noised(0.5, 0.6)
    other = mixture.noised(0.4, math.hypot(0.5 * 0.3, 0.6))
    x = randn(20, 2)
    assert close(one.log_prob(x), other.log_prob(x), 1e-12)
    assert close(one.score(x), other.score(x), 1e-12)


def test_noised_mixture_is_differentiable_in_alpha_and_sigma(mixture: sf.GaussianMixture) -> None:
    """The heat equation: d p / d (sigma^2) = laplace p / 2."""
    v = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    for x in randn(5, 1, 2):
        noised = mixture.noised(1.0, v.sqrt())
        rate = torch.autograd.grad(noised.log_prob(x).exp().sum(), v)[0]
        still = mixture.noised(1.0, 0.3**0.5)
        p, score = still.log_prob(x).exp(), gradient(still, x)
        laplace = p * (hessian_trace(still, x) + (score**2).sum(1))
        assert float(rate) == pytest.approx(float(laplace) / 2, rel=1e-10)


# --------------------------------------------------------------------------------------- posterior


def bayes(
    mixture: sf.GaussianMixture, x: Tensor, alpha: float, sigma: float
) -> tuple[Tensor, ...]:
    """E[x_0 | x], E[eps | x], tr Cov(x_0 | x) by a sum over a grid of x_0."""
    reach = 4 if mixture.dim == 2 else 8
    u = torch.linspace(-reach, reach, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(*[u] * 2) if mixture.dim == 2 else u[:, None]
    eps = (x[:, None] - alpha * grid) / sigma
    w = torch.softmax(scipy_log_prob(mixture, grid) - (eps**2).sum(-1) / 2, 1)
    mean = w @ grid
    spread = torch.einsum("nm,nmd->n", w, (grid - mean[:, None]) ** 2)
    return mean, torch.einsum("nm,nmd->nd", w, eps), spread


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_posterior_equals_bayes_rule(
    mixture: sf.GaussianMixture, alpha: float, sigma: float
) -> None:
    x = mixture.noised(alpha, sigma).sample(4, seed=2)
    got = mixture.posterior(x, f64(alpha), f64(sigma))
    for mine, want in zip(got, bayes(mixture, x, alpha, sigma), strict=True):
        assert close(mine, want, 1e-8, 1e-9)


def test_posterior_equals_bayes_rule_in_one_dimension() -> None:
    mixture = sf.GaussianMixture(
        f64([0.3, 0.7]),
        f64([[-1.0], [0.8]]),
        f64([[[0.04]], [[0.3]]]),
    )
    x = f64([[-1.5], [0.1], [2.0]])
    got = mixture.posterior(x, f64(0.7), f64(0.4))
    for mine, want in zip(got, bayes(mixture, x, 0.7, 0.4), strict=True):
        assert close(mine, want, 1e-8)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_posterior_satisfies_tweedie_to_first_and_second_order(
    mixture: sf.GaussianMixture, alpha: float, sigma: float
) -> None:
    """alpha x0_hat = x + sigma^2 grad ln p;  alpha^2 tr Cov = sigma^2 d + sigma^4 laplace ln p."""
    noised = mixture.noised(alpha, sigma)
    x = noised.sample(30, seed=1)
    got = mixture.posterior(x, f64(alpha), f64(sigma))
    score = gradient(noised, x)
    assert close(alpha * got.data, x + sigma**2 * score, 1e-11)
    assert close(got.noise, -sigma * score, 1e-11)
    trace = (2 * sigma**2 + sigma**4 * hessian_trace(noised, x)) / alpha**2
    assert close(got.data_variance, trace, 1e-8 * max(1.0, (sigma / alpha) ** 2))
    assert (got.data_variance > 0).all()


def test_posterior_takes_a_noise_level_per_particle(mixture: sf.GaussianMixture) -> None:
    alpha, sigma = (f64(v) for v in zip(*LEVELS, strict=True))
    x = randn(5, 2)
    together = mixture.posterior(x, alpha, sigma)
    for i in range(5):
        alone = mixture.posterior(x[i : i + 1], alpha[i], sigma[i])
        for a, b in zip(together, alone, strict=True):
            assert close(a[i : i + 1], b, 1e-13)


def test_mixture_of_zero_width_is_a_point_set() -> None:
    """Zero covariances: x0_hat is the softmax mean of the points, and the field stays finite."""
    points = randn(6, 2)
    mixture = sf.GaussianMixture.isotropic(points, 0.0)
    x, alpha, sigma = randn(4, 2, seed=1), 0.8, 0.3
    w = torch.softmax(-(torch.cdist(x, alpha * points) ** 2) / (2 * sigma**2), 1)
    got = mixture.posterior(x, f64(alpha), f64(sigma))
    assert close(got.data, w @ points, 1e-12)
    assert close(got.noise, (x - alpha * (w @ points)) / sigma, 1e-12)
    assert set(map(tuple, mixture.sample(50, 0).tolist())) <= set(map(tuple, points.tolist()))


# ---------------------------------------------------------------------------------------- sampling


def test_samples_have_the_distribution_of_the_mixture(mixture: sf.GaussianMixture) -> None:
    """KS of the projection on three directions, and the two moments."""
    n = 40_000
    x = mixture.sample(n, seed=3)
    for angle in (0.0, 1.0, 2.2):
        along = np.array([math.cos(angle), math.sin(angle)])
        means = mixture.means.numpy() @ along
        widths = np.sqrt(np.einsum("i,kij,j->k", along, mixture.covariances.numpy(), along))
        w = mixture.weights.numpy()

        def cdf(u: np.ndarray, w=w, means=means, widths=widths) -> np.ndarray:
            return stats.norm.cdf(u[:, None], means, widths) @ w

        assert stats.kstest(x.numpy() @ along, cdf).pvalue > 1e-3
    off = x - mixture.mean()
    assert (off.mean(0).abs() < 4 * x.std(0) / n**0.5).all()
    products = off[:, :, None] * off[:, None, :]
    z = (products.mean(0) - mixture.covariance()) / products.std(0) * n**0.5
    assert (z.abs() < 4).all()


def test_samples_have_the_conditional_distribution_of_the_mixture(
    mixture: sf.GaussianMixture,
) -> None:
    """Rosenblatt: given x_1, the conditional distribution of x_2 is uniform; sees correlations."""
    x = mixture.sample(20_000, seed=4).numpy()
    w, m, c = mixture.weights.numpy(), mixture.means.numpy(), mixture.covariances.numpy()
    r = w * stats.norm.pdf(x[:, :1], m[:, 0], np.sqrt(c[:, 0, 0]))
    r /= r.sum(1, keepdims=True)
    slope = c[:, 0, 1] / c[:, 0, 0]
    mean = m[:, 1] + slope * (x[:, :1] - m[:, 0])
    u = (r * stats.norm.cdf(x[:, 1:], mean, np.sqrt(c[:, 1, 1] - slope * c[:, 0, 1]))).sum(1)
    assert stats.kstest(u, "uniform").pvalue > 1e-3


def test_labels_are_the_components(mixture: sf.GaussianMixture) -> None:
    n = 30_000
    x, which = mixture.sample_labelled(n, seed=1)
    counts = torch.bincount(which, minlength=3).numpy()
    assert stats.chisquare(counts, n * mixture.weights.numpy()).pvalue > 1e-3
    for k in range(3):
        mine = x[which == k]
        z = (mine - mixture.means[k]) @ torch.linalg.inv(
            torch.linalg.cholesky(mixture.covariances[k])
        ).mT
        assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    assert torch.equal(x, mixture.sample(n, seed=1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 4097, 9999])
def test_first_k_of_n_draws_are_the_draw_of_k(dtype: torch.dtype, k: int) -> None:
    mixture = lopsided(dtype)
    assert mixture.sample(3, 0).dtype == dtype
    x, labels = mixture.sample_labelled(10_000, seed=6)
    y, some = mixture.sample_labelled(k, seed=6)
    assert torch.equal(labels[:k], some)
    assert torch.equal(x[:k], y)
    assert not torch.isclose(mixture.sample(k, seed=7), y).any()


def test_mean_and_covariance_are_moments_of_the_density(mixture: sf.GaussianMixture) -> None:
    u = torch.linspace(-7, 7, 701, dtype=torch.float64)
    x = torch.cartesian_prod(u, u)
    p = scipy_log_prob(mixture, x).exp() * 0.02**2
    assert close(mixture.mean(), p @ x, 1e-9)
    off = x - p @ x
    assert close(mixture.covariance(), torch.einsum("n,ni,nj->ij", p, off, off), 1e-8)


def test_float32_agrees_with_float64(mixture: sf.GaussianMixture) -> None:
    x = randn(50, 2)
    single = mixture.to(torch.float32)
    assert close(single.log_prob(x.float()).double(), mixture.log_prob(x), 1e-5)
    assert close(single.score(x.float()).double(), mixture.score(x), 1e-5)


def test_elongated_float32_mixture_agrees_with_float64() -> None:
    """Axes 1000 times longer than wide, whose spectrum float32 would not hold."""
    long = sf.GaussianMixture(
        f64([1.0]), f64([[0.0, 0.0]]), 0.5 * f64([[[1.0, 1 - 2e-6], [1 - 2e-6, 1.0]]])
    ).to(torch.float32)
    x = long.sample(50, 0)
    wide = long.to(torch.float64)
    assert close(long.score(x).double(), wide.score(x.double()), 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_singular_covariance_is_accepted(dtype: torch.dtype) -> None:
    """Covariance v v^T: rounding makes its zeros a little negative, or its halves differ."""
    for seed in range(20):
        v = randn(3, seed=seed, dtype=dtype)
        flat = torch.outer(v, v)
        flat[0, 1] *= 1 + 2 * torch.finfo(dtype).eps
        mixture = sf.GaussianMixture(torch.ones(1), torch.zeros(1, 3, dtype=dtype), flat[None])
        x = mixture.sample(50, 0)
        along = (x @ v / (v @ v))[:, None] * v
        assert close(x, along, 4 * torch.finfo(dtype).eps ** 0.5)
    # Nor does an off-diagonal that is all rounding.
    tiny = torch.tensor([[1.0, 0.0], [1e-8, 1.0]], dtype=dtype)
    sf.GaussianMixture(torch.ones(1), torch.zeros(1, 2, dtype=dtype), tiny[None])


# --------------------------------------------------------------------------------- wrong arguments

EYES = torch.eye(2).expand(2, 2, 2)


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "message"),
    [
        (torch.ones(3), torch.zeros(2, 2), EYES, "needs weights"),
        (torch.ones(2), torch.zeros(2, 2), EYES[:1], "needs weights"),
        (torch.ones(2), torch.zeros(2, 2), torch.ones(2, 2), "needs weights"),
        (torch.tensor([1.0, 0.0]), torch.zeros(2, 2), EYES, "weights must be positive"),
        (torch.tensor([1.0, -1.0]), torch.zeros(2, 2), EYES, "weights must be positive"),
        (torch.tensor([1.0, math.nan]), torch.zeros(2, 2), EYES, "weights must be positive"),
        (torch.ones(2), torch.zeros(2, 2), -EYES, "positive semi-definite"),
        (torch.ones(2), torch.zeros(2, 2), math.nan * EYES, "finite and symmetric"),
        (torch.ones(2), torch.zeros(2, 2), EYES.triu() + torch.ones(2, 2).triu(1), "symmetric"),
        (torch.ones(1), torch.zeros(1, 2), torch.tensor([[[1.0, 1e-3], [0, 1.0]]]), "symmetric"),
        (torch.ones(1), torch.zeros(1, 2), torch.diag(torch.tensor([1.0, -1e-3]))[None], "semi"),
        (torch.ones(2), torch.full((2, 2), math.inf), EYES, "means has NaN or infinite"),
        (torch.ones(2), torch.zeros(2), EYES, "means must be a cloud"),
        (torch.ones(0), torch.zeros(0, 2), EYES[:0], "means is empty"),
        # Seen only in units of each coordinate: correlation 1.2; halves that differ by 0.1.
        (torch.ones(1), torch.zeros(1, 2).double(), [[[1.0, 960.0], [960.0, 6.4e5]]], "semi"),
        (torch.ones(1), torch.zeros(1, 2).double(), [[[1e-12, 0.3], [0.4, 1e12]]], "symmetric"),
        (
            torch.ones(1),
            torch.zeros(1, 2).double(),
            [[[1e-9, 2.0], [2.0, 1e10]]],
            "rescale the coordinates",
        ),
        # And of each component.
        (torch.ones(2), torch.zeros(2, 2), torch.stack([EYES[0], -1e-9 * EYES[0]]), "semi"),
    ],
)
def test_wrong_arguments_of_a_mixture_are_refused(
    weights: Tensor, means: Tensor, covariances: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sf.GaussianMixture(weights, means, covariances)


def test_wrong_arguments_of_methods_are_refused(mixture: sf.GaussianMixture) -> None:
    with pytest.raises(ValueError, match="n must be at least 1"):
        mixture.sample(0, 0)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        mixture.sample(1, -1)
    with pytest.raises(ValueError, match="width must be zero or more"):
        sf.GaussianMixture.isotropic(torch.zeros(2, 2), -0.1)
    with pytest.raises(TypeError, match="floating-point tensor"):
        sf.GaussianMixture.isotropic(torch.zeros(2, 2, dtype=torch.int64), 0.1)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"weights": "many"}, TypeError, "weights must be real numbers"),
        ({"weights": None}, TypeError, "weights must be real numbers"),
        ({"covariances": [[1.0]]}, ValueError, "a mixture of 3 components .* needs"),
        ({"means": [[0.0, 0.0]]}, TypeError, "means must be a floating-point tensor"),
    ],
)
def test_wrong_kinds_are_refused(change: dict, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        replace(lopsided(), **change)


def test_a_point_has_no_density() -> None:
    """Nor has a component that is flat in one direction."""
    flat = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))[None]
    for law in (
        sf.GaussianMixture.isotropic(randn(3, 2), 0.0),
        sf.GaussianMixture(torch.ones(1), randn(1, 2), flat),
    ):
        for ask in (law.log_prob, law.score):
            with pytest.raises(ValueError, match="zero variance and therefore no density"):
                ask(randn(5, 2))
        assert torch.isfinite(law.log_prob(randn(5, 2), 1.0, 0.1)).all()
    with pytest.raises(ValueError, match=r"square of width 1e-30 is zero in torch\.float32"):
        sf.GaussianMixture.isotropic(torch.zeros(1, 2), 1e-30)


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e-9, 1e-9), (1e-11, 1e-7), (1e3, 0.1)])
def test_cell_masses_follow_the_units_of_each_axis(units: tuple[float, float]) -> None:
    scale = torch.diag(torch.tensor(units, dtype=torch.float64))
    law = lopsided().moved(torch.zeros(2), torch.linalg.inv(scale))
    ends = [8 * u for u in units]
    found = law.on_grid(sf.Grid([-e for e in ends], ends, (24, 24))).mass
    want = lopsided().on_grid(sf.Grid(-8.0, 8.0, (24, 24))).mass
    assert close(found, want, 1e-9)
    z = randn(20, 2)
    height = law.log_prob(z @ scale) + float(scale.log().diagonal().sum())
    assert close(height, lopsided().log_prob(z), 1e-7)


def test_weights_are_normalised() -> None:
    mixture = sf.GaussianMixture(torch.tensor([1.0, 3.0]), torch.zeros(2, 2), EYES)
    assert mixture.weights.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cloud", [torch.float32, torch.float64])
def test_density_and_score_have_the_type_of_the_cloud(dtype, cloud) -> None:
    mixture, x = lopsided(dtype), randn(20, 2).to(cloud)
    sure = lopsided(torch.float64)
    for ask in (sf.GaussianMixture.log_prob, sf.GaussianMixture.score):
        got = ask(mixture, x)
        assert got.dtype == cloud
        assert close(got.double(), ask(sure, x.double()), 1e-4, 1e-4)


@pytest.mark.parametrize("ask", [sf.GaussianMixture.log_prob, sf.GaussianMixture.score])
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (randn(3, 1), ValueError, "x must have dimension 2, got 1"),
        (randn(3, 3), ValueError, "x must have dimension 2, got 3"),
        (randn(3, 2)[0], ValueError, "x must be a cloud of shape"),
        (torch.ones(3, 2, dtype=torch.int64), TypeError, "x must be a floating-point tensor"),
        (math.nan * randn(3, 2), ValueError, "NaN or infinite entries"),
    ],
)
def test_wrong_clouds_are_refused(ask, x, error, message) -> None:
    with pytest.raises(error, match=message):
        ask(lopsided(), x)


def test_weights_and_covariances_may_be_lists_or_arrays() -> None:
    one = lopsided()
    for kind in (Tensor.tolist, Tensor.numpy):
        other = sf.GaussianMixture(kind(one.weights), one.means, kind(one.covariances))
        assert close(other.weights, one.weights, 1e-15)
        assert torch.equal(other.covariances, one.covariances)


def test_narrow_clouds_are_not_squared_in_their_own_type() -> None:
    """1541^2 overflows in float16, while the answer fits."""
    x = torch.tensor([[1541.0, 200.0], [0.5, -300.0]])
    mixture = lopsided(torch.float32)
    for kind in (torch.float16, torch.bfloat16):
        narrow = x.to(kind)
        found = mixture.posterior(narrow, 1.0, 1.0)
        exact = mixture.posterior(narrow.float(), 1.0, 1.0)
        assert found.data.dtype == kind
        assert close(found.data.float(), exact.data, 1e-2)
        assert close(mixture.score(narrow).float(), mixture.score(narrow.float()), 1e-2)
        assert not torch.isnan(mixture.log_prob(narrow)).any()


def test_a_component_far_beyond_the_grid_has_no_mass_there() -> None:
    """More standard deviations away than a number can say, without a warning."""
    means = torch.tensor([[-1e300], [0.1]], dtype=torch.float64)
    points = sf.distributions.PointSet(means, None, 0.0)
    density = points.on_grid(sf.Grid(-3.0, 3.0, (32,)), 1.0, 1e-9, missing=0.6)
    assert density.total() == 0.5
