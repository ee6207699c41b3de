"""Spread, coverage and class shares of the data themselves."""

import pytest
import torch

import sdeflow as sf
from sdeflow.diagnostics import class_shares, coverage, nearest, spread
from tests.problems import close, f64

POINTS, LABELS = (
    getattr(sf.datasets.spiral().distribution, name) for name in ("points", "labels")
)


def test_the_data_have_spread_one_and_cover_themselves() -> None:
    assert spread(POINTS, torch.cov(POINTS.T)) == pytest.approx(1.0, rel=1e-12)
    assert coverage(POINTS, POINTS) == 1.0
    assert coverage(POINTS[:7], POINTS) == pytest.approx(0.07)
    assert torch.equal(nearest(POINTS + 1e-3, POINTS), torch.arange(100))
    assert close(class_shares(POINTS, POINTS, LABELS), f64([0.3, 0.3, 0.4]))
    with pytest.raises(ValueError, match="labels"):
        class_shares(POINTS, POINTS, LABELS[:3])
    with pytest.raises(ValueError, match="covariance"):
        spread(POINTS, torch.eye(3))
