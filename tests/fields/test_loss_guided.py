"""Guidance by a loss against Gaussian posteriors in closed form, and guidance rescaled."""

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow.fields import GuidedField, LossGuidedField
from tests.problems import close, f64, randn

STANDARD = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(f64([[0.0]]), 1.0))


def seen(x0: Tensor) -> Tensor:
    """-ln p(y = 1.5 | x_0) for a measurement of variance 1 / 4."""
    return 2 * (x0[:, 0] - 1.5) ** 2


def moments(field: sf.fields.Field, n: int = 50) -> tuple[float, float]:
    start = field.process.prior(n, 1, seed=1).double()
    flow = sf.ODESolver(rtol=1e-5).solve(sf.reverse(field, eta=0.0), start).x[-1]
    # An affine flow: mean and variance of its own start, so that chance cancels.
    slope = (flow.max() - flow.min()) / (start.max() - start.min())
    middle = flow.mean() - slope * start.mean()
    return float(middle), float(slope**2)


def test_gaussian_data_and_a_measurement_have_their_posterior() -> None:
    """N(0, 1) seen as 1.5 with variance 1 / 4: mean 1.2, variance 0.2 (Bayes). The start, N(0, 1)
    in place of N(1.2 alpha, ...), costs 1.2 alpha sqrt(0.2) = 0.0035 of the mean."""
    mean, variance = moments(LossGuidedField(STANDARD, seen, data_std=1.0))
    lost = 1.2 * float(sf.VP()(f64(1.0)).alpha) * 0.2**0.5
    assert mean + lost == pytest.approx(1.2, abs=5e-4)
    assert variance == pytest.approx(0.2, abs=1e-3)
    sde = sf.reverse(LossGuidedField(STANDARD, seen, data_std=1.0))
    x = sf.SDESolver("heun", 100, seed=2).solve(sde, sf.VP().prior(1000, 1, seed=3).double()).x[-1]
    assert abs(float(x.mean()) - 1.2) < 3 * (0.2 / 1000) ** 0.5 + 5e-3
    assert abs(float(x.var()) - 0.2) < 3 * 0.2 * (2 / 1000) ** 0.5 + 5e-3


def test_posterior_sampling_without_spread_is_not_the_posterior() -> None:
    mean, variance = moments(LossGuidedField(STANDARD, seen))
    assert abs(mean - 1.2) + abs(variance - 0.2) > 0.05


def test_the_score_is_that_of_the_posterior_at_every_time_in_two_dimensions() -> None:
    """Data N(m, s^2), one direction measured: a posterior with a covariance (Kalman)."""
    m, s, a, y, r = f64([0.3, -0.2]), 0.7, f64([0.6, -1.1]), 0.9, 0.5
    prior = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(m[None], s))
    guided = LossGuidedField(prior, lambda x: (x @ a - y) ** 2 / (2 * r**2), data_std=s)
    gain = s**2 * a / (s**2 * a @ a + r**2)
    after = m + gain * (y - a @ m)
    spread = s**2 * (torch.eye(2).double() - torch.outer(gain, a))
    exact = sf.ExactField(sf.VP(), sf.GaussianMixture(f64([1.0]), after[None], spread[None]))
    x = randn(7, 2)
    for t in (0.02, 0.3, 0.9):
        assert close(guided.score(x, t), exact.score(x, t), 1e-9)
    times = torch.linspace(0.05, 0.95, 7).double()
    assert close(guided.score(x, times), exact.score(x, times), 1e-9)
    half = LossGuidedField(prior, guided.loss, 0.5, s)
    difference = guided.score(x, 0.3) - prior.score(x, 0.3)
    assert close(half.score(x, 0.3) - prior.score(x, 0.3), difference / 2, 1e-12)


def test_the_gradient_goes_through_the_field() -> None:
    """Without spread it is autograd's of the loss at x0_hat, for any field and loss."""
    net = sf.LearnedField(sf.VE(), sf.MLP(width=8, depth=1, waves=2).double(), data_std=1.0)
    x = randn(5, 2).requires_grad_()

    def rough(x0: Tensor) -> Tensor:
        return x0.sin().sum(1) + (x0**4).sum(1)

    guided = LossGuidedField(net, rough, 0.7)
    slope = torch.autograd.grad(rough(net.data(x, 0.4)).sum(), x)[0]
    found = guided.score(x, 0.4)
    assert found.requires_grad
    x = x.detach()
    assert close(found.detach(), net.score(x, 0.4).detach() - 0.7 * slope, 1e-9)
    bent = LossGuidedField(net, rough, data_std=1.0)  # not convex
    assert torch.isfinite(bent.score(x, 0.9)).all()
    linear = LossGuidedField(net, lambda x0: 2 * x0[:, 1], data_std=1.0)
    plain = LossGuidedField(net, linear.loss)
    assert close(linear.score(x, 0.4).detach(), plain.score(x, 0.4).detach())


class Flat(nn.Module):
    """The same number on every axis, whatever x: no spread over the coordinates."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.full_like(x, self.value)


def test_rescale_gives_the_spread_of_the_wanted_prediction() -> None:
    a, b = (sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(randn(3, 5, seed=k), 0.4))
            for k in (1, 2))  # fmt: skip
    x = randn(6, 5)
    plain, full, half = (GuidedField(a, b, 4.0, rescale=phi) for phi in (0.0, 1.0, 0.5))
    spread = a.noise(x, 0.3).std(1)
    assert close(full.noise(x, 0.3).std(1), spread, 1e-9)
    assert not close(plain.noise(x, 0.3).std(1), spread, 1e-2)
    assert close(half.noise(x, 0.3), (full.noise(x, 0.3) + plain.noise(x, 0.3)) / 2, 1e-9)
    run = sf.ODESolver("euler", 5)
    assert torch.isfinite(run.solve(sf.reverse(full, eta=0.0), x).x).all()


def test_rescale_at_zero_spread_gives_no_nan() -> None:
    for one, two in ((1.0, 2.0), (0.0, 0.0)):
        a, b = (sf.LearnedField(sf.VP(), Flat(v)) for v in (one, two))
        x = randn(6, 3)
        full, plain = (GuidedField(a, b, 3.0, rescale=phi) for phi in (0.7, 0.0))
        assert close(full.noise(x, 0.3), plain.noise(x, 0.3))
    line = randn(6, 1)
    other = sf.ExactField(sf.VP(), sf.GaussianMixture.isotropic(f64([[2.0]]), 0.5))
    assert close(GuidedField(STANDARD, other, 3.0, rescale=1.0).noise(line, 0.3),
                 GuidedField(STANDARD, other, 3.0).noise(line, 0.3))  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: LossGuidedField(2.0, seen), TypeError, "field must be a Field"),
        (lambda: LossGuidedField(STANDARD, 2.0), TypeError, "loss must be a function"),
        (lambda: LossGuidedField(STANDARD, seen, data_std=0.0), ValueError, "data_std"),
        (
            lambda: LossGuidedField(STANDARD, lambda x: x).score(f64([[1.0]]), 0.5),
            ValueError, r"one number for each particle, \(1,\).*sum over the coordinates",
        ),
        (
            lambda: LossGuidedField(STANDARD, lambda x: x.detach()[:, 0]).score(f64([[1.0]]), 0.5),
            ValueError, "loss has no gradient; write it with torch",
        ),
        (lambda: GuidedField(STANDARD, STANDARD, 2.0, rescale=2.0), ValueError, "from 0 to 1"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)
