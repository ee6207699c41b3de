"""A field that is told the mean of its data is the field of the centred data, shifted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import sdeflow as sf
from tests.problems import close, f64, lopsided, randn, small, times_of

MEAN = f64([40.0, -7.0])


class Centred(torch.nn.Module):
    """The unit row of the exact field of centred data, as a network sees and gives it."""

    def __init__(self, process: sf.processes.Process, std: float) -> None:
        super().__init__()
        self.exact, self.std = sf.ExactField(process, lopsided()), std

    def forward(self, y: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        process = self.exact.process
        t = process.time_of(torch.exp(4 * level.double()) * self.std)
        c = process(t).along(y)
        root = torch.sqrt((c.alpha * self.std) ** 2 + c.sigma**2)
        x0, eps = self.exact.split(y * root, t)
        return c.sigma / (self.std * root) * x0 - c.alpha * self.std / root * eps


@pytest.mark.parametrize("grad", [True, False])
def test_shifted_data_have_the_shifted_field(process: sf.processes.Process, grad: bool) -> None:
    """E[x_0 | x] of data + m at x + alpha m is E[x_0 | x] + m, and the noise is the same."""
    law = lopsided()
    std = law.std()
    told = sf.LearnedField(process, Centred(process, std), data_std=std, data_mean=MEAN)
    exact = sf.ExactField(process, law.moved(-MEAN, 1.0))
    x0 = law.sample(20, 0) + MEAN
    for t in times_of(process, 3):
        x = process.perturb(x0, t, randn(20, 2))
        with torch.set_grad_enabled(grad):
            assert close(told.data(x, t), exact.data(x, t), 1e-5)
            assert close(told.noise(x, t), exact.noise(x, t), 1e-5)
    each = times_of(process, 20)
    x = process.perturb(x0, each, randn(20, 2))
    assert close(told.data(x, each), exact.data(x, each), 1e-5)


def test_solver_sees_the_mean_too() -> None:
    """In the Brownian frame y = x / alpha a shift of the data is a shift of y, in every step."""
    process, law = sf.VP(), lopsided()
    plain = sf.LearnedField(process, Centred(process, 1.0), data_std=1.0)
    told, y = replace(plain, data_mean=MEAN), 50 * law.sample(30, 0)
    run = sf.ODESolver("heun2", steps=12)
    moved = run.solve(sf.sdes.comoving(told), y + MEAN).x[-1]
    assert close(moved, run.solve(sf.sdes.comoving(plain), y).x[-1] + MEAN, 1e-6)


def test_checkpoint_keeps_the_mean(tmp_path: Path) -> None:
    field = replace(small(), data_mean=MEAN)
    sf.training.save(field, tmp_path / "field.safetensors")
    back = sf.training.load(tmp_path / "field.safetensors")
    assert back.data_mean is not None
    assert torch.equal(back.data_mean, MEAN)
    x = randn(5, 2, dtype=torch.float32)
    assert torch.equal(back.data(x, 0.4), field.data(x, 0.4))


def test_guided_parts_of_unlike_means_are_two_calls() -> None:
    """One call would shift both by one mean."""
    network = sf.MLP(width=8, depth=2, waves=4, labels=2)
    network.last.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    field = sf.LearnedField(sf.VP(), network, data_std=1.0)
    here, there = replace(field, data_mean=MEAN).given(0), field.given(1)
    x = randn(6, 2, dtype=torch.float32)
    with torch.no_grad():
        guided = sf.GuidedField(here, there, 2.0).noise(x, 0.5)
        assert close(guided, 2 * here.noise(x, 0.5) - there.noise(x, 0.5), 1e-4)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        (MEAN, None, "data_mean needs data_std"),
        (f64([[1.0, 2.0]]), 1.0, r"data_mean must be \(d,\)"),
        (f64([1.0, float("nan")]), 1.0, r"data_mean must be \(d,\)"),
    ],
)
def test_what_is_no_mean_is_refused(mean: torch.Tensor, std: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sf.LearnedField(sf.VP(), sf.MLP(), data_std=std, data_mean=mean)


@pytest.mark.parametrize("mean", [[40, -7], (40.0, -7.0), MEAN.long(), MEAN.numpy()], ids=repr)
def test_any_row_of_numbers_is_a_mean(mean: object) -> None:
    field = replace(small(), data_mean=mean)
    assert torch.equal(field.data_mean, MEAN)
    with pytest.raises(TypeError, match=r"data_mean must be real numbers, .* got 'far'"):
        replace(small(), data_mean="far")


def test_mean_of_another_dimension_is_refused() -> None:
    field = sf.LearnedField(sf.VP(), sf.MLP(), data_std=1.0, data_mean=f64([1.0]))
    x = randn(4, 2, dtype=torch.float32)
    with pytest.raises(ValueError, match="data_mean has 1 numbers, the cloud 2 axes"):
        field.noise(x, 0.5)
    with pytest.raises(ValueError, match="data_mean has 1 numbers, the cloud 2 axes"):
        sf.SDESolver(steps=3).solve(sf.reverse(field), x)
