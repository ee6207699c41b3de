"""Holm's correction of several p-values: by hand, and between no correction and Bonferroni's."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from sdeflow.diagnostics import holm
from sdeflow.diagnostics.hypothesis import chi_square


def test_holm_of_four_p_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9]) == (0.9,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_none_and_bonferroni(p: list[float]) -> None:
    out = holm(p)
    assert all(a <= b <= min(1.0, len(p) * a) + 1e-15 for a, b in zip(p, out, strict=True))
    assert min(out) == pytest.approx(min(1.0, len(p) * min(p)))
    assert [out[k] for k in np.argsort(p)] == sorted(out)


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: holm([0.2, 1.2]), ValueError, r"numbers in \[0, 1\]"),
        (lambda: holm([math.nan]), ValueError, r"numbers in \[0, 1\]"),
    ],
)  # fmt: skip
def test_bad_p_values_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words) as said:
        mistake()
    assert "\n" not in str(said.value)


def test_a_test_prints_itself_in_words() -> None:
    assert repr(chi_square("chi-square", 250.0, 255)) == (
        "chi-square test: statistic 250 with 255 degrees of freedom, p = 0.58"
    )
