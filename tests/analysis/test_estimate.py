"""Estimates: the stated error is the scatter."""

import copy
import math
import pickle

import pytest
import torch
from scipy.stats import expon

import sdeflow as sf
from sdeflow.analysis import Estimate
from sdeflow.diagnostics.error_budget import split_error
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


def test_samples_may_be_a_list_and_bad_ones_are_refused() -> None:
    found = Estimate.of([1.0, 2.0, 6.0])
    assert float(found.value) == 3.0
    assert float(found.standard_score(3)) == 0.0
    for samples in (torch.ones(1), [1.0], torch.tensor(2.0)):
        with pytest.raises(ValueError, match="number of samples must be at least 2"):
            Estimate.of(samples)
    with pytest.raises(ValueError, match="samples must be finite"):
        Estimate.of([1.0, math.nan])
    for wrong in (None, "a", [1.0, "a"]):
        with pytest.raises(TypeError, match="samples must be"):
            Estimate.of(wrong)
    with pytest.raises(ValueError, match="truth must be one number or have the shape"):
        found.standard_score([1.0, 2.0])


VE, TIMES = sf.VE(), sf.processes.log_snr_times(sf.VE(), 4)
ONES = torch.ones(120, 2, dtype=torch.float64).cumsum(0) / 100
FLAT = sf.Density(sf.Grid(0.0, 1.3, (8, 8)), torch.full((8, 8), 1 / 64))


@pytest.mark.parametrize(
    "thing",
    [
        Estimate(f64(1.5), f64(0.25)),
        sf.analysis.Passage(f64([1.0, 2.0]), torch.tensor([True, False])),
        sf.analysis.NoiseLevel(0.5),
        sf.analysis.Curve(f64([0.1, 0.2]), f64([1.0, 2.0])),
        sf.analysis.small_variance(VE, TIMES),
        sf.analysis.Bound(TIMES, torch.ones(6, 9)),
        sf.check_density(ONES, FLAT),
        split_error(ONES, dict.fromkeys(("exact", "learned", "prior", "sampler"), FLAT)),
        sf.diagnostics.two_sample_test(ONES, 2 * ONES),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_results_are_the_same_when_copied_or_pickled(thing) -> None:
    for copied in (copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
        assert type(copied) is type(thing)
        assert str(copied) == str(thing)
