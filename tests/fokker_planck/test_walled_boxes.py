"""Densities in boxes of two dimensions, against products of series and closed forms."""

import math

import numpy as np
import pytest
import torch

import sdeflow as sf
from sdeflow import SDE, Density, Grid, evolve
from tests.problems import f64
from tests.sdes.test_walls import CASES

SIDES = {
    "reflecting": (("absorbing", "reflecting"), "reflected", 1.0),
    "periodic": (("absorbing", "periodic"), "ring", 5.0),
    "with a spring": (("absorbing", "reflecting"), "OU", 5.0),
}


def errors_in_a_box(name: str, sizes: tuple[int, ...]) -> list[float]:
    """The total variations in a box that absorbs along x, by cells a side."""
    kinds, across, stretch = SIDES[name]
    _, cdf_x, x0, (low, high) = CASES["absorbed"]
    other, cdf_y, y0, (bottom, top) = CASES[across]
    noise = f64([1.0, math.sqrt(stretch)])  # time runs `stretch` times as fast along y
    sde = SDE(
        lambda x, t: torch.stack([0 * x[:, 0], stretch * other.drift(x[:, 1:], t)[:, 0]], 1),
        lambda x, t: noise, 0.04, 0.16,
        walls=sf.sdes.Box([low, bottom], [high, math.inf if across == "OU" else top], kinds),
    )  # fmt: skip
    out = []
    for cells in sizes:
        grid = Grid((low, bottom), (high, top), (cells, cells))
        x, y = grid.edges(0).numpy(), grid.edges(1).numpy()
        start, end = (
            f64(np.outer(np.diff(cdf_x(x, t, x0)), np.diff(cdf_y(y, stretch * t, y0))))
            for t in (sde.t_start, sde.t_end)
        )
        found = evolve(sde, Density(grid, start.clamp_min(0)), [0.04, 0.16], steps=cells)[-1]
        out.append(float((found.mass - end).abs().sum()) / 2)
        assert out[-1] < 3 * (found.error or 0.0)
        assert float(found.total() - end.sum()) == pytest.approx(0.0, abs=2 * out[-1])
    return out


@pytest.mark.parametrize("sizes", [(16, 32), pytest.param((64, 128), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SIDES)
def test_densities_in_a_box_are_products_of_series_and_of_order_two(
    name: str, sizes: tuple[int, int]
) -> None:
    first, last = errors_in_a_box(name, sizes)
    assert math.log2(first / last) > 1.85
    assert last < (1e-4 if sizes[1] == 128 else 5e-4)
