"""The evidence lower bound is below the log likelihood and tight where the chain is exact."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import sdeflow as sf
from sdeflow.analysis import (
    KernelVariance,
    elbo,
    elbo_weights,
    gaussian_kl,
    large_variance,
    learned_variance,
    optimal_variance,
    small_variance,
)
from sdeflow.processes.time_grids import log_snr_times
from sdeflow.random_streams import Stream, random_generator
from tests.problems import close, f64, lopsided, randn

VP = sf.VP()
LINE = sf.GaussianMixture(  # one dimension, where every average is a quadrature
    f64([0.5, 0.3, 0.2]), f64([[1.0], [-0.8], [0.1]]), f64([[[0.04]], [[0.09]], [[0.01]]])
)
AXIS = torch.linspace(-12, 12, 2001, dtype=torch.float64)[:, None]
Choice = Callable[[sf.fields.ExactField, Tensor], KernelVariance]
CHOICES: dict[str, Choice] = {
    "small": lambda field, times: small_variance(field.process, times),
    "large": lambda field, times: large_variance(field.process, times),
    "optimal": lambda field, times: optimal_variance(field, times, seed=7),
}
each_choice = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES.keys())


def normal(width: float = 1.0, mean: float = 0.0, d: int = 2) -> sf.GaussianMixture:
    return sf.GaussianMixture.isotropic(torch.full((1, d), mean, dtype=torch.float64), width)


def scaled(v: KernelVariance, by: float) -> KernelVariance:
    return KernelVariance(v.times, by * v.value)


# ---- the divergence of two Gaussians ------------------------------------------------------------


def test_gaussian_kl_equals_that_of_torch_and_of_monte_carlo() -> None:
    mean1, mean2 = randn(1, 3, seed=1), randn(1, 3, seed=2)
    var1, var2 = f64([[0.5, 2.0, 1.3]]), f64([[1.1, 0.7, 1.3]])
    got = gaussian_kl(mean1, var1, mean2, var2)
    p, q = (torch.distributions.Normal(m, v.sqrt()) for m, v in ((mean1, var1), (mean2, var2)))
    assert close(got, torch.distributions.kl_divergence(p, q).sum(1))
    n = 40_000
    x = mean1 + var1.sqrt() * randn(n, 3, seed=3)
    ratio = (p.log_prob(x) - q.log_prob(x)).sum(1)
    error = float(ratio.std()) / math.sqrt(n)
    assert abs(float(ratio.mean() - got)) < 4 * error
    assert abs(float(ratio.mean() - gaussian_kl(mean2, var2, mean1, var1))) > 20 * error
    assert torch.equal(gaussian_kl(mean1, 0.3, mean1, 0.3), f64([0.0]))
    with pytest.raises(ValueError, match="positive"):
        gaussian_kl(mean1, 0.0, mean2, 1.0)


# ---- choices of v -------------------------------------------------------------------------------


def test_optimal_variance_is_large_for_unit_gaussians_and_small_for_a_point() -> None:
    """Large on VP, small on any process (Ho et al., section 3.2)."""
    times = log_snr_times(VP, 12)
    unit = optimal_variance(sf.ExactField(VP, normal()), times, n=10)
    assert close(unit.value, large_variance(VP, times).value, rtol=1e-10)
    assert not close(unit.value[:-1], small_variance(VP, times).value[:-1], rtol=0.1)
    for process in (VP, sf.VE(), sf.Linear()):
        times = log_snr_times(process, 12)
        point = optimal_variance(sf.ExactField(process, normal(0.0)), times, n=10)
        assert close(point(times), small_variance(process, times)(times), rtol=1e-10)
        assert float(point.value[-1]) < 1e-20
    times = log_snr_times(sf.VE(), 12)
    flat = optimal_variance(sf.ExactField(sf.VE(), normal(1e6)), times, n=10)
    assert close(flat.value, large_variance(sf.VE(), times).value, rtol=1e-8)


@pytest.mark.parametrize("process", [VP, sf.VE(), sf.Linear()], ids=lambda p: type(p).__name__)
def test_optimal_variance_is_that_of_the_exact_step(process: sf.processes.Process) -> None:
    """Noise to s, then to t, and step back by the mean: the remaining variance is v."""
    field, n = sf.ExactField(process, lopsided()), 40_000
    levels = f64([0.8, 0.4])
    t, s = process.time(-2 * torch.log(levels)).tolist()
    times = f64([t, s])
    now, then = process(times[0]), process(times[1])
    x0 = field.sample(n, 1)
    xs = then.alpha * x0 + then.sigma * randn(n, 2, seed=2)
    beta = large_variance(process, times).value[0]
    xt = now.alpha / then.alpha * xs + beta.sqrt() * randn(n, 2, seed=3)
    assert float(torch.cov(xt.T).trace()) == pytest.approx(
        float(lopsided().noised(now.alpha, now.sigma).covariance().trace()), rel=0.03
    )
    silent = sf.ancestral(field, variance=lambda times: torch.zeros(len(times) - 1))
    mean = sf.SDESolver(times=times).solve(silent, xt, save=1).x[-1]
    left = ((xs - mean) ** 2).mean(1)
    want = float(optimal_variance(field, times, n=20_000, seed=4).value[0])
    error = float(left.std()) / math.sqrt(n)
    assert abs(float(left.mean()) - want) < 5 * error
    # The mean alone is too narrow by v, and `small` is not what is missing.
    assert abs(float(left.mean()) - float(small_variance(process, times).value[0])) > 20 * error


def test_learned_variance_is_optimal_for_the_exact_field_and_larger_for_a_wrong_one() -> None:
    field, times = sf.ExactField(VP, lopsided()), log_snr_times(VP, 15)
    optimal = optimal_variance(field, times, n=20_000, seed=1)
    learned = learned_variance(field, field.sample(20_000, 2), times, seed=3)
    assert float((learned.value / optimal.value).log().abs().max()) < 0.03

    class Loud(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            c = VP(t)
            return 1.1 * lopsided().posterior(x, c.alpha, c.sigma).noise

    wrong = sf.LearnedField(VP, Loud())
    wider = learned_variance(wrong, field.sample(20_000, 2), times, seed=3)
    assert (wider.value > learned.value).all()
    with pytest.raises(TypeError, match="learned_variance"):
        optimal_variance(wrong, times)  # type: ignore[arg-type]


def test_learned_variance_has_the_highest_bound() -> None:
    """On the draws that it was fitted to: in each step, against 5 % more and less."""
    field, times = sf.ExactField(VP, lopsided()), log_snr_times(VP, 8)
    x0 = field.sample(500, 2)
    learned = learned_variance(field, x0, times, seed=3)
    best = elbo(field, x0, times, learned, seed=3).terms.mean(1)
    for by in (0.95, 1.05):
        other = elbo(field, x0, times, scaled(learned, by), seed=3).terms.mean(1)
        assert float(other[0]) == float(best[0])
        assert (other[1:] > best[1:]).all()


# ---- the bound ----------------------------------------------------------------------------------


def test_bound_of_a_gaussian_is_its_log_density() -> None:
    """Every exact step is Gaussian, so that they are equal for any K and at every point."""
    mixture, n = normal(0.7, 0.4), 20_000
    field = sf.ExactField(VP, mixture)
    for steps in (1, 3, 30):
        times = log_snr_times(VP, steps)
        best = optimal_variance(field, times, n=10)
        for point in (f64([[0.4, 0.4]]), f64([[1.9, -0.8]])):
            bound = elbo(field, point.expand(n, 2), times, best, seed=steps)
            # The prior is not quite the density at t_max: 1e-4 nats here.
            assert abs(bound.mean - float(mixture.log_prob(point))) < 4 * bound.error + 2e-4
            assert bound.error < 0.02


def short_by(choice: Choice, steps: int, n: int, seed: int) -> float:
    """Mean of ln p(x_0) - bound over n draws, in standard errors of its own."""
    mixture = lopsided()
    field, times = sf.ExactField(VP, mixture), log_snr_times(VP, steps)
    x0 = mixture.sample(n, seed)
    short = mixture.log_prob(x0) - elbo(field, x0, times, choice(field, times), seed + 100).total
    return float(short.mean() / short.std()) * math.sqrt(n)


@pytest.mark.parametrize("seed", range(5))
@each_choice
def test_bound_is_below_the_log_likelihood(choice: Choice, seed: int) -> None:
    """In the mean over the data, by four standard errors."""
    assert short_by(choice, 10, 2000, seed) > 4


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
@each_choice
def test_bound_is_below_the_log_likelihood_after_many_steps(choice: Choice, seed: int) -> None:
    assert short_by(choice, 100, 60_000, seed) > 4


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(5))
def test_bound_is_below_the_log_likelihood_after_a_thousand_steps(seed: int) -> None:
    """The other variances are too near for sampling: they are compared by quadrature."""
    assert short_by(CHOICES["small"], 1000, 8000, seed) > 4


@functools.cache
def unsure(t: float) -> float:
    """E Var(x_0 | x_t) of LINE under VP, by quadrature."""
    c = VP(f64(t))
    x = AXIS / 12 * (2 * c.alpha + 8 * c.sigma)
    p = LINE.noised(c.alpha, c.sigma).log_prob(x).exp()
    known = sf.ExactField(VP, LINE).posterior(x, c).data_variance
    return float(torch.trapezoid(p * known, x[:, 0]))


@dataclass(frozen=True, eq=False)
class Blurred(sf.fields.Field):
    """A field whose x0 is wrong by the root-mean-square error of the exact one, everywhere."""

    x0: float

    def row(self, c: sf.processes.Coefficients) -> tuple:
        return sf.fields.Prediction.DATA.row(c)

    def at(self, t: Tensor, c: sf.processes.Coefficients, like: Tensor):
        return lambda x: torch.full_like(x, self.x0 - math.sqrt(unsure(float(t))))


def exact_bound(choice: str, steps: int) -> tuple[float, float]:
    """The mean of `elbo` over LINE without sampling, and the mean log density.

    The terms are linear in |x_0|^2 and |x_0 - x0_hat|^2: one point that has the mean of both.
    """
    times = log_snr_times(VP, steps)
    point = (LINE.covariance() + LINE.mean() ** 2).sqrt()
    field = Blurred(VP, float(point))
    v = {
        "small": lambda: small_variance(VP, times),
        "large": lambda: large_variance(VP, times),
        "optimal": lambda: learned_variance(field, point, times),
    }[choice]()
    log_p = LINE.log_prob(AXIS)
    entropy = -float(torch.trapezoid(log_p.exp() * log_p, AXIS[:, 0]))
    return float(elbo(field, point, times, v).total), -entropy


@pytest.mark.parametrize("choice", ["small", "large", "optimal"])
def test_gap_of_the_bound_by_quadrature_falls_as_one_over_the_steps(choice: str) -> None:
    """K = 10, 100, 1000."""
    gaps = []
    for steps in (10, 100, 1000):
        bound, truth = exact_bound(choice, steps)
        gaps.append(truth - bound)
    assert gaps[0] > gaps[1] > gaps[2] > 0
    slope = math.log10(gaps[2] / gaps[1])
    assert slope == pytest.approx(-1.0, abs=0.1)


@pytest.mark.parametrize("choice", ["small", "large", "optimal"])
def test_mean_of_the_bound_is_that_of_quadrature(choice: str) -> None:
    field, times = sf.ExactField(VP, LINE), log_snr_times(VP, 10)
    bound = elbo(field, LINE.sample(40_000, 1), times, CHOICES[choice](field, times), seed=2)
    assert abs(bound.mean - exact_bound(choice, 10)[0]) < 4 * bound.error


@each_choice
def test_bound_is_below_the_density_of_the_chain_at_every_point(choice: Choice) -> None:
    """By `sampler_density` on a grid, and the last step."""
    field, times, n = sf.ExactField(VP, LINE), log_snr_times(VP, 6), 4000
    v = choice(field, times)
    grid = sf.Grid(-6.0, 6.0, (2400,))
    start = normal(float(VP(times[0]).sigma), d=1).on_grid(grid)
    reached = sf.fokker_planck.sampler_density(
        sf.ancestral(field, variance=v), start, times
    ).densities[-1]
    x = grid.centres()
    arrived = field.data(x, times[-1])[:, 0]
    points = f64([1.0, 0.9, -0.8, 0.1, 0.4, -1.4, 1.6])
    last = torch.distributions.Normal(arrived, v.value[-1].sqrt())
    bounds = [elbo(field, p.expand(n, 1), times, v, seed=3) for p in points]
    width = 6 * float(v.value[-1].sqrt())
    assert width > 3 * grid.width[0]  # the last step is resolved
    for p, bound in zip(points, bounds, strict=True):
        density = math.log(float((reached.mass * last.log_prob(p).exp()).sum()))
        assert bound.mean - 4 * bound.error < density


def test_terms_sum_to_the_bound_and_all_but_the_last_are_positive() -> None:
    field, times = sf.ExactField(VP, lopsided()), log_snr_times(VP, 20)
    x0 = field.sample(300, 0)
    bound = elbo(field, x0, times, large_variance(VP, times), seed=1)
    assert bound.terms.shape == (22, 300)
    assert (bound.terms[:-1] > 0).all()
    assert close(bound.total, -bound.terms.sum(0))
    assert bound.mean == pytest.approx(float(bound.total.mean()))
    words = f"{bound.mean:.6g} +- {bound.error:.2g} nats"
    assert repr(bound) == f"evidence lower bound of 300 points in 21 steps: {words}"
    c = VP(times[0])
    q, p = (torch.distributions.Normal(m, c.sigma) for m in (c.alpha * x0, 0 * x0))
    assert close(bound.terms[0], torch.distributions.kl_divergence(q, p).sum(1), rtol=1e-9)
    again = elbo(field, x0[:50], times, large_variance(VP, times), seed=1)
    assert close(again.total, bound.total[:50], rtol=1e-9)
    other = elbo(field, x0, times, large_variance(VP, times), seed=2)
    assert not close(other.total, bound.total, rtol=1e-3)


# ---- the simple loss ----------------------------------------------------------------------------


def gradient(network: torch.nn.Module, value: Tensor) -> Tensor:
    return torch.cat(
        [
            g.reshape(-1)
            for g in torch.autograd.grad(value, [*network.parameters()], retain_graph=True)
        ]
    )


@pytest.mark.parametrize("choose", [small_variance, large_variance], ids=["small", "large"])
def test_gradient_of_the_bound_is_that_of_the_weighted_simple_loss(choose: Callable) -> None:
    """Same noise: the same gradient, to rounding, as `loss` weighted by `elbo_weights`."""
    torch.manual_seed(0)
    network = sf.MLP(2).double()
    field, times, seed = sf.LearnedField(VP, network), log_snr_times(VP, 6), 5
    v, x0 = choose(VP, times), lopsided().sample(40, 1)
    bound = elbo(field, x0, times, v, seed)
    simple, squares = [], []
    for k, t in enumerate(times):
        eps = torch.from_numpy(random_generator(seed, Stream.PROBE, k).standard_normal((40, 2)))
        each = sf.training.loss(
            field,
            x0,
            t.expand(40),
            eps,
            sf.training.prediction_weighting(sf.fields.Prediction.NOISE),
        )
        simple.append(each.mean())
        squares.append(2 * each)  # `loss` is per coordinate
    weights = elbo_weights(VP, v)
    constant = bound.terms[1:] - weights[:, None] * torch.stack(squares)
    assert (constant - constant.mean(1, keepdim=True)).abs().max() < 1e-8
    want = gradient(network, 2 * (weights * torch.stack(simple)).sum())
    bound = elbo(field, x0, times, v, seed)
    assert close(gradient(network, -bound.total.mean()), want, rtol=1e-9)
    plain = gradient(network, sum(simple, f64(0.0)))
    cosine = torch.nn.functional.cosine_similarity(plain, want, dim=0)
    assert float(cosine) < 0.999  # the weights are not all one


def test_weights_of_the_small_variance_are_differences_of_the_snr() -> None:
    """The loss in x_0 is (1/2) int |x_0 - x0_hat|^2 d SNR (Kingma et al. 2021, eq. 15)."""
    for process in (VP, sf.VE(), sf.Linear()):
        times = log_snr_times(process, 30)
        weights = elbo_weights(process, small_variance(process, times))
        snr = torch.exp(process.log_snr(times))
        assert close(weights[:-1] * snr[:-1], snr.diff() / 2, rtol=1e-9)


# ---- the sampler --------------------------------------------------------------------------------


def test_ancestral_with_the_small_variance_is_ancestral() -> None:
    field, times = sf.ExactField(VP, lopsided()), log_snr_times(VP, 9)
    x, solver = VP.prior(64, 2, 0, torch.float64), sf.SDESolver(times=times, seed=4)
    plain = solver.solve(sf.ancestral(field), x, save=1).x
    small = solver.solve(sf.ancestral(field, variance=small_variance(VP, times)), x, save=1).x
    assert torch.equal(small, plain)
    large = solver.solve(sf.ancestral(field, variance=large_variance(VP, times)), x, save=1).x
    assert not close(large, plain, rtol=0.01)


def test_two_steps_keep_a_unit_gaussian_with_large_variance_only() -> None:
    field, times, n = sf.ExactField(VP, normal()), log_snr_times(VP, 2), 20_000
    x, solver = VP.prior(n, 2, 0, torch.float64), sf.SDESolver(times=times, seed=4)
    widths = {}
    for name, choose in (
        ("large", large_variance),
        ("small", small_variance),
    ):
        sde = sf.ancestral(field, variance=choose(VP, times))
        widths[name] = float(solver.solve(sde, x, save=1).x[-1].var(0).mean())
    error = math.sqrt(1 / n)
    assert abs(widths["large"] - 1) < 4 * error
    assert widths["small"] < 1 - 100 * error


def test_variances_differ_in_w2_at_few_steps_and_agree_at_many() -> None:
    """To the spiral, exact field, VP (claim R5): optimal is best at 5 steps, all agree at 200."""
    spiral, n = sf.datasets.spiral(), 600
    field = sf.ExactField(VP, sf.distributions.PointSet(spiral.distribution.points))
    data = spiral.sample(n, 50, torch.float64)
    x = VP.prior(n, 2, 0, torch.float64)

    def distance(steps: int, choice: str) -> float:
        times = log_snr_times(VP, steps)
        sde = sf.ancestral(field, variance=CHOICES[choice](field, times))
        end = sf.SDESolver(times=times, seed=1).solve(sde, x, save=1).x[-1]
        return sf.wasserstein(field.data(end, times[-1]), data)

    few, many = ({c: distance(k, c) for c in CHOICES} for k in (5, 200))
    mean, std = sf.diagnostics.sampling_floor(
        lambda m, s: spiral.sample(m, s, torch.float64), n, repeats=6
    )
    assert few["optimal"] < 0.75 * few["large"] < 0.75 * few["small"]
    assert all(d < mean + 4 * std for d in many.values())
    assert max(many.values()) - min(many.values()) < 0.1 * (few["small"] - few["optimal"])


# ---- bad arguments ------------------------------------------------------------------------------


def test_bad_chains_are_refused() -> None:
    field, times = sf.ExactField(VP, lopsided()), log_snr_times(VP, 5)
    v, x = large_variance(VP, times), VP.prior(4, 2, 0, torch.float64)
    with pytest.raises(ValueError, match="fall"):
        small_variance(VP, times.flip(0))
    with pytest.raises(ValueError, match="outside"):
        large_variance(VP, f64([2.0, 0.5]))
    for other in (
        log_snr_times(VP, 4),
        sf.processes.uniform_times(VP.t_max, VP.t_min, 5),
    ):
        with pytest.raises(ValueError, match="belong to 6 times"):
            elbo(field, x, other, v)
        with pytest.raises(ValueError, match="belong to 6 times"):
            sf.SDESolver(times=other).solve(sf.ancestral(field, variance=v), x)
    with pytest.raises(ValueError, match="eta = 1"):
        sf.ancestral(field, 0.5, v)
    for bad, why in ((-0.1, "negative"), (math.nan, "finite"), (math.inf, "finite")):
        wrong = sf.ancestral(field, variance=lambda t, bad=bad: torch.full((len(t) - 1,), bad))
        with pytest.raises(ValueError, match=why):
            sf.SDESolver(times=times).solve(wrong, x)
    with pytest.raises(ValueError, match="one for each step"):
        sf.SDESolver(times=times).solve(sf.ancestral(field, variance=lambda t: t), x)
