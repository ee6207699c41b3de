"""Likelihoods of the probability flow against closed forms, a grid, and the inverse flow."""

import functools
import math

import pytest
import torch

import sdeflow as sf
from sdeflow.analysis.likelihood import decode, encode, hutchinson_log_likelihood, log_likelihood

MIXTURE = sf.GaussianMixture(
    torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.2, -1.2]], dtype=torch.float64),
    torch.tensor(
        [[[0.3, 0.1], [0.1, 0.2]], [[0.2, 0.0], [0.0, 0.4]], [[0.15, -0.05], [-0.05, 0.3]]],
        dtype=torch.float64,
    ),
)
PROCESSES = [
    sf.VP(),
    sf.processes.SubVP(),
    sf.VE(),
    sf.EDM(t_max=20.0),
    sf.Linear(),
    sf.processes.Cosine(),
]
each = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)


def at(process: sf.processes.Process, t: float) -> sf.GaussianMixture:
    c = process(torch.tensor(t, dtype=torch.float64))
    return MIXTURE.noised(c.alpha, c.sigma)


def exactly(process: sf.processes.Process, x: torch.Tensor, tolerance: float) -> torch.Tensor:
    """With the exact density at t_max as prior, so that only the solver's error is left."""
    field = sf.ExactField(process, MIXTURE)
    solver = sf.ODESolver("dopri5", rtol=tolerance, atol=tolerance)
    return log_likelihood(field, x, solver, prior=at(process, process.t_max).log_prob)


@each
def test_log_likelihood_is_the_log_density_within_the_tolerance(
    process: sf.processes.Process,
) -> None:
    data = at(process, process.t_min)
    x = torch.cat([data.sample(40, 0), 2.5 * data.sample(10, 1)])
    assert (exactly(process, x, 1e-7) - data.log_prob(x)).abs().max() < 1e-4
    assert (exactly(process, x, 1e-10) - data.log_prob(x)).abs().max() < 1e-6


def test_likelihood_integrates_to_one() -> None:
    """On a grid wide enough to hold all but 1e-6 of the mass, with the samplers' own prior."""
    process = sf.VP()
    axis = (torch.arange(64, dtype=torch.float64) + 0.5) * 10 / 64 - 5
    x = torch.cartesian_prod(axis, axis)
    solver = sf.ODESolver("rk4", steps=40)
    p = log_likelihood(sf.ExactField(process, MIXTURE), x, solver).exp()
    assert float(p.sum() * (10 / 64) ** 2) == pytest.approx(1.0, abs=1e-3)


def test_default_prior_is_that_of_samplers() -> None:
    """For a Gaussian of unit size p_t is N(0, I) at every t of VP."""
    process = sf.VP()
    field = sf.ExactField(process, sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), 1.0))
    x = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    got = log_likelihood(field, x, sf.ODESolver("rk4", steps=20))
    sigma = float(process(torch.tensor(process.t_max, dtype=torch.float64)).sigma)
    want = -(x**2).sum(1) / (2 * sigma**2) - math.log(2 * math.pi * sigma**2)
    assert (got - want).abs().max() < 1e-9


def test_a_wrong_field_has_another_likelihood() -> None:
    """A score that is 5 % too large."""
    process = sf.VP()

    class Loud(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            c = process(t)
            return 1.05 * MIXTURE.posterior(x, c.alpha, c.sigma).noise

    data = at(process, process.t_min)
    x = data.sample(200, 0)
    solver = sf.ODESolver("rk4", steps=40)
    got = log_likelihood(sf.LearnedField(process, Loud()), x, solver)
    assert (got - data.log_prob(x)).abs().mean() > 0.05


@each
def test_decode_inverts_encode_within_the_tolerance(process: sf.processes.Process) -> None:
    field = sf.ExactField(process, MIXTURE)
    x = at(process, process.t_min).sample(50, 0)
    gaps = []
    for tolerance in (1e-5, 1e-9):
        solver = sf.ODESolver("dopri5", rtol=tolerance, atol=tolerance)
        gaps.append(float((decode(field, encode(field, x, solver), solver) - x).abs().max()))
    assert gaps[0] < 1e-2  # a tolerance is local: errors add up over the flow, and it amplifies
    assert gaps[1] < 1e-5
    assert gaps[1] < gaps[0] / 100


@each
def test_twenty_calls_of_multistep_encode_better_than_forty_of_heun(
    process: sf.processes.Process,
) -> None:
    field = sf.ExactField(process, MIXTURE)
    x = at(process, process.t_min).sample(50, 0)
    truth = encode(field, x, sf.ODESolver("dopri5", rtol=1e-8, atol=1e-8))
    steps = sf.ODESolver("euler", 20)
    z = encode(sf.multistep(field), x, steps)
    heun = encode(field, x, sf.ODESolver("heun2", 20))
    assert (z - truth).std() < 0.5 * (heun - truth).std()
    back = decode(sf.multistep(field), z, steps)
    assert (back - x).std() < 0.1


def test_gaussian_data_are_encoded_exactly_in_two_steps() -> None:
    process = sf.VP()
    data = sf.GaussianMixture.isotropic(torch.tensor([[3.0, -1.0]]).double(), 0.5)
    field = sf.ExactField(process, data)
    c = process(torch.tensor([process.t_min, process.t_max]).double())
    x = data.sample(9, 0)
    z = encode(sf.multistep(field), x, sf.ODESolver("euler", 2))
    width = torch.sqrt((0.5 * c.alpha) ** 2 + c.sigma**2)
    want = (x - c.alpha[0] * data.means) * width[1] / width[0] + c.alpha[1] * data.means
    torch.testing.assert_close(z, want, rtol=1e-10, atol=1e-10)


def test_steps_that_do_not_lead_to_noise_are_refused() -> None:
    field, x, euler = sf.ExactField(sf.VP(), MIXTURE), torch.zeros(3, 2), sf.ODESolver("euler", 4)
    for ask in (encode, decode):
        for noisy in (sf.reverse(field), sf.multistep(field, 0.5)):
            with pytest.raises(ValueError, match=r"has no noise, and this SDE has eta .*eta=0.0"):
                ask(noisy, x, euler)
    fitted = sf.sdes.calibrate(field, 4, pilot=32)
    with pytest.raises(ValueError, match=r"lead from noise to data only; .*sf.multistep\(field"):
        encode(fitted, x, euler)
    assert decode(fitted, x, euler).shape == (3, 2)


def test_encoded_data_have_the_moments_at_t_max() -> None:
    process = sf.VP()
    field = sf.ExactField(process, MIXTURE)
    z = encode(field, at(process, process.t_min).sample(4000, 0), sf.ODESolver("rk4", steps=30))
    far = at(process, process.t_max)
    error = 4 / math.sqrt(4000)
    assert (z.mean(0) - far.mean()).abs().max() < error
    assert (z.T.cov() - far.covariance()).abs().max() < 1.5 * error


def test_hutchinson_estimate_is_unbiased_and_scatters_by_its_error() -> None:
    """Errors in units of the stated standard error: mean 0, size 1 (Student's t of 15 degrees)."""
    process = sf.VP()
    field, solver = sf.ExactField(process, MIXTURE), sf.ODESolver("rk4", steps=20)
    x = at(process, process.t_min).sample(400, 3)
    exact = log_likelihood(field, x, solver)
    value, error = hutchinson_log_likelihood(field, x, solver, probes=16, seed=5)
    pull = (value - exact) / error
    assert error.min() > 0
    assert abs(float(pull.mean())) < 4 * math.sqrt(15 / 13 / 400)
    assert float(pull.square().mean()) == pytest.approx(15 / 13, rel=0.35)
    fewer = hutchinson_log_likelihood(field, x, solver, probes=4, seed=5)[1]
    assert float(fewer.mean() / error.mean()) == pytest.approx(2, rel=0.2)  # 1 / sqrt(probes)


def test_likelihood_does_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    process = sf.VP()
    field, solver = sf.ExactField(process, MIXTURE), sf.ODESolver("rk4", steps=5)
    x = MIXTURE.sample(37, 0)
    whole = log_likelihood(field, x, solver)
    monkeypatch.setattr("sdeflow.analysis.likelihood.CHUNK", 10)
    assert torch.allclose(log_likelihood(field, x, solver), whole, rtol=1e-13, atol=1e-13)


def test_each_particle_has_the_likelihood_of_its_own_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Gaussian classes, of which a network knows the noise: the labels are cut with the cloud."""
    process, means, width = sf.VP(), torch.tensor([[2.0, 0.0], [-1.0, 1.0]]).double(), 0.5

    class Known(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            c = process(t)
            off = x - c.alpha * means[label]
            return c.sigma * off / ((c.alpha * width) ** 2 + c.sigma**2)

    field, solver = sf.LearnedField(process, Known()), sf.ODESolver("rk4", steps=30)
    label = torch.arange(23) % 2
    each = field.given(label)
    guided = sf.GuidedField(each, field.given(0), 1.0)
    x = means[label] + width * MIXTURE.sample(23, 0)

    def log_normal(y: torch.Tensor, t: float) -> torch.Tensor:
        c = process(torch.tensor(t, dtype=torch.float64))
        variance = (c.alpha * width) ** 2 + c.sigma**2
        square = (y - c.alpha * means[label]).square().sum(1) / variance
        return -square / 2 - torch.log(2 * math.pi * variance)

    monkeypatch.setattr("sdeflow.analysis.likelihood.CHUNK", 10)
    far = functools.partial(log_normal, t=process.t_max)
    want = log_normal(x, process.t_min)
    for one in (each, guided):
        assert (log_likelihood(one, x, solver, prior=far) - want).abs().max() < 1e-3
    value, error = hutchinson_log_likelihood(each, x, solver, probes=2, prior=far)
    assert (value - want).abs().max() < 1e-3  # the Jacobian is a number times 1
    assert error.max() < 1e-8
    with pytest.raises(ValueError, match=r"23 labels for 20 particles; give one for each, or one"):
        log_likelihood(each, x[:20], solver)


def test_bad_arguments_are_refused() -> None:
    field, solver = sf.ExactField(sf.VP(), MIXTURE), sf.ODESolver("rk4", steps=5)
    with pytest.raises(ValueError, match="NaN or infinite"):
        log_likelihood(field, torch.tensor([[math.nan, 0.0]]), solver)
    for prior, got in ((lambda x: x, r"\(3, 2\)"), (lambda x: x.sum(), r"\(\)"), (len, "int")):
        with pytest.raises(ValueError, match=rf"the prior returned {got} for a cloud.*\(n,\)"):
            log_likelihood(field, torch.zeros(3, 2), solver, prior=prior)
    with pytest.raises(ValueError, match="at least 2"):
        hutchinson_log_likelihood(field, torch.zeros(3, 2), solver, probes=1)
    for ask in (encode, decode, log_likelihood):
        for wrong in (sf.SDESolver(), None, "dopri5"):
            with pytest.raises(TypeError, match="solver must be an ODESolver, got"):
                ask(field, torch.zeros(3, 2), wrong)
        with pytest.raises(TypeError, match="field must be a Field, got"):
            ask(sf.forward(field.process), torch.zeros(3, 2), solver)
        with pytest.raises(ValueError, match="x must have dimension 2, got 3"):
            ask(field, torch.zeros(3, 3), solver)
    with pytest.raises(TypeError, match="prior must be a function"):
        log_likelihood(field, torch.zeros(3, 2), solver, prior=torch.zeros(3))


def test_field_that_looks_across_its_cloud_gives_no_density_of_a_particle() -> None:
    """Such as a network with BatchNorm in train mode: the trace would hold the other rows too."""

    class Network(torch.nn.Module):
        share = 0.1

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return x - self.share * x.mean(0)

    network, solver = Network(), sf.ODESolver("rk4", steps=3)
    field, x = sf.LearnedField(sf.VP(), network, data_std=1.0), MIXTURE.sample(9, 0)
    with pytest.raises(ValueError, match=r"changes or fails without the others.*\.eval\(\)"):
        log_likelihood(field, x, solver)
    with pytest.raises(ValueError, match="without the others"):
        hutchinson_log_likelihood(field, x, solver, probes=2)
    network.share = 0.0
    assert log_likelihood(field, x, solver).isfinite().all()
