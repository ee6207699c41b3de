"""Guided fields: the formula, the number of network calls, runs and densities."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import sdeflow as sf
from sdeflow._blocks import ROWS
from sdeflow.fields.prediction import Row, encode
from sdeflow.processes.process import Coefficients, Scalar
from tests.problems import PROCESSES, close, f64, lopsided, randn, times_of


def classes(*which: int) -> sf.GaussianMixture:
    """Some classes of `lopsided`, whose components are its classes."""
    whole, keep = lopsided(), list(which)
    return sf.GaussianMixture(whole.weights[keep], whole.means[keep], whole.covariances[keep])


def pair(process: sf.processes.Process) -> tuple[sf.ExactField, sf.ExactField]:
    """Class 2, and all classes."""
    return sf.ExactField(process, classes(2)), sf.ExactField(process, lopsided())


def cloud_at(process: sf.processes.Process, t: Tensor, n: int = 12) -> Tensor:
    c = process(t)
    return 1.5 * lopsided().noised(c.alpha, c.sigma).sample(n, seed=8)


class InRow(sf.fields.Field):
    """Another field, read in a row of its own."""

    def __init__(self, known: sf.fields.Field, as_row: sf.fields.Prediction) -> None:
        object.__setattr__(self, "process", known.process)
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "as_row", as_row)

    def row(self, c: Coefficients[Scalar]) -> Row[Scalar]:
        return self.as_row.row(c)

    def at(self, t: Tensor, c: Coefficients, like: Tensor) -> Callable[[Tensor], Tensor]:
        c = Coefficients(*(torch.as_tensor(v, dtype=torch.float64) for v in c)).along(like)
        return lambda x: encode(self.row(c), *self.known.split(x, t))


class Counted(nn.Module):
    """Any network with labels, as users bring it; counts its calls and rows."""

    labels = 3

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 32)
        self.last = nn.Linear(32, 2)
        self.calls, self.rows = 0, 0

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        about = torch.stack([t.expand(len(x)), label.expand(len(x)) - 1.5], 1).to(x)
        return self.last(torch.tanh(self.first(torch.cat([x, about], 1))))


class CountedMLP(sf.MLP):
    """An `MLP` that counts calls and rows of `body` and of `bound`."""

    def __init__(self, how: str = "add") -> None:
        super().__init__(width=16, depth=2, waves=8, labels=3, how=how)
        self.calls, self.rows = 0, 0
        g = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for p in self.parameters():
                p.add_(0.4 * torch.randn(p.shape, generator=g))

    def count(self, x: Tensor) -> Tensor:
        self.calls, self.rows = self.calls + 1, self.rows + len(x)
        return x

    def body(self, x: Tensor, condition: tuple[Tensor, ...]) -> Tensor:
        return super().body(self.count(x), condition)

    def bound(self, rows: int) -> Callable[[Tensor, tuple[Tensor, ...]], Tensor]:
        body = super().bound(rows)
        return lambda x, condition: body(self.count(x), condition)


def counted(kind: str) -> sf.LearnedField:
    torch.manual_seed(0)
    if kind == "any network":
        return sf.LearnedField(sf.VP(), Counted().eval())
    std = 0.9 if kind == "preconditioned" else None
    how = kind if kind in ("append", "attend") else "add"
    return sf.LearnedField(sf.VP(), CountedMLP(how).eval(), data_std=std)


OURS = ["MLP", "preconditioned", "append", "attend"]
ours = pytest.mark.parametrize("kind", OURS)
kinds = pytest.mark.parametrize("kind", ["any network", *OURS])

# ------------------------------------------------------------------------------------- the formula


def test_scale_zero_and_one_give_the_two_fields(process: sf.processes.Process) -> None:
    """w = 1 is the conditional field to the bit, w = 0 the other; s = w - 1 counts beyond."""
    wanted, whole = pair(process)
    for t in times_of(process, 3):
        x = cloud_at(process, t)
        eps_c, eps_u = wanted.noise(x, t), whole.noise(x, t)
        assert torch.equal(sf.GuidedField(wanted, whole, 1.0).noise(x, t), eps_c)
        assert close(sf.GuidedField(wanted, whole, 0.0).noise(x, t), eps_u, 1e-12, 1e-12)
        for s in (0.5, 2.0, -0.3):
            guided = sf.GuidedField(wanted, whole, sf.fields.scale_from_strength(s))
            assert close(guided.noise(x, t), eps_c + s * (eps_c - eps_u), 1e-11, 1e-11)
    assert sf.fields.scale_from_strength(0.0) == 1.0
    assert sf.fields.strength_from_scale(sf.fields.scale_from_strength(3.0)) == 3.0


def test_guidance_is_the_same_affine_combination_in_every_prediction(
    process: sf.processes.Process,
) -> None:
    """For parts known in any rows, and for any prediction."""
    wanted, whole = pair(process)
    t = times_of(process, 5)[2]
    x, w = cloud_at(process, t), 2.5
    for ask in sf.fields.Prediction:
        c, u = wanted.predict(ask, x, t), whole.predict(ask, x, t)
        want = w * c + (1 - w) * u
        for one in sf.fields.Prediction:
            for other in sf.fields.Prediction:
                guided = sf.GuidedField(InRow(wanted, one), InRow(whole, other), w)
                # One solve to and fro costs digits where alpha or sigma is small.
                assert close(guided.predict(ask, x, t), want, 1e-10), (ask, one, other)


def test_guided_drift_uses_the_score_of_the_tilted_density(process: sf.processes.Process) -> None:
    """F x - (1 + eta^2) / 2 g^2 grad [ln p_c + (w - 1) (ln p_c - ln p_u)], by autograd."""
    wanted, whole = pair(process)
    w, eta = 3.0, 0.7
    sde = sf.reverse(sf.GuidedField(wanted, whole, w), eta)
    for t in times_of(process, 4):
        c, x = process(t), cloud_at(process, t).requires_grad_()
        p, q = (m.noised(c.alpha, c.sigma).log_prob(x) for m in (classes(2), lopsided()))
        score = torch.autograd.grad((p + (w - 1) * (p - q)).sum(), x)[0]
        x = x.detach()
        pull = (1 + eta**2) / 2 * process.diffusion(t) ** 2 * score
        assert close(sde.drift(x, t), process.drift(t) * x - pull, 1e-8, 1e-9)


def test_autoguidance_uses_the_score_of_the_tilted_density() -> None:
    """Autoguidance: the same points, known more coarsely; again the score of p (p / q)^(w - 1)."""
    process, points = sf.EDM(), lopsided().sample(30, 4)
    good, bad = (
        sf.ExactField(process, sf.distributions.PointSet(points, width=w)) for w in (0.1, 0.4)
    )
    t, x, w = f64(0.3), randn(9, 2).requires_grad_(), 2.0
    p, q = (sf.GaussianMixture.isotropic(points, s).noised(1.0, t).log_prob(x) for s in (0.1, 0.4))
    score = torch.autograd.grad((w * p - (w - 1) * q).sum(), x)[0]
    assert close(sf.GuidedField(good, bad, w).score(x.detach(), t), score, 1e-9)


def test_negative_condition_uses_the_score_of_the_tilted_density() -> None:
    """The lecture's spiral, cat and not dog: the score of p_cat^w p_dog^(1 - w), by autograd."""
    data, width, w, t = sf.datasets.spiral(), 0.05, 1.5, f64(0.2)
    assert data.distribution.points is not None
    assert data.distribution.labels is not None
    whole = sf.ExactField(
        sf.EDM(),
        sf.distributions.PointSet(data.distribution.points, data.distribution.labels, width),
    )
    x = (data.distribution.points[::7] + 0.3 * randn(15, 2)).requires_grad_()
    cat, dog = (
        sf.GaussianMixture.isotropic(
            data.distribution.points[data.distribution.labels == k], width
        )
        .noised(1.0, t)
        .log_prob(x)
        for k in (2, 1)
    )
    score = torch.autograd.grad((w * cat + (1 - w) * dog).sum(), x)[0]
    guided = sf.GuidedField(whole.given(2), whole.given(1), w)
    assert close(guided.score(x.detach(), t), score, 1e-9)


def test_guidance_acts_in_its_interval_only(process: sf.processes.Process) -> None:
    wanted, whole = pair(process)
    t = times_of(process, 9)
    level = torch.exp(-process.log_snr(t) / 2)
    low, high = float((level[2] * level[3]).sqrt()), float((level[5] * level[6]).sqrt())
    guided = sf.GuidedField(wanted, whole, 2.0, (min(low, high), max(low, high)))
    always = sf.GuidedField(wanted, whole, 2.0)
    acts = [False] * 3 + [True] * 3 + [False] * 3
    x = randn(9, 2)
    steps = sf.reverse(guided, 0.0).stepped(t, x)
    free, full = (sf.reverse(f, 0.0).stepped(t, x) for f in (wanted, always))
    for k in range(8):
        assert torch.equal(guided.noise(x, t[k]), (always if acts[k] else wanted).noise(x, t[k]))
        want = (full if acts[k] else free).drift(k, 0.0, x)
        assert torch.equal(steps.drift(k, 0.0, x), want)
        assert not close(always.noise(x, t[k]), wanted.noise(x, t[k]), 1e-3)
    each = torch.stack([guided.noise(x[k : k + 1], t[k])[0] for k in range(9)])
    assert close(guided.noise(x, t), each, 1e-10)  # a time for each particle


def test_table_of_parts_in_different_rows_gives_the_drift(process: sf.processes.Process) -> None:
    """For parts known in different rows, the drift from a solver's table is drift(x, t) dt."""
    wanted, whole = pair(process)
    t, x = times_of(process, 4), randn(6, 2)
    for one, other in (("noise", "velocity"), ("data", "score"), ("velocity", "data")):
        parts = InRow(wanted, sf.fields.Prediction(one)), InRow(whole, sf.fields.Prediction(other))
        sde = sf.reverse(sf.GuidedField(*parts, 2.0), 0.5)
        steps = sde.stepped(t, x)
        for k in range(3):
            want = sde.drift(x, t[k]) * float(t[k + 1] - t[k])
            assert close(steps.drift(k, 0.0, x), want, 1e-9)


# ------------------------------------------------------------------------- one call for two labels


@ours
@pytest.mark.parametrize("n", [ROWS, 2 * ROWS])
def test_two_labels_of_one_network_are_one_call(kind: str, n: int) -> None:
    """On twice the rows, in each block; step by step and on a solver's tables alike."""
    field = counted(kind)
    network, x = field.network, randn(n, 2, dtype=torch.float32)
    guided = sf.GuidedField(field.given(0), field.given(None), 2.0)
    with torch.no_grad():
        guided.noise(x, 0.5)
        assert (network.calls, network.rows) == (n // ROWS, 2 * n)
        network.calls = network.rows = 0
        path = sf.ODESolver("heun2", steps=5).solve(sf.reverse(guided, 0.0), x)
    assert path.nfe == 10 == network.rows / (2 * n)
    assert network.calls == 10 * n // ROWS
    network.calls = network.rows = 0
    guided.noise(x, 0.5)  # with gradients: the whole cloud at once
    guided.noise(x, torch.full((n,), 0.5))
    assert (network.calls, network.rows) == (2, 4 * n)


@pytest.mark.parametrize("n", [5, ROWS + 1])
def test_two_labels_of_a_network_of_the_user_are_two_calls_on_its_cloud(n: int) -> None:
    """Its rows may depend on each other: 2 n rows would be another cloud."""
    field = counted("any network")
    network, x = field.network, randn(n, 2, dtype=torch.float32)
    guided = sf.GuidedField(field.given(0), field.given(None), 2.0)
    guided.noise(x, 0.5)
    assert (network.calls, network.rows) == (2, 2 * n)
    sf.ODESolver("heun2", steps=5).solve(sf.reverse(guided, 0.0), x)
    assert (network.calls, network.rows) == (22, 22 * n)


@kinds
def test_without_guidance_only_the_conditional_field_is_evaluated(kind: str) -> None:
    """At w = 1 and outside the interval, only the conditional field is evaluated."""
    field, x = counted(kind), randn(ROWS, 2, dtype=torch.float32)
    parts, network = (field.given(1), field.given(None)), field.network
    times = torch.linspace(1.0, 0.01, 9, dtype=torch.float64)
    level = torch.exp(-sf.VP().log_snr(times) / 2)
    some = sf.GuidedField(*parts, 3.0, (float(level[4]) * 0.999, float(level[1]) * 1.001))
    for guided, rows in ((sf.GuidedField(*parts, 1.0), 8), (some, 8 + 4)):
        network.rows = 0
        with torch.no_grad():
            sf.ODESolver("euler", times=times).solve(sf.reverse(guided, 0.0), x)
        assert network.rows == rows * ROWS


@kinds
def test_one_call_on_two_labels_equals_two_calls(kind: str) -> None:
    """Against the two fields evaluated one after the other, as for two networks."""
    field, x = counted(kind), randn(ROWS + 40, 2, dtype=torch.float32)
    other = sf.LearnedField(field.process, copy.deepcopy(field.network), data_std=field.data_std)
    t = torch.linspace(0.1, 0.9, len(x))
    mine = torch.arange(len(x)) % 3
    with torch.no_grad():
        for label, against in ((0, None), (2, 1), (mine, None), (1, mine)):
            one = sf.GuidedField(field.given(label), field.given(against), 2.5)
            two = sf.GuidedField(field.given(label), other.given(against), 2.5)
            if kind == "any network" and against is None:
                null = replace(other, label=torch.tensor(3))
                two = sf.GuidedField(field.given(label), null, 2.5)
            for when in (0.4, t):
                assert close(one.noise(x, when), two.noise(x, when), 1e-4)
            ends = [
                sf.ODESolver("euler", steps=6).solve(sf.reverse(g, 0.0), x).x[-1]
                for g in (one, two)
            ]
            assert close(*ends, 1e-3)
            assert not close(one.noise(x, 0.4), field.given(label).noise(x, 0.4), 1e-2)


@kinds
def test_guiding_away_from_the_null_label_is_classifier_free_guidance(kind: str) -> None:
    """The null label and a negative condition use one formula."""
    field, x = counted(kind), randn(50, 2, dtype=torch.float32)
    with torch.no_grad():
        plain, null, negative = (
            sf.GuidedField(field.given(1), other, 3.0).noise(x, 0.5)
            for other in (field, replace(field, label=torch.tensor(3)), field.given(0))
        )
        eps_c, eps_n = (field.given(k).noise(x, 0.5) for k in (1, 0))
    assert torch.equal(plain, null)
    assert not close(negative, plain, 1e-2)
    assert close(negative, 3 * eps_c - 2 * eps_n, 1e-4)


@ours
def test_guided_particle_gets_the_same_bits_in_any_cloud(kind: str) -> None:
    field, n = counted(kind), 2 * ROWS + 87
    x = randn(n, 2, dtype=torch.float32)
    guided = sf.GuidedField(field.given(0), field.given(None), 2.0)
    sde = sf.reverse(guided, 0.5).stepped(f64([0.6, 0.01]), x)
    with torch.no_grad():
        whole, drift = guided.noise(x, 0.5), sde.drift(0, 0.0, x)
        for k in (1, 101, ROWS, ROWS + 1, 2 * ROWS + 33):
            assert torch.equal(guided.noise(x[:k].clone(), 0.5), whole[:k]), k
            assert torch.equal(sde.drift(0, 0.0, x[:k].clone()), drift[:k]), k


# ------------------------------------------------------------------------------ runs and densities


@pytest.mark.parametrize("name", ["VP", "EDM", "Linear"])
def test_guided_euler_in_the_brownian_frame_is_ddim(name: str) -> None:
    """Euler in the Brownian frame, against x_s = alpha_s x0_hat + sigma_s eps_hat in a loop."""
    process = PROCESSES[name]
    guided = sf.GuidedField(*pair(process), 2.0, (0.05, 5.0))
    times = sf.processes.log_snr_times(process, 12)
    c = process(times)
    x = start = cloud_at(process, times[0], 7)
    for k in range(12):
        x0, eps = guided.split(x, times[k])
        x = c.alpha[k + 1] * x0 + c.sigma[k + 1] * eps
    solver = sf.ODESolver("euler", times=c.sigma / c.alpha)
    end = solver.solve(sf.sdes.comoving(guided), start / c.alpha[0]).x[-1] * c.alpha[-1]
    assert close(end, x, 1e-9)


def test_guided_sde_run_equals_an_explicit_loop() -> None:
    """torchsde's euler on a guided SDE, against the formula written out with the same noise."""
    process, x = sf.VP(), randn(5, 2)
    guided = sf.GuidedField(*pair(process), 3.0)
    sde = sf.reverse(guided, 1.0)
    times = torch.linspace(1.0, 0.05, 9, dtype=torch.float64)
    noise = sf.solvers.Brownian(7, 5, 2, torch.float64, times=times)
    end = sf.SDESolver("euler", times=times, seed=7).solve(sde, x).x[-1]
    for k in range(8):
        dt, t = float(times[k + 1] - times[k]), times[k]
        drift = process.drift(t) * x - process.diffusion(t) ** 2 * guided.score(x, t)
        x = x + drift * dt + process.diffusion(t) * abs(dt) ** 0.5 * noise(k, k + 1)
    assert close(end, x, 1e-10)


NARROW, WIDE, W = 0.5, 1.5, 2.0


def linear_pair() -> sf.GuidedField:
    """N(0, 0.5^2) against N(0, 1.5^2), on a line: everything is linear, and known by hand."""
    process, zero = sf.EDM(t_min=1e-3, t_max=20.0), torch.zeros(1, 1, dtype=torch.float64)
    return sf.GuidedField(
        *(sf.ExactField(process, sf.GaussianMixture.isotropic(zero, s)) for s in (NARROW, WIDE)), W
    )


def shrinking(v: float) -> float:
    """d ln x / d v = w / 2 (a^2 + v) - (w - 1) / 2 (b^2 + v), v = sigma^2, integrated."""
    return 0.5 * (W * math.log(NARROW**2 + v) - (W - 1) * math.log(WIDE**2 + v))


def test_guided_flow_of_two_gaussians_equals_the_closed_form() -> None:
    """The guided flow's end in closed form; it is not the tilted density p (p / q)^(w - 1)."""
    guided = linear_pair()
    process, x = guided.process, f64([[-30.0], [1.0], [12.0]])
    sde = sf.reverse(guided, 0.0)
    factor = math.exp(shrinking(process.t_min**2) - shrinking(process.t_max**2))
    end = sf.ODESolver("rk4", steps=200).solve(sde, x).x[-1]
    assert close(end, factor * x, 1e-5)
    spread = factor * process.t_max
    assert spread == pytest.approx(NARROW**W * WIDE ** (1 - W), rel=WIDE**2 / process.t_max**2)
    assert spread < 0.5 * (W / NARROW**2 - (W - 1) / WIDE**2) ** -0.5  # half as wide as tilted
    # The density along the same flow: that of x = factor z, z from the prior.
    found = sf.analysis.log_likelihood(guided, f64([[0.1], [0.3]]), sf.ODESolver("rk4", steps=200))
    want = torch.distributions.Normal(0.0, spread).log_prob(f64([0.1, 0.3]))
    assert close(found, want, 1e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_guided_density_has_the_variance_of_the_linear_sde(eta: float) -> None:
    """`evolve` on a guided SDE that is linear, against the equation of its variance."""
    guided = linear_pair()
    start, stop = 1.5, 0.4
    times, grid = f64([start, stop]), sf.Grid((-12.0,), (12.0,), (600,))
    spread = 2.0
    mixture = sf.GaussianMixture.isotropic(torch.zeros(1, 1, dtype=torch.float64), spread)
    end = sf.evolve(sf.reverse(guided, eta), mixture.on_grid(grid), times)[-1]
    x = grid.middles(0)
    found = float((end.mass * x**2).sum() / end.mass.sum())
    # d S / d v = 2 r S - eta^2 with r = (1 + eta^2) d ln x / d v of the flow, integrated from S_0.
    v = torch.linspace(start**2, stop**2, 200_001, dtype=torch.float64)
    rate = (1 + eta**2) * (W / (NARROW**2 + v) - (W - 1) / (WIDE**2 + v)) / 2
    growth = torch.cat([f64([0.0]), torch.cumulative_trapezoid(2 * rate, v)])
    source = torch.trapezoid(-(eta**2) * torch.exp(-growth), v)
    assert found == pytest.approx(float(torch.exp(growth[-1]) * (spread**2 + source)), rel=4e-3)


# --------------------------------------------------------------------------------- wrong arguments


def test_fields_that_cannot_be_combined_are_refused() -> None:
    wanted, whole = pair(sf.VP())
    with pytest.raises(ValueError, match="different processes"):
        sf.GuidedField(wanted, sf.ExactField(sf.Linear(), lopsided()), 2.0)
    line = sf.LearnedField(sf.VP(), sf.MLP(1, 8, 1))
    with pytest.raises(ValueError, match="different dimensions: 2 and 1"):
        sf.GuidedField(wanted, line, 2.0)
    with pytest.raises(TypeError, match="against must be a Field, got GaussianMixture"):
        sf.GuidedField(wanted, lopsided(), 2.0)  # type: ignore[arg-type]
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="scale must be finite"):
            sf.GuidedField(wanted, whole, bad)
    with pytest.raises(TypeError, match="scale must be a number"):
        sf.GuidedField(wanted, whole, "much")  # type: ignore[arg-type]
    for empty in ((1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="two rising noise levels"):
            sf.GuidedField(wanted, whole, 2.0, empty)
    with pytest.raises(TypeError, match="two noise levels"):
        sf.GuidedField(wanted, whole, 2.0, 3.0)  # type: ignore[arg-type]


def test_network_output_of_the_wrong_shape_is_refused() -> None:
    class Wrong(nn.Module):
        labels = 2

        def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
            return x[:, :1]

    field = sf.LearnedField(sf.VP(), Wrong())
    with pytest.raises(ValueError, match="the network returned"):
        sf.GuidedField(field.given(0), field.given(1), 2.0).noise(randn(3, 2), 0.5)
