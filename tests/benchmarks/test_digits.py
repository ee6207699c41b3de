"""The digits' judge and likelihood on cases whose answer is known, without any training."""

import math

import pytest
import torch
from torch import Tensor

pytest.importorskip("sklearn", reason="the digits come with scikit-learn, the extra `images`")

import benchmarks.digits as script
from benchmarks.claims import digit_judge, digit_likelihood, digits
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.unet import UNet
from tests.problems import randn


@pytest.fixture(autouse=True)
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge whose features are the first 64 numbers of a picture."""
    network = digit_judge.Judge().eval().requires_grad_(False)
    monkeypatch.setattr(network, "features", lambda x: x.float())
    monkeypatch.setattr(digit_judge, "judge", lambda seed=0: network)


def test_frechet_is_that_of_gaussians() -> None:
    """Of N(m, a^2) and N(0, b^2) per axis it is d (m^2 + (a - b)^2); of a set with itself 0."""
    x, y = randn(20_000, 64, seed=1), randn(20_000, 64, seed=2)
    assert digit_judge.frechet(3 * x + 0.5, y) == pytest.approx(64 * (0.25 + 4), rel=0.01)
    assert abs(digit_judge.frechet(x, x)) < 1e-6
    turn = torch.linalg.qr(randn(64, 64, seed=3)).Q
    wide = x * torch.linspace(0.5, 2, 64)
    assert digit_judge.frechet(wide @ turn, y @ turn) == pytest.approx(
        digit_judge.frechet(wide, y), rel=1e-3
    )


def test_copies_are_counted_and_real_digits_are_none() -> None:
    learned, rest = digits.halves()
    assert script.numbers(learned[:50] + 0.01, None)["copies"] == 1.0
    real = script.numbers(rest, None)
    assert real["copies"] == 0.0
    assert real["nearest / real"] == 1.0
    assert real["Frechet"] == pytest.approx(0.0, abs=1e-6)
    assert "as asked" not in real


def test_likelihood_of_an_untrained_field_is_that_of_a_gaussian(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A UNet gives zero at first, so that the data are N(mean, std^2): ln p is known."""
    data = digits.digits()
    field = LearnedField(
        digits.PROCESS, UNet(labels=10), data_std=data.std, data_mean=data.mean.float()
    )
    monkeypatch.setattr(digit_likelihood, "STEPS", 48)
    found = digit_likelihood.likelihoods(field, n=2, exact=1)
    width2 = data.std**2 + digit_likelihood.WIDTH**2

    def gaussian(name: str) -> Tensor:
        blur = digit_likelihood.normals(0, digit_likelihood.Stream.PROBE, 2, 64, torch.float32)
        off = found.pictures[name] + digit_likelihood.WIDTH * blur - data.mean.float()
        return -(off.square().sum(1) / width2 + 64 * math.log(2 * math.pi * width2)) / 2

    for name in ("whole", "noise 0.8", "negative"):
        assert torch.allclose(found.log_p[name], gaussian(name), atol=0.4, rtol=0.01), name
    assert torch.allclose(found.exact, found.log_p["whole"][:1], atol=1e-2)
    assert found.error < 1e-2  # the divergence of this flow is the same for every probe
    assert found.below("noise 1.6") == 1.0
    assert torch.all(torch.diff(found.number("whole")[found.log_p["whole"].argsort()]) >= 0)


def test_damages_do_what_they_say() -> None:
    x = randn(3, 64)
    done = {name: damage(x) for name, damage in digit_likelihood.damages(0).items()}
    assert torch.equal(done["whole"], x)
    assert torch.equal(done["upside down"].reshape(3, 8, 8), x.reshape(3, 8, 8).flip(1))
    assert torch.equal(done["shuffled"].sort(1).values, x.sort(1).values)
    assert (done["lower half gone"][:, 32:] == -1).all()
    assert torch.equal(done["lower half gone"][:, :32], x[:, :32])
    same = torch.ones(3, 64)
    assert torch.allclose(digit_likelihood.damages(0)["blurred"](same), same)
