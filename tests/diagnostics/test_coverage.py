"""Spread, coverage and class shares of the data themselves."""

import pytest
import torch

import sdeflow as sf
from sdeflow.diagnostics import class_shares, column_scale, coverage, nearest, spread
from tests.problems import close, f64, randn

POINTS, LABELS = (
    getattr(sf.datasets.spiral().distribution, name) for name in ("points", "labels")
)


def test_the_data_have_spread_one_and_cover_themselves() -> None:
    assert spread(POINTS, torch.cov(POINTS.T)) == pytest.approx(1.0, rel=1e-12)
    assert coverage(POINTS, POINTS) == 1.0
    assert coverage(POINTS[:7], POINTS) == pytest.approx(0.07)
    assert torch.equal(nearest(POINTS + 1e-3, POINTS), torch.arange(100))
    assert close(class_shares(POINTS, POINTS, LABELS), f64([0.3, 0.3, 0.4]))
    assert close(class_shares(POINTS, POINTS, LABELS.tolist()), f64([0.3, 0.3, 0.4]))


def test_columns_of_unlike_units_count_alike_with_a_scale() -> None:
    """In kelvin and pascal the nearest point is that of nearest pressure."""
    unit = f64([1e-3, 1e3])
    x, scale = POINTS + 1e-2 * randn(100, 2), unit * column_scale(POINTS).mean()
    found = nearest(unit * x, unit * POINTS, scale=scale)
    assert torch.equal(found, nearest(x, POINTS))
    assert coverage(unit * x, unit * POINTS, scale=scale) == coverage(x, POINTS)
    shares = class_shares(unit * x, unit * POINTS, LABELS, scale=scale)
    assert close(shares, class_shares(x, POINTS, LABELS))
    own = spread(unit * x, torch.diag(unit**2) @ torch.cov(POINTS.T), scale=unit)
    assert own == pytest.approx(spread(x, torch.cov(POINTS.T)), rel=1e-9)
    for ask in (
        lambda: nearest(unit * x, unit * POINTS),
        lambda: coverage(unit * x, unit * POINTS),
        lambda: class_shares(unit * x, unit * POINTS, LABELS),
        lambda: spread(unit * x, torch.eye(2)),
    ):
        with pytest.warns(RuntimeWarning, match="column 1 alone decides the distance; give"):
            ask()


@pytest.mark.parametrize(
    ("mistake", "error", "words"),
    [
        (lambda: class_shares(POINTS, POINTS, LABELS[:3]), ValueError, "labels must be"),
        (lambda: class_shares(POINTS, POINTS, LABELS - 5), ValueError, "labels must count from 0"),
        (lambda: class_shares(POINTS, POINTS, None), TypeError, "labels must be whole numbers"),
        (lambda: class_shares(POINTS, LABELS, POINTS), TypeError, "points must be a floating"),
        (lambda: spread(POINTS, torch.eye(3)), ValueError, "covariance must be"),
        (lambda: spread(POINTS, 0 * torch.eye(2)), ValueError, "positive trace"),
        (lambda: spread(POINTS[:1], torch.eye(2)), ValueError, "must be at least 2"),
        (lambda: nearest(POINTS, POINTS[:, :1]), ValueError, "points must have dimension 2"),
        (lambda: coverage(POINTS.tolist(), POINTS), TypeError, "x must be a floating-point"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_sentence(mistake, error, words: str) -> None:
    with pytest.raises(error, match=words):
        mistake()
