"""Exact and learned fields: E[x_0 | x_t], E[eps | x_t], and the predictions made of them."""

import json
import math
import resource
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import sdeflow as sf
from sdeflow._blocks import PAGE, ROWS
from sdeflow.fields.exact import ExactField
from sdeflow.fields.prediction import unit_row
from sdeflow.processes.process import Coefficients
from tests.problems import PROCESSES, Wavy, close, f64, lopsided, randn, times_of


def cloud_at(process: sf.processes.Process, t: Tensor, n: int = 20) -> Tensor:
    """Points where x_t has density under the lopsided mixture, and further out."""
    c = process(t)
    return 1.5 * lopsided().noised(c.alpha, c.sigma).sample(n, seed=8)


def softmax_field(
    points: Tensor, x: Tensor, alpha: float, sigma: float, width: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Bayes' rule over the points, in float64: E[x_0 | x], E[eps | x], tr Cov(x_0 | x)."""
    points, x = points.double(), x.double()
    s2 = alpha**2 * width**2 + sigma**2
    off = x[:, None] - alpha * points
    w = torch.softmax(-(off**2).sum(-1) / (2 * s2), 1)
    gain = alpha * width**2 / s2  # each point's own round Gaussian, pulled towards x
    each = points + gain * off
    data = torch.einsum("nm,nmd->nd", w, each)
    noise = (x - alpha * data) / sigma
    spread = torch.einsum("nm,nmd->n", w, (each - data[:, None]) ** 2)
    return data, noise, spread + x.shape[1] * width**2 * sigma**2 / s2


# ------------------------------------------------------------------------------------------- exact


def test_exact_score_is_the_gradient_of_the_log_density(process: sf.processes.Process) -> None:
    """Tweedie's formula; the other three predictions follow by the definition of x_t."""
    mixture = lopsided()
    field = sf.ExactField(process, mixture)
    for t in times_of(process, 5):
        c = process(t)
        x = cloud_at(process, t).requires_grad_()
        score = torch.autograd.grad(mixture.noised(c.alpha, c.sigma).log_prob(x).sum(), x)[0]
        x = x.detach()
        assert close(field.score(x, t), score, 1e-9)
        assert close(field.noise(x, t), -c.sigma * score, 1e-9)
        assert close(c.alpha * field.data(x, t), x + c.sigma**2 * score, 1e-9)
        # dx/dt of the flow at x: f x - g^2 / 2 score, from the process alone.
        flow = process.drift(t) * x - process.diffusion(t) ** 2 / 2 * score
        assert close(field.velocity(x, t), flow, 1e-8, 1e-9 * float(process.drift(t).abs()))
        x0, eps = field.split(x, t)
        assert close(c.alpha * x0 + c.sigma * eps, x, 1e-12)


def test_one_time_per_particle_equals_particles_alone(process: sf.processes.Process) -> None:
    t = times_of(process, 6)
    x = randn(6, 2)
    points = lopsided().sample(30, 0)
    network = sf.LearnedField(process, Perfect(process, lopsided(), sf.fields.Prediction.NOISE))
    for field in (
        sf.ExactField(process, lopsided()),
        sf.ExactField(process, sf.distributions.PointSet(points, width=0.1)),
        network,
    ):
        alone = torch.cat([field.data(x[i : i + 1], t[i]) for i in range(6)])
        assert close(field.data(x, t), alone, 1e-10)


@pytest.mark.parametrize("width", [0.0, 0.2])
def test_float_coefficients_give_the_same_as_tensors(
    process: sf.processes.Process, width: float
) -> None:
    """A solver's table holds plain floats; they must not be rounded to float32."""
    points = lopsided().sample(40, 0)
    for field in (
        sf.ExactField(process, lopsided()),
        sf.ExactField(process, sf.distributions.PointSet(points, width=width)),
    ):
        for t in times_of(process, 3):
            c, x = process(t), cloud_at(process, t)
            plain = field.at(t, Coefficients(*map(float, c)), x)(x)
            assert close(plain, field.at(t, c, x)(x), 1e-11)
            assert close(field.noise(x, float(t)), field.noise(x, t), 1e-11)


# -------------------------------------------------------------------------------------- point sets


@pytest.mark.parametrize("width", [0.0, 0.3])
def test_point_set_field_equals_that_of_equal_gaussians_and_bayes_rule(
    process: sf.processes.Process, width: float
) -> None:
    """Against a mixture of equal components, and against Bayes' rule written out."""
    points = lopsided().sample(150, seed=2)
    empirical = sf.ExactField(process, sf.distributions.PointSet(points, width=width))
    exact = sf.ExactField(process, sf.GaussianMixture.isotropic(points, width))
    for t in times_of(process, 5):
        c, x = process(t), cloud_at(process, t)
        mine, other = (field.posterior(x, c) for field in (empirical, exact))
        brute = softmax_field(points, x, float(c.alpha), float(c.sigma), width)
        # The logits are sums of size (alpha / s)^2 |x_i|^2, each rounded to 1e-16 of itself.
        snr = float(c.alpha**2 / (c.sigma**2 + c.alpha**2 * width**2))
        rtol = 1e-12 * (10 + snr)
        for a, b, want in zip(mine, other, brute, strict=True):
            assert close(a, want, rtol, rtol)
            assert close(b, want, rtol, rtol)


def test_point_set_field_is_the_limit_of_narrow_gaussians() -> None:
    process, points = sf.VP(), lopsided().sample(50, seed=2)
    t = f64(0.3)
    x = cloud_at(process, t)
    still = sf.ExactField(process, sf.distributions.PointSet(points)).data(x, t)
    off = [
        float(
            (
                sf.ExactField(process, sf.GaussianMixture.isotropic(points, w)).data(x, t) - still
            ).norm()
        )
        for w in (1e-2, 5e-3)
    ]
    assert off[0] / off[1] == pytest.approx(4, rel=0.01)  # of second order in the width


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.3, 5.0])
def test_point_set_field_in_float32_is_accurate_at_small_noise(sigma: float) -> None:
    """Against float64 at the very same float32 cloud; large logits are worked out in float64."""
    points = lopsided().sample(400, seed=2).float()
    field = sf.ExactField(sf.EDM(), sf.distributions.PointSet(points))
    x = points[:200] + sigma * randn(200, 2, dtype=torch.float32)
    data, noise, _ = softmax_field(points, x, 1.0, float(torch.tensor(sigma)))
    with torch.no_grad():
        x0, eps = field.split(x, sigma)
    assert x0.dtype == torch.float32
    # Below |x_i|^2 / sigma^2 = 1000 in float32: logits are right to 1000 * 6e-8, weights as well.
    bound = 1e-6 if sigma < 0.1 else 2e-4
    assert close(x0.double(), data, bound)
    assert close(eps.double(), noise, bound / min(sigma, 1.0) if sigma >= 0.1 else 1e-5)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_posterior_variance_is_nonnegative(sigma: float) -> None:
    """Between and beyond the points, where a variance is a difference of equal numbers."""
    field = sf.ExactField(sf.EDM(), sf.distributions.PointSet(lopsided().sample(40, 0)))
    for dtype in (torch.float32, torch.float64):
        x = 6 * randn(500, 2, dtype=dtype)
        known = field.posterior(x, sf.EDM()(f64(sigma)).along(x))
        assert float(known.data_variance.min()) >= 0


def test_point_set_field_is_translation_equivariant_far_from_the_origin() -> None:
    """Moving points and cloud together moves x0_hat and leaves eps_hat."""
    points, process = lopsided().sample(100, seed=2), sf.EDM()
    x, shift = points[:30] + 0.2 * randn(30, 2), f64([1000.0, -300.0])
    here = sf.ExactField(process, sf.distributions.PointSet(points)).split(x, 0.2)
    there = sf.ExactField(process, sf.distributions.PointSet(points + shift)).split(x + shift, 0.2)
    assert close(there[0] - shift, here[0], 0.0, 1e-9)
    assert close(there[1], here[1], 0.0, 1e-8)


def test_fields_of_classes_average_to_the_field_of_all() -> None:
    """x0_hat = sum_c P(c | x) x0_hat_c, the weights from the density of each class's points."""
    process, width = sf.processes.Cosine(), 0.1
    points, labels = lopsided().sample_labelled(90, seed=5)
    labels = 2 * labels + 1
    whole = sf.ExactField(process, sf.distributions.PointSet(points, labels, width))
    for t in times_of(process, 4):
        c, x = process(t), cloud_at(process, t)
        logits, data, noise = [], [], []
        for label in (1, 3, 5):
            mine = points[labels == label]
            mixture = sf.GaussianMixture.isotropic(mine, width).noised(c.alpha, c.sigma)
            logits.append(mixture.log_prob(x) + torch.log(f64(len(mine) / len(points))))
            part = whole.given(label)
            data.append(part.data(x, t))
            noise.append(part.noise(x, t))
            alone = softmax_field(mine, x, float(c.alpha), float(c.sigma), width)
            assert close(data[-1], alone[0], 1e-10)
        w = torch.softmax(torch.stack(logits), 0)[..., None]
        assert close(whole.data(x, t), (w * torch.stack(data)).sum(0), 1e-9)
        assert close(whole.noise(x, t), (w * torch.stack(noise)).sum(0), 1e-9)


def test_point_set_field_samples_its_points() -> None:
    points = lopsided().sample(20, seed=5)
    x = sf.ExactField(sf.VP(), sf.distributions.PointSet(points)).sample(500, 0)
    assert (x[:, None] - points).abs().sum(-1).min(1).values.max() == 0
    assert len(torch.unique(torch.cdist(x, points).argmin(1))) == 20
    wide = (
        sf.ExactField(sf.VP(), sf.distributions.PointSet(points[:1], width=0.3)).sample(5000, 0)
        - points[0]
    )
    assert float(wide.std()) == pytest.approx(0.3, rel=0.04)
    exact = sf.ExactField(sf.VP(), lopsided())
    assert torch.equal(exact.sample(50, 3), lopsided().sample(50, 3))


@pytest.mark.parametrize("t", [0.01, 0.5])
def test_jacobian_trace_of_the_point_set_field_is_the_posterior_variance(t: float) -> None:
    """Backwards twice, and forwards: tr d(x0_hat)/dx = alpha / sigma^2 tr Cov(x_0 | x)."""
    process = sf.VP()
    field = sf.ExactField(process, sf.distributions.PointSet(lopsided().sample(60, seed=1)))
    c = process(f64(t))
    x = cloud_at(process, f64(t), 5)
    trace = c.alpha / c.sigma**2 * field.posterior(x, c).data_variance
    jacobian = torch.autograd.functional.jacobian(lambda x: field.data(x, t), x)
    assert close(torch.einsum("nini->n", jacobian), trace, 1e-6, 1e-9)
    y = x.clone().requires_grad_()
    first = torch.autograd.grad(field.data(y, t).sum(), y, create_graph=True)[0]
    assert torch.isfinite(torch.autograd.grad(first.sum(), y)[0]).all()


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, on first use
def test_point_set_field_has_forward_mode_derivatives() -> None:
    process = sf.VP()
    field = sf.ExactField(process, sf.distributions.PointSet(lopsided().sample(60, seed=1)))
    c, x, v = process(f64(0.5)), randn(5, 2), randn(5, 2, seed=1)

    def noise(x: Tensor) -> Tensor:
        return field.posterior(x, c).noise

    h = 1e-5
    slope = (noise(x + h * v) - noise(x - h * v)) / (2 * h)
    with torch.autograd.forward_ad.dual_level():
        out = noise(torch.autograd.forward_ad.make_dual(x, v))
        got = torch.autograd.forward_ad.unpack_dual(out).tangent
    assert got is not None
    assert close(got, slope, 1e-8)


class Largest(TorchDispatchMode):
    """Records the size of the largest tensor that torch makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else (out,):
            if isinstance(made, Tensor):
                self.numel = max(self.numel, made.numel())
        return out


@pytest.mark.parametrize("sigma", [0.01, 1.0])
def test_point_set_field_never_forms_the_matrix_of_particles_and_points(sigma: float) -> None:
    """No n x m tensor, unless a derivative is needed (which shows that `Largest` works)."""
    n = m = 1500
    field = sf.ExactField(sf.EDM(), sf.distributions.PointSet(randn(m, 2, dtype=torch.float32)))
    x = randn(n, 2, seed=1, dtype=torch.float32)
    for grad in (True, False):
        with torch.set_grad_enabled(grad), Largest() as seen:
            field.split(x, sigma)
        assert seen.numel < n * m / 20
    with Largest() as seen:
        field.split(x.requires_grad_(), sigma)
    assert seen.numel >= n * m


def test_point_set_field_of_many_points_takes_little_memory() -> None:
    """20000 x 20000 logits would be 1.6 GB."""
    n = 20_000
    field = sf.ExactField(sf.EDM(), sf.distributions.PointSet(randn(n, 2, dtype=torch.float32)))
    x = randn(n, 2, seed=1, dtype=torch.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    field.data(x, 1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


# ----------------------------------------------------------------------------------------- learned


class Perfect(nn.Module):
    """A network that predicts one row exactly."""

    def __init__(
        self, process: sf.processes.Process, mixture: sf.GaussianMixture, row: sf.fields.Prediction
    ) -> None:
        super().__init__()
        self.exact, self.row = sf.ExactField(process, mixture), row

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.exact.predict(self.row, x, t)


class PerfectUnit(nn.Module):
    """The same with EDM's preconditioning: it takes x / sqrt(V) and ln(sigma / (alpha s)) / 4."""

    def __init__(
        self, process: sf.processes.Process, mixture: sf.GaussianMixture, std: float
    ) -> None:
        super().__init__()
        self.process, self.mixture, self.std = process, mixture, std

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        c = self.process(self.process.time(-8 * level - 2 * math.log(self.std))).along(x)
        size = torch.sqrt((c.alpha * self.std) ** 2 + c.sigma**2)
        known = self.mixture.posterior(x * size, c.alpha, c.sigma)
        return (c.sigma * known.data / self.std - c.alpha * self.std * known.noise) / size


@pytest.mark.parametrize("row", sf.fields.Prediction)
def test_network_that_predicts_exactly_gives_the_exact_field(
    process: sf.processes.Process, row: sf.fields.Prediction
) -> None:
    mixture = lopsided()
    exact = sf.ExactField(process, mixture)
    learned = sf.LearnedField(process, Perfect(process, mixture, row), predicts=row)
    for t in times_of(process, 5)[1:]:
        c, x = process(t), cloud_at(process, t)
        blur = float(max(c.sigma / c.alpha, c.alpha / c.sigma))  # where a row loses digits
        for name in ("data", "noise", "score", "velocity"):
            got, want = getattr(learned, name)(x, t), getattr(exact, name)(x, t)
            assert close(got, want, 1e-12 * blur, 1e-12 * blur)


@pytest.mark.parametrize("std", [0.5, 1.0, 3.0])
def test_preconditioned_network_that_predicts_exactly_gives_the_exact_field(
    process: sf.processes.Process, std: float
) -> None:
    mixture = lopsided()
    exact = sf.ExactField(process, mixture)
    learned = sf.LearnedField(process, PerfectUnit(process, mixture, std), data_std=std)
    times = times_of(process, 5)
    for t in times:
        x = cloud_at(process, t)
        for grad in (True, False):  # in blocks, and as one
            with torch.set_grad_enabled(grad):
                assert close(learned.data(x, t), exact.data(x, t), 1e-8)
                assert close(learned.noise(x, t), exact.noise(x, t), 1e-8)
        c = Coefficients(*map(float, process(t)))
        u = learned.at(t, process(t), x)(x)
        assert close(learned.at(t, c, x)(x), u, 1e-9)
    x = randn(5, 2)
    assert close(learned.data(x, times), exact.data(x, times), 1e-8)


def test_preconditioned_network_takes_input_of_unit_variance() -> None:
    process, mixture = sf.EDM(), lopsided()
    std = float((mixture.covariance().trace() + (mixture.mean() ** 2).sum()) / 2) ** 0.5
    seen = []

    class Spy(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append((float(x.square().mean()), float(t)))
            return torch.zeros_like(x)

    field = sf.LearnedField(process, Spy(), data_std=std)
    for t in times_of(process, 4):
        c = process(t)
        field.data(mixture.noised(c.alpha, c.sigma).sample(20_000, 1), t)
        size, level = seen[-1]
        assert size == pytest.approx(1, abs=0.05)
        assert level == pytest.approx(float(torch.log(t / std)) / 4, rel=1e-12)
        assert field.row(c) == unit_row(c, std)


def random_mlp(labels: int = 0) -> sf.MLP:
    """An MLP with random last weights; those of an untrained one are zero."""
    network = sf.MLP(width=64, depth=3, labels=labels)
    with torch.no_grad():
        network.last.weight.normal_(generator=torch.Generator().manual_seed(1))
    return network


@pytest.mark.parametrize("waves", [0, 48])
def test_bound_network_equals_the_network(waves: int) -> None:
    """A second call does not change the result of the first, though they share a workspace."""
    network = sf.MLP(width=64, depth=4, waves=waves, labels=2)
    with torch.no_grad():
        network.last.weight.normal_(generator=torch.Generator().manual_seed(1))
        bound, answers = network.bound(50), []
        for k in range(3):
            x = randn(50, 2, dtype=torch.float32, seed=k)
            c = network.condition(torch.tensor(0.1 * k - 0.3), torch.tensor(k))
            answers.append((bound(x, c), network.body(x, c)))
    for got, want in answers:
        assert torch.allclose(got, want, rtol=1e-5, atol=1e-5)


def fields(process: sf.processes.Process) -> dict[str, sf.fields.Field]:
    mixture = lopsided(torch.float32)

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = random_mlp()

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.inner(x, t)

    return {
        "MLP": sf.LearnedField(process, random_mlp()),
        "MLP, labelled": sf.LearnedField(process, random_mlp(3)).given(1),
        "MLP, preconditioned": sf.LearnedField(process, random_mlp(), data_std=0.7),
        "plain module, in batches": sf.LearnedField(process, Plain(), batch=100),
        "exact": sf.ExactField(process, mixture),
        "empirical": sf.ExactField(process, sf.distributions.PointSet(mixture.sample(777, 0))),
        "empirical, wide": sf.ExactField(
            process, sf.distributions.PointSet(mixture.sample(777, 0), width=0.1)
        ),
    }


@pytest.fixture(params=(1, 2), ids=("one thread", "two threads"))
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The number of threads of torch, for one test."""
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", fields(sf.VP()))
def test_particle_gets_the_same_bits_in_any_cloud(name: str, threads: int) -> None:
    """In float32, as a solver evaluates it, for k that are not multiples of a block."""
    field = fields(sf.VP())[name]
    n = 3 * ROWS + 87  # for two threads a block and more than half of one
    x = lopsided(torch.float32).sample(n, 3)
    for t in (0.01, 0.6):
        now = torch.tensor(t)
        c = Coefficients(*map(float, field.process(f64(t))))
        with torch.no_grad():
            whole = field.at(now, c, x)(x)
            assert whole.std(0).min() > 1e-3
            for k in (1, 3, 101, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 33):
                assert torch.equal(field.at(now, c, x[:k].clone())(x[:k].clone()), whole[:k]), k
            drift = sf.reverse(field, 0.5).stepped(f64([0.6, 0.01]), x)
            part = drift.drift(0, 0.0, x[:101].clone())
            assert torch.equal(part, drift.drift(0, 0.0, x)[:101])
            # The blocks are the same function as the whole.
            together = field.posterior(x, c).noise if isinstance(field, ExactField) else None
            if together is None:
                with torch.enable_grad():
                    together = field.at(now, c, x)(x).detach()
            assert close(whole, together, 1e-4)


def test_label_is_passed_to_the_network() -> None:
    network = random_mlp(labels=3)
    field = sf.LearnedField(sf.VP(), network)
    x, t = randn(4, 2, dtype=torch.float32), torch.tensor(0.4)
    answers = [field.given(k).noise(x, t) for k in (0, 1, 2, None)]
    assert torch.equal(answers[3], field.noise(x, t))
    assert torch.equal(answers[3], field.given(2).given(None).noise(x, t))
    for i in range(4):
        for j in range(i):
            assert not torch.isclose(answers[i], answers[j]).all()
    each = field.given(torch.tensor([2, 0, 1, 0])).noise(x, t)
    rows = torch.stack([answers[k][i] for i, k in enumerate((2, 0, 1, 0))])
    assert torch.allclose(each, rows, atol=1e-6)
    with torch.no_grad():
        for k in (0, 1, None):
            level = -field.process.log_snr(t) / 8  # ln(sigma / alpha) / 4: what our own MLP sees
            want = network(x, level, None if k is None else torch.tensor(k))
            assert torch.allclose(field.given(k).noise(x, t), want, atol=1e-6)


class Labelled(nn.Module):
    """A network of the user, with labels."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.sin(x) if label is None else torch.sin(x + label.reshape(-1, 1) + 1)


@pytest.mark.parametrize("std", [None, 0.7])
@pytest.mark.parametrize("network", [random_mlp(labels=3), Labelled()], ids=["MLP", "your own"])
def test_label_per_particle_equals_label_for_all_in_every_evaluation(
    network: nn.Module, std: float
) -> None:
    """At one time or many, with a gradient or without, and from a solver's table."""
    field = sf.LearnedField(sf.VP(), network, data_std=std)
    x, t, labels = randn(4, 2, dtype=torch.float32), torch.tensor(0.4), (2, 0, 1, 0)

    def evaluated(field: sf.LearnedField, grad: bool, t: Tensor) -> Tensor:
        with torch.set_grad_enabled(grad):
            return field.noise(x, t).detach()

    def tabled(field: sf.LearnedField) -> Tensor:
        with torch.no_grad():
            return sf.reverse(field, 0.0).stepped(f64([0.4, 0.3]), x).drift(0, 0.0, x)

    each = field.given(torch.tensor(labels))
    for way in (
        lambda f: evaluated(f, True, t),
        lambda f: evaluated(f, False, t),
        lambda f: evaluated(f, False, t.expand(4)),
        tabled,
    ):
        rows = torch.stack([way(field.given(k))[i] for i, k in enumerate(labels)])
        assert close(way(each), rows, 1e-5)
        assert not close(way(field), rows, 1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("std", [None, 0.7])
@pytest.mark.parametrize("name", ["MLP", "MLP, labelled", "your own"])
def test_table_of_a_field_equals_the_field_at_each_time(
    name: str, std: float | None, dtype: torch.dtype
) -> None:
    """On either side of a page's end, in any order of steps, the drift is drift(x, t) dt."""
    network = Wavy().to(dtype) if name == "your own" else random_mlp(labels=3)
    fine = name == "your own" and dtype == torch.float64  # an MLP rounds its input to its own type
    field = sf.LearnedField(sf.VP(), network, data_std=std)
    sde = sf.reverse(field.given(2) if name == "MLP, labelled" else field, 0.6)
    x, times = randn(5, 2, dtype=dtype), sde.times(2 * PAGE + 5)
    with torch.no_grad():
        steps = sde.stepped(times, x)
        for k in (0, 1, PAGE - 1, PAGE, 2 * PAGE + 4, 3, PAGE + 1):
            want = sde.drift(x, times[k].to(dtype)) * (times[k + 1] - times[k])
            assert close(steps.drift(k, 0.0, x), want.to(dtype), 1e-11 if fine else 1e-4), k


# --------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda x: x[:, :1], r"\(5, 1\)|\(256, 1\)"),
        (lambda x: x.sum(), r"\(\)"),
        (lambda x: (x, x), "tuple"),
        (lambda x: None, "NoneType"),
    ],
)
def test_network_output_of_the_wrong_shape_is_refused(answer, got: str, grad: bool) -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return answer(x)

    field = sf.LearnedField(sf.VP(), Odd())
    with torch.set_grad_enabled(grad), pytest.raises(ValueError, match=f"returned ({got}) for a"):
        field.data(randn(5, 2), 0.5)


@pytest.mark.parametrize(("kind", "size"), [(torch.float32, 1e30), (torch.float64, 1e300)])
def test_answer_that_is_not_finite_is_refused(kind: torch.dtype, size: float) -> None:
    """The square of the distance to the data is infinite, so that all components weigh nothing."""
    field = sf.ExactField(sf.VP(), lopsided())
    x = torch.tensor([[0.0, 0.0], [size, 0.0]], dtype=kind)
    for ask in (field.split, field.data, field.velocity):
        with pytest.raises(sf.SdeflowError, match=r"not finite in row 1 of x.*nearer to the data"):
            ask(x, 0.5)
    broken = sf.MLP(width=4, depth=1).requires_grad_(False)
    next(broken.parameters()).fill_(torch.nan)
    with pytest.raises(sf.SdeflowError, match=r"row 0 of x.*whose parameters are finite"):
        sf.LearnedField(sf.VP(), broken).noise(x[:1].float(), 0.5)


@pytest.mark.parametrize("name", ["VP", "EDM", "DDPM"])
def test_wrong_times_and_clouds_are_refused(name: str) -> None:
    process = PROCESSES[name]
    t, points = float(times_of(process, 3)[1]), lopsided().sample(5, 0)
    for field in (
        sf.ExactField(process, lopsided()),
        sf.ExactField(process, sf.distributions.PointSet(points)),
        sf.LearnedField(process, Perfect(process, lopsided(), sf.fields.Prediction.NOISE)),
    ):
        for ask in (field.split, field.data, field.noise, field.score, field.velocity):
            with pytest.raises(ValueError, match="outside"):
                ask(points, 1.01 * process.t_max)
            with pytest.raises(ValueError, match=r"t must be \(\) or \(5,\)"):
                ask(points, torch.full((4,), t))
            with pytest.raises(ValueError, match="NaN or infinite entries, first in row 2"):
                ask(torch.where(torch.arange(5)[:, None] == 2, torch.nan, points), t)
            with pytest.raises(ValueError, match="must be a cloud of shape"):
                ask(points[0], t)
            with pytest.raises(TypeError, match="floating-point"):
                ask(points.long(), t)


def test_wrong_arguments_of_fields_are_refused() -> None:
    points = lopsided().sample(5, 0)
    with pytest.raises(ValueError, match="width must be zero or more"):
        sf.ExactField(sf.VP(), sf.distributions.PointSet(points, width=-1.0))
    with pytest.raises(ValueError, match="points is empty"):
        sf.ExactField(sf.VP(), sf.distributions.PointSet(points[:0]))
    with pytest.raises(ValueError, match=r"labels must be \(5,\)"):
        sf.ExactField(
            sf.VP(), sf.distributions.PointSet(points, torch.zeros(4, dtype=torch.int64))
        )
    with pytest.raises(ValueError, match="have no labels"):
        sf.ExactField(sf.VP(), sf.distributions.PointSet(points)).given(0)
    with pytest.raises(ValueError, match=r"no point has label 7; take one of \[0, 1\]"):
        sf.ExactField(
            sf.VP(), sf.distributions.PointSet(points, torch.tensor([0, 1, 0, 1, 1]))
        ).given(7)
    with pytest.raises(TypeError, match="must be a torch module, got function"):
        sf.LearnedField(sf.VP(), lambda x, t: x)
    with pytest.raises(TypeError, match="must be a Prediction"):
        sf.LearnedField(sf.VP(), sf.MLP(), predicts="noise")
    with pytest.raises(ValueError, match="data_std must be positive"):
        sf.LearnedField(sf.VP(), sf.MLP(), data_std=0.0)


def test_density_of_a_field_agrees_with_noised_draws(process: sf.processes.Process) -> None:
    """Draws of x_0, noised by hand: their counts pass against `density` at t and at the start."""
    squares = sf.datasets.checkerboard().distribution
    assert squares is not None
    grid = sf.Grid(-9.0, 9.0, (48, 48))
    points = lopsided().sample(40, 5)
    for i, field in enumerate(
        (
            sf.ExactField(process, lopsided()),
            sf.ExactField(process, sf.distributions.PointSet(points, width=0.2)),
            sf.ExactField(process, squares),
        )
    ):
        x0 = field.sample(20_000, i).double()
        t = process.time(f64(1.0))  # the noise is 0.6 of the signal
        x = process.perturb(x0, t, randn(20_000, 2, seed=i))
        assert sf.check_density(x, field.density(grid, float(t))).passed()
        assert sf.check_density(x0, field.density(grid, None)).passed()
        assert not sf.check_density(x0, field.density(grid, float(t))).passed()


def test_density_of_a_field_uses_the_time_in_float64(process: sf.processes.Process) -> None:
    """Not rounded to float32: cell by cell, the noised mixture."""
    grid = sf.Grid(-9.0, 9.0, (48, 48))
    t = process.time(f64(1.0))
    c = process(t)
    want = lopsided().noised(c.alpha, c.sigma).on_grid(grid)
    found = sf.ExactField(process, lopsided()).density(grid, float(t))
    assert close(found.mass, want.mass, 1e-12)


@pytest.mark.parametrize("std", [None, 0.7])
def test_network_takes_a_cloud_of_another_floating_type(std: float | None) -> None:
    """float64 particles and a float32 network, whatever the shape of t."""
    network = sf.MLP(width=8, depth=1)
    nn.init.normal_(network.last.weight)
    field = sf.LearnedField(sf.Linear(), network, data_std=std)
    x = randn(5, 2)
    with torch.no_grad():
        each = field.velocity(x, torch.full((5,), 0.3, dtype=torch.float64))
        assert each.dtype == torch.float64
        assert close(each, field.velocity(x, f64(0.3)), rtol=1e-6)
        assert close(each, field.velocity(x.float(), torch.tensor(0.3)).double(), rtol=1e-5)


IN_THE_PLANE = [
    lambda: sf.ExactField(sf.VP(), lopsided()),
    lambda: sf.ExactField(sf.VP(), sf.distributions.PointSet(randn(5, 2))),
    lambda: sf.ExactField(sf.VP(), sf.datasets.checkerboard().distribution),
    lambda: sf.LearnedField(sf.VP(), sf.MLP(2)),
    lambda: sf.GuidedField(
        sf.LearnedField(sf.VP(), sf.MLP(2)), sf.ExactField(sf.VP(), lopsided()), 2.0
    ),
]


@pytest.mark.parametrize("make", IN_THE_PLANE)
@pytest.mark.parametrize("d", [1, 3])
def test_cloud_of_another_dimension_is_refused(make, d: int) -> None:
    """By every function; otherwise a column would be broadcast to a plane."""
    field, x = make(), randn(4, d)
    assert field.dim == 2
    flow = sf.reverse(field, 0.0)
    asks = [
        lambda: field.split(x, 0.5),
        lambda: field.score(x, 0.5),
        lambda: sf.SDESolver("euler", 3).solve(sf.reverse(field), x),
        lambda: sf.SDESolver("euler", 3).solve(sf.ancestral(field), x),
        lambda: sf.ODESolver("euler", 3).solve(flow, x),
        lambda: sf.ODESolver("dopri5").solve(flow, x),
    ]
    if isinstance(field, sf.ExactField):
        asks.append(lambda: field.log_prob(x, 0.5))
    for ask in asks:
        with pytest.raises(ValueError, match=f"must have dimension 2, got {d}"):
            ask()


def test_field_without_dimension_takes_any_cloud() -> None:
    assert sf.LearnedField(sf.VP(), Anything()).dim is None
    assert sf.LearnedField(sf.VP(), Anything()).noise(randn(4, 3), 0.5).shape == (4, 3)


class Anything(nn.Module):
    """A network for any dimension."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return x


@pytest.mark.parametrize("process", [sf.VP, None, "VP", lopsided()])
@pytest.mark.parametrize(
    "make",
    [
        lambda process: sf.ExactField(process, lopsided()),
        lambda process: sf.ExactField(process, sf.distributions.PointSet(randn(5, 2))),
        lambda process: sf.ExactField(process, sf.datasets.checkerboard().distribution),
        lambda process: sf.LearnedField(process, Anything()),
    ],
)
def test_field_refuses_what_is_not_a_process(make, process) -> None:
    with pytest.raises(TypeError, match="process must be a Process, got") as said:
        make(process)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda: sf.ExactField(sf.VP(), sf.datasets.ring()), TypeError, "pass its .distribution"),
        (
            lambda: sf.ExactField(
                sf.VP(), sf.distributions.PointSet(randn(3, 2), [0.0, 1.0, 1.0])
            ),
            TypeError,
            "labels must be whole numbers",
        ),
        (
            lambda: sf.ExactField(sf.VP(), lopsided()).predict("noise", randn(3, 2), 0.5),
            TypeError,
            "row must be a Prediction",
        ),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(mistake, error, message: str) -> None:
    with pytest.raises(error, match=message):
        mistake()
    points = randn(3, 2)
    kept = sf.ExactField(
        sf.VP(), sf.distributions.PointSet(points, [0, 1, 1], width=np.float32(0.5))
    )
    assert type(kept.distribution.width) is float
    assert torch.equal(kept.given(1).distribution.points, points[1:])


@pytest.mark.parametrize("bind", [sf.LearnedField.given, lambda f, label: replace(f, label=label)])
@pytest.mark.parametrize(
    ("label", "error", "message"),
    [
        (1.5, TypeError, "label must be whole numbers, got torch.float32"),
        (True, TypeError, "label must be whole numbers, got torch.bool"),
        ("a", TypeError, "label must be whole numbers, got str"),
        (torch.zeros(4, 1).long(), ValueError, r"label must be one \(\) or one for each"),
        (4, ValueError, "label must be 0 to 2, or 3 for no label, got 4"),
        (torch.tensor([0, -1]), ValueError, "label must count from 0, got -1 to 0"),
    ],
)
def test_labels_unknown_to_the_network_are_refused(bind, label, error, message) -> None:
    field = sf.LearnedField(sf.VP(), sf.MLP(2, 8, 1, labels=3))
    with pytest.raises(error, match=message):
        bind(field, label)
    for fits in (0, 3, np.int8(2), torch.tensor([0, 3, 1, 2])):  # 3 means "no label"
        assert bind(field, fits).noise(randn(4, 2), 0.5).shape == (4, 2)


def test_network_without_labels_refuses_a_label() -> None:
    with pytest.raises(ValueError, match="has no labels; make it with labels="):
        sf.LearnedField(sf.VP(), sf.MLP(2, 8, 1)).given(0)
    assert sf.LearnedField(sf.VP(), sf.MLP(2, 8, 1)).given(None).label is None
    # Of another network the number of labels is not known.
    assert int(sf.LearnedField(sf.VP(), Anything()).given(7).label) == 7


def test_numbers_of_a_learned_field_are_stored_plain() -> None:
    """A file holds them as JSON."""
    network = sf.MLP(
        np.int64(2), np.int64(8), np.int32(1), np.int64(4), np.float32(9), np.int64(2)
    )
    json.dumps(network.config)
    field = sf.LearnedField(sf.VP(), network, data_std=randn(9, 2).std())
    assert type(field.data_std) is float
