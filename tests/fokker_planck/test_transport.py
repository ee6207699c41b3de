"""Semi-Lagrangian transport along one axis: it keeps mass and is positive."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings

from sdeflow.fokker_planck.transport import departure_points, remap

F64 = torch.float64


@settings(max_examples=60)
@example(0, 24, 3, 1e6)
@given(
    st.integers(0, 10**6), st.integers(4, 40), st.integers(1, 5), st.floats(0.01, 30.0)
)  # fmt: skip
def test_remap_keeps_the_mass_of_each_line_and_is_positive(seed, n, m, speed) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random((n, m)) ** 4
    x = departure_points(speed * rng.standard_normal((n + 1, m)))
    assert (np.diff(x, axis=0) >= 0).all()
    out = remap(p, x)
    assert (out >= 0).all()
    assert np.allclose(out.sum(0), p.sum(0), rtol=1e-13)


def test_remap_by_whole_cells_is_exact_and_stops_at_the_wall() -> None:
    p = np.random.default_rng(0).random((12, 3))
    x = np.clip(np.arange(13.0)[:, None] - 3 + np.zeros(3), 0, 12)
    x[-1] = 12
    out = remap(p, x)
    assert np.allclose(out[3:-1], p[:-4])
    assert np.allclose(out[:3], 0)
    assert np.allclose(out[-1], p[-4:].sum(0))


@pytest.mark.parametrize("speed", [0.01, 0.4, 3.0])
def test_departure_points_of_linear_motion_are_exponential(speed: float) -> None:
    """dx/dt = k (x - middle) leads back by e^{-k}; inwards it may come from outside the box."""
    middle = np.arange(41.0)[:, None] - 20
    assert np.allclose(
        departure_points(speed * middle)[1:-1] - 20, middle[1:-1] * math.exp(-speed), atol=5e-3
    )
    inwards = departure_points(-0.01 * middle)[5:-5] - 20
    assert np.allclose(inwards, middle[5:-5] * math.exp(0.01), atol=1e-9)
