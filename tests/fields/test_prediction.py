"""Predictions: rows, conversion between them, and the unit row."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import sdeflow as sf
from sdeflow.fields.prediction import Row, decode, encode, mixing, unit_row
from sdeflow.processes.process import Coefficients
from tests.problems import PROCESSES, close, f64, lopsided, randn, times_of

levels = st.floats(0.05, 1.0)
rates = st.floats(0.1, 5.0)
numbers = st.floats(-5.0, 5.0)


def coefficients(alpha: float, sigma: float, fall: float, rise: float) -> Coefficients[Tensor]:
    """alpha falls and sigma rises, so that every row has a solution."""
    return Coefficients(*f64([alpha, sigma, -fall, rise]))


def rows(c: Coefficients) -> list[Row]:
    return [p.row(c) for p in sf.fields.Prediction] + [unit_row(c, s) for s in (0.5, 1.0, 2.0)]


@given(levels, levels, rates, rates, numbers, numbers)
def test_decode_is_the_inverse_of_encode_in_every_row(
    alpha: float, sigma: float, fall: float, rise: float, a: float, b: float
) -> None:
    c = coefficients(alpha, sigma, fall, rise)
    x0, eps = f64([[a, -b]]), f64([[b, a]])
    x = alpha * x0 + sigma * eps
    for row in rows(c):
        for got, want in zip(decode(row, encode(row, x0, eps), x, c), (x0, eps), strict=True):
            assert close(got, want, 0.0, 1e-12 * 100)  # sizes up to 5 / 0.05


def test_decode_returns_predicted_data_and_noise_unchanged(process: sf.processes.Process) -> None:
    """Data from data and noise from noise, to rounding, also where x_t contains little of them."""
    t = times_of(process, 20).float()
    c = process(t).along(torch.zeros(20, 2))
    x, prediction = randn(20, 2).float(), randn(20, 2, seed=1).float()
    for i, row in enumerate((sf.fields.Prediction.DATA, sf.fields.Prediction.NOISE)):
        got = decode(row.row(c), prediction, x, c)[i]
        assert torch.allclose(got, prediction, rtol=2 * torch.finfo(torch.float32).eps, atol=0)


@given(levels, levels, rates, rates, numbers, numbers)
def test_conversion_between_rows_keeps_data_and_noise(
    alpha: float, sigma: float, fall: float, rise: float, at: float, said: float
) -> None:
    """A prediction in one row, converted to another and decoded there, gives the same pair."""
    c = coefficients(alpha, sigma, fall, rise)
    x = f64([[at]])
    eps = f64([[said]])
    pair = (x - sigma * eps) / alpha, eps
    for row in rows(c):
        for target in rows(c):
            u, v = mixing(row, c, target)
            carried = u * x + v * encode(row, *pair)
            size = 1 + float(carried.abs())
            for got, want in zip(decode(target, carried, x, c), pair, strict=True):
                assert close(got / size, want / size, 0.0, 1e-12 / min(alpha, sigma) ** 2)


@pytest.mark.parametrize("name", PROCESSES)
def test_rows_are_data_noise_score_velocity_and_v(name: str) -> None:
    """Score: the slope of ln N(x; alpha x_0, sigma^2). Velocity: that of x_t at fixed x_0, eps."""
    process = PROCESSES[name]
    x0, eps = randn(3, 2), randn(3, 2, seed=1)
    for t in times_of(process, 4):
        c = process(t)
        x = process.perturb(x0, t, eps).requires_grad_()
        normal = torch.distributions.Normal(c.alpha * x0, c.sigma)
        score = torch.autograd.grad(normal.log_prob(x).sum(), x)[0]
        moving = torch.autograd.functional.jacobian(lambda t: process.perturb(x0, t, eps), t)
        wants = (x0, eps, score, moving, c.alpha * eps - c.sigma * x0)
        for row, want in zip(
            (
                sf.fields.Prediction.DATA,
                sf.fields.Prediction.NOISE,
                sf.fields.Prediction.SCORE,
                sf.fields.Prediction.VELOCITY,
                sf.fields.Prediction.V,
            ),
            wants,
            strict=True,
        ):
            assert close(encode(row.row(c), x0, eps), want, 1e-9)


def test_rows_of_floats_equal_rows_of_tensors() -> None:
    c = coefficients(0.8, 0.5, 1.2, 0.7)
    plain = Coefficients(*(float(v) for v in c))
    for one, other in zip(rows(c), rows(plain), strict=True):
        assert [float(v) for v in one] == pytest.approx([float(v) for v in other], rel=1e-15)
        for target in ((1.0, 0.0), (0.0, 1.0)):
            both = zip(mixing(one, c, target), mixing(other, plain, target), strict=True)
            assert all(float(a) == pytest.approx(float(b), rel=1e-14) for a, b in both)


# ------------------------------------------------------------------------------------ the unit row


@given(levels, levels, st.floats(0.1, 10.0))
def test_unit_row_has_unit_variance_and_is_uncorrelated_with_x(
    alpha: float, sigma: float, s: float
) -> None:
    """(x_0, eps) has covariance diag(s^2, 1), of which x_t and the target are two projections."""
    c = coefficients(alpha, sigma, 1.0, 1.0)
    project = torch.stack([torch.stack(list(unit_row(c, s))), torch.stack([c.alpha, c.sigma])])
    covariance = project @ torch.diag(f64([s**2, 1.0])) @ project.T
    assert float(covariance[0, 0]) == pytest.approx(1, rel=1e-12)
    assert float(covariance[0, 1]) == pytest.approx(0, abs=1e-13 * s)


def test_unit_row_of_a_mixture_has_unit_variance() -> None:
    """Not Gaussian: only the second moments matter."""
    mixture = lopsided()
    x0 = mixture.sample(100_000, seed=1) - mixture.mean()
    eps = randn(100_000, 2)
    s = float(mixture.covariance().trace() / 2) ** 0.5
    for alpha, sigma in ((0.99, 0.1), (0.6, 0.8), (0.1, 2.0)):
        c = coefficients(alpha, sigma, 1.0, 1.0)
        target, x = encode(unit_row(c, s), x0, eps), alpha * x0 + sigma * eps
        assert float((target**2).mean()) == pytest.approx(1, abs=0.02)
        assert float((target * x).mean() / x.std()) == pytest.approx(0, abs=0.02)


@given(st.floats(0.01, 1.55))
def test_unit_row_is_minus_v(angle: float) -> None:
    """Salimans and Ho 2022: on the circle alpha = cos phi, v = d x_t / d phi, when s = 1."""
    c = coefficients(math.cos(angle), math.sin(angle), 1.0, 1.0)
    x0, eps = randn(3, 2), randn(3, 2, seed=1)
    v = torch.autograd.functional.jacobian(
        lambda phi: torch.cos(phi) * x0 + torch.sin(phi) * eps,
        f64(angle),
    )
    assert close(encode(unit_row(c, 1.0), x0, eps), -v, 1e-12)
    assert close(encode(sf.fields.Prediction.V.row(c), x0, eps), v, 1e-12)


def test_unit_row_is_edm_preconditioning() -> None:
    """Against the denoised sample that diffusers computes from a network output."""
    diffusers = pytest.importorskip("diffusers")
    edm = diffusers.EDMEulerScheduler(sigma_data=0.5)
    x, out = randn(4, 2), randn(4, 2, seed=1)
    for sigma in (0.01, 0.5, 7.0):
        c = coefficients(1.0, sigma, 0.0, 1.0)
        x0, eps = decode(unit_row(c, 0.5), out, x, c)
        assert close(x0, edm.precondition_outputs(x, out, sigma), 1e-12)
        assert close(x0 + sigma * eps, x, 1e-12)
