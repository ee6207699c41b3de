"""The average of the weights: its shares in closed form, and never worse than the weights."""

import pytest
import torch
from torch import nn

import sdeflow as sf
from sdeflow.training.average import EXPONENT, WeightAverage, kept_share
from tests.problems import close, f64

POWER = EXPONENT + 1


class Numbers(nn.Module):
    """Some weights, and a buffer."""

    count: torch.Tensor

    def __init__(self, *values: float, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=dtype))
        self.register_buffer("count", torch.zeros(()))

    def show(self, *values: float) -> None:
        """Take these values."""
        with torch.no_grad():
            self.w.copy_(torch.tensor(values))
        self.count += 1


def test_shares_are_those_of_a_power_function() -> None:
    """a_K = sum_j (j^p - (j - 1)^p) / K^p w_j: with unit vectors as w_j these are read off."""
    steps = 12
    source, target = Numbers(*[9.0] * steps), Numbers(*[1e9] * steps)
    average = WeightAverage(source, target, 0.995)
    for k in range(1, steps + 1):
        source.show(*[float(j == k) for j in range(1, steps + 1)])
        average.update(k)
        j = torch.arange(1, k + 1, dtype=torch.float64)
        shares = (j**POWER - (j - 1) ** POWER) / k**POWER
        assert close(target.w.detach()[:k], shares, 1e-12)
        assert float(target.w[k:].detach().abs().sum()) == 0.0  # w_0 has no share
        assert close(target.w.detach().sum(), f64(1.0), 1e-12)
        assert target.count == k


def test_width_of_the_average_is_a_twentieth_of_the_steps() -> None:
    """The standard deviation of j under its shares, relative to K (Karras et al.: 0.05)."""
    j = torch.arange(1, 2001, dtype=torch.float64)
    shares = (j**POWER - (j - 1) ** POWER) / 2000**POWER
    mean = float((shares * j).sum())
    assert float((shares * (j - mean) ** 2).sum()) ** 0.5 / 2000 == pytest.approx(0.05, rel=2e-3)


def test_late_average_is_exponential() -> None:
    source, target = Numbers(0.0), Numbers(0.0)
    average = WeightAverage(source, target, 0.9)
    start = 200
    assert kept_share(start, 0.9) == 0.9
    for k in range(1, start):
        average.update(k)
    for k in range(start, start + 30):
        source.show(1.0)
        average.update(k)
        assert target.w.item() == pytest.approx(1 - 0.9 ** (k - start + 1), rel=1e-12)


def test_average_of_short_numbers_is_held_in_float32() -> None:
    """In bfloat16 1 + (0 - 1) / 200 is 1 or 0.996, and a small difference never gets in."""
    source, target = Numbers(1.0, dtype=torch.bfloat16), Numbers(0.0, dtype=torch.bfloat16)
    average = WeightAverage(source, target, 0.999)
    for k in range(1, 20_000):
        if k == 18_000:
            source.show(0.75)
        average.update(k)
    expected = 0.75 + 0.25 * 0.999**2000
    assert float(average.state()["w"]) == pytest.approx(expected, rel=1e-5)
    assert target.w.item() == pytest.approx(expected, rel=2**-8)


def test_average_is_never_worse_than_the_weights_that_it_averages() -> None:
    """At any step its excess loss is at most that of the weights 15 % of the steps ago."""
    data, process = sf.datasets.ring(), sf.VE()
    truth = sf.ExactField(process, data.distribution)
    network = sf.MLP(width=64, depth=2, waves=16)
    field = sf.LearnedField(process, network, data_std=data.std)
    config = sf.training.TrainingConfig(batch=256, rate=0.01)
    run = sf.training.Training(field, data.sample, 100, config=config)

    def excess(network: nn.Module) -> float:
        known = sf.LearnedField(process, network, data_std=data.std)
        report = sf.training.loss_decomposition(known, truth, levels=6, n=200)
        return float(report.excess.mean())

    untrained, raw, looked = excess(network), dict[int, float](), (2, 5, 10, 20, 40, 60, 80, 100)
    for k, _ in enumerate(run, 1):
        if k in looked or any(k == round(0.85 * later) for later in looked):
            raw[k] = excess(run.network)
        if k in looked:
            assert excess(network) <= 1.03 * max(raw[k], raw[round(0.85 * k)]), k
    assert excess(network) < 1.03 * raw[100] < untrained / 2
