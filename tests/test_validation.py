"""The checks that every package shares: what they return, and the sentences they give."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sdeflow as sf
from sdeflow._validation import (
    check_between,
    check_cloud,
    check_dtype,
    check_file,
    check_finite,
    check_function,
    check_int,
    check_kind,
    check_labels,
    check_numbers,
    check_positive,
    check_seed,
    check_times,
    shown,
)
from tests.problems import f64
from tests.refusals import LONGEST, faults

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.complex_numbers(), st.lists(st.one_of(st.integers(), st.text(), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([
        torch.zeros(3, 4), torch.zeros(0), torch.tensor(True), torch.tensor(1j), np.zeros((2, 2)),
        np.array("a"), np.array([None]), np.datetime64("2026-01-01"), object(), int, sf.VP,
        sf.VP(), range(3), len, {1}, iter([1.0]), torch.float32, slice(3), b"\n" * 99,
    ]),
)  # fmt: skip


@settings(max_examples=30)
@given(st.lists(NUMBERS, min_size=2, max_size=6, unique=True))
def test_times_are_the_same_however_they_are_written(row: list[float]) -> None:
    rising = sorted(row)
    ways = (rising, tuple(rising), np.array(rising), f64(rising), [f64(t) for t in rising])
    for way in ways:
        found = check_times(way)
        assert found.dtype == torch.float64
        assert found.tolist() == rising  # a list of decimals is not rounded to float32 on the way


@settings(max_examples=60)
@given(ANYTHING)
def test_a_value_is_shown_on_one_short_line(value: object) -> None:
    text = shown(value)
    assert text
    assert "\n" not in text
    assert len(text) <= 70


CHECKS = {
    "cloud": lambda v: check_cloud(v),
    "int": lambda v: check_int(v, "n"),
    "seed": lambda v: check_seed(v),
    "finite": lambda v: check_finite(v, "a"),
    "positive": lambda v: check_positive(v, "a"),
    "between": lambda v: check_between(v, "a", 0.0, 1.0),
    "labels": lambda v: check_labels(v, "label", 3),
    "numbers": lambda v: check_numbers(v, "a"),
    "times": lambda v: check_times(v),
    "kind": lambda v: check_kind(v, sf.SDE, "sde"),
    "function": lambda v: check_function(v, "f", "of the cloud"),
    "file": lambda v: check_file(v),
    "dtype": lambda v: check_dtype(v),
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_a_check_returns_or_refuses_in_one_sentence(check) -> None:
    @settings(max_examples=60)
    @given(ANYTHING)
    def drive(value: object) -> None:
        try:
            check(value)
        except Exception as error:
            fault = faults(error)
        else:
            fault = ""
        assert not fault

    drive()


def test_numbers_keep_their_shape() -> None:
    assert check_numbers([[1, 2], [3, 4]], "a", (2, 2)).tolist() == [[1, 2], [3, 4]]
    assert check_numbers(np.float32(0.5), "a", ()).item() == 0.5
    assert check_numbers(f64(1.0).requires_grad_(), "a").requires_grad is False
    with pytest.raises(
        ValueError, match=r"a must hold finite numbers of shape \(3,\), got shape \(2,\)"
    ):
        check_numbers([1.0, 2.0], "a", (3,))
    with pytest.raises(ValueError, match="a must be finite"):
        check_numbers([1.0, math.nan], "a")


def test_a_number_whose_square_is_none_is_refused() -> None:
    """Squares of 1e200 and of 1e-200 are infinite and zero: an error of Python, or a NaN."""
    for check in (check_positive, check_finite):
        assert check(1e150, "a") == 1e150
        with pytest.raises(ValueError, match=r"a must be at most 1e150 in size, got 1e\+200"):
            check(1e200, "a")
    with pytest.raises(ValueError, match="a must be at least 1e-150"):
        check_positive(1e-200, "a")
    assert check_positive(0.0, "a", zero=True) == 0.0
    with pytest.raises(ValueError, match="width must be at most 1e150"):
        sf.GaussianMixture.isotropic(f64([[0.0]]), 1e300)
    with pytest.raises(ValueError, match="side must be at least 1e-150"):
        sf.distributions.PiecewiseConstant(f64([0.0, 0.0]), 1e-300, f64([[1.0]]))


def test_a_seed_is_a_key() -> None:
    """Seeds are kept modulo 2^64: one beyond would draw the numbers of another."""
    assert check_seed(2**64 - 1) == 2**64 - 1
    with pytest.raises(ValueError, match=r"seed must be below 2\^64"):
        check_seed(2**64)


def test_one_end_of_an_interval_is_kept_without_the_other() -> None:
    """Its allowance for rounding was infinite, and the time became that end."""
    for limits in ({"high": 1.0}, {"low": 0.5}):
        with pytest.raises(ValueError, match="outside"):
            check_times([0.0, 2.0][:: 1 if "high" in limits else -1], **limits)
    assert check_times([0.0, 1.0 + 1e-8], high=1.0).tolist() == [0.0, 1.0]


def test_an_end_may_have_been_rounded() -> None:
    high = 0.1
    assert check_between(float(np.float32(high)), "t", 0.0, high) == high
    with pytest.raises(ValueError, match=r"t must lie in \[0, 0.1\], got 0.11"):
        check_between(0.11, "t", 0.0, high)


@pytest.mark.parametrize(
    ("value", "most", "sentence"),
    [
        (4, 3, "label must be 0 to 3, got 4"),
        ([0, 7], 3, "label must be 0 to 3, got 0 to 7"),
        (-1, None, "label must count from 0, got -1"),
        ([], 3, "label must be"),
        (f64([1.0]), 3, "label must be whole numbers, got torch.float64; use .long()"),
        (1.0, 3, "label must be whole numbers, got torch.float32"),
        (np.float64(2.5), 3, "label must be whole numbers, got torch.float64"),
        ("dog", 3, "label must be whole numbers, got str"),
    ],
)
def test_labels_out_of_range_are_told(value: object, most: int | None, sentence: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        check_labels(value, "label", most)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (sf.VP, "process must be a Process, got the class VP; make one, VP(...)"),
        ("VP", "process must be a Process, got 'VP'; see sf.VP()"),
        (torch.zeros(2, 2), "process must be a Process, got a tensor (2, 2); see sf.VP()"),
    ],
)
def test_a_kind_is_told(value: object, sentence: str) -> None:
    with pytest.raises(TypeError) as error:
        check_kind(value, sf.processes.Process, "process", "see sf.VP()")
    assert str(error.value) == sentence
    assert check_kind(sf.VP(), sf.processes.Process, "process") == sf.VP()


def test_articles() -> None:
    for kind, article in (
        (sf.SDE, "an"),
        (sf.SDESolver, "an"),
        (sf.ODESolver, "an"),
        (sf.Grid, "a"),
    ):
        with pytest.raises(TypeError, match=f"must be {article} {kind.__name__}, got None"):
            check_kind(None, kind, "thing")


def test_long_text_is_cut() -> None:
    with pytest.raises(TypeError) as error:
        check_int("x" * 10_000, "n")
    assert len(str(error.value)) < LONGEST


def test_what_broke_is_told_from_what_was_refused() -> None:
    """The judge itself: an error of an operation is no refusal, whatever its type."""
    with pytest.raises(TypeError) as broken:
        len(5)  # type: ignore[arg-type]
    assert "raw TypeError" in faults(broken.value)
    for call, word in (
        (lambda: sf.Density.normalised("no density"), "raw AttributeError"),
        (lambda: check_int(Unprintable(), "n"), "lines"),
        (lambda: check_kind(None, sf.SDE, "sde", "x" * LONGEST), "characters"),
        (lambda: check_int("a", "n"), ""),
    ):
        with pytest.raises((TypeError, AttributeError)) as error:
            call()
        fault = faults(error.value)
        assert word in fault
        assert bool(word) == bool(fault)


class Unprintable:
    """Its class has a name of two lines."""


Unprintable.__name__ = "Un\nprintable"
