"""Estimates: the stated error is the scatter."""

import math

import pytest
import torch
from scipy.stats import expon

from sdeflow.analysis import Estimate
from tests.problems import f64


def test_estimate_scatters_by_its_error() -> None:
    """400 means of 50 exponentials each: their standard scores have mean square one."""
    samples = expon.rvs(size=(50, 400), random_state=0)
    found = Estimate.of(torch.from_numpy(samples))
    assert found.value.shape == found.error.shape == (400,)
    square = float(found.standard_score(1.0).square().mean())
    assert square == pytest.approx(1.0, abs=5 * math.sqrt(2 / 400) + 5 / 50)
    assert str(Estimate(f64(1.5), f64(0.25))) == "1.5 +- 0.25"


def test_estimates_print_themselves_in_words() -> None:
    assert repr(Estimate(f64(1.5), f64(0.25))) == "1.5 +- 0.25"
    assert repr(Estimate(f64([1.5, 2.0]), f64([0.25, 0.5]))) == (
        "estimates (2,) with errors from 0.25 to 0.5"
    )


def test_one_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="number of samples must be at least 2"):
        Estimate.of(torch.ones(1))
