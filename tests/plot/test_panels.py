"""Panels of one scale show everything, in colours that mean the same and name their unit."""

import math

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

import sdeflow as sf
from sdeflow import plot
from tests.problems import lopsided, randn


@pytest.fixture
def ax() -> Axes:
    return Figure(layout="constrained").subplots()


def normal(cells: int = 400, deviation: float = 2.0) -> sf.Density:
    law = sf.GaussianMixture.isotropic(torch.zeros(1, 1).double(), deviation)
    return law.on_grid(sf.Grid(-20.0, 20.0, (cells,)))


def test_a_window_holds_every_particle_with_a_margin() -> None:
    x, path = randn(50, 2) + 3, sf.solvers.Path(torch.tensor([1.0, 0.0]), randn(2, 5, 2), 1, 0.1)
    seen = plot.window(x, path, x.numpy()[:4])
    every = torch.cat([x, path.x.flatten(0, 1)])
    low, high = torch.tensor(seen.low), torch.tensor(seen.high)
    assert (low < every.amin(0)).all()
    assert (every.amax(0) < high).all()
    sides = high - low
    assert float(sides[0]) == pytest.approx(float(sides[1]))  # a square
    extent = float((every.amax(0) - every.amin(0)).max())
    assert extent < float(sides[0]) <= 1.11 * extent
    assert seen.half == pytest.approx(float(sides[0]) / 2)
    exact = plot.window(x, margin=0.0)
    assert exact.half * 2 == pytest.approx(float((x.amax(0) - x.amin(0)).max()))
    assert plot.window(x[:1]).half > 0
    assert plot.window([x, path]) == plot.window(x, path)
    assert plot.window(x.tolist()) == plot.window(x)


def test_a_window_of_a_density_holds_its_mass() -> None:
    p = normal()
    seen = plot.window(p)
    law = stats.norm(0, 2)
    assert 0.998 < law.cdf(seen.high[0]) - law.cdf(seen.low[0]) < 0.9995
    assert plot.window(p, normal(400, 1.0)) == seen
    t = torch.tensor([0.0, 1.0]).double()
    path = sf.fokker_planck.DensityPath(t, (p, normal(400, 1.0)), sf.fokker_planck.Diagnostics())
    assert plot.window(path) == seen
    assert plot.peak(path) == plot.peak(normal(400, 1.0))


def test_panels_of_one_scale_have_the_same_colours() -> None:
    """vmax = the largest p of both; alone, the flatter one would be as dark as the other."""
    grid = sf.Grid(-8.0, 8.0, (64, 64))
    one, flat = (
        sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), s).on_grid(grid)
        for s in (0.8, 1.6)
    )
    peak = plot.peak(one, flat)
    assert peak == pytest.approx(float(one.mass.max()) / grid.volume)
    panels = Figure().subplots(1, 2)
    images = [plot.density(a, p, 6.0, peak) for a, p in zip(panels, (one, flat), strict=True)]
    assert [image.get_clim() for image in images] == [(0.0, peak)] * 2
    assert [a.get_xlim() for a in panels] == [(-6, 6)] * 2
    assert images[1].get_array().max() < 0.3 * peak


def test_a_drawn_density_integrates_to_one(ax: Axes) -> None:
    """The image's numbers times the area of a pixel; the steps times their widths; so the tube."""
    grid = sf.Grid((-8.0, -6.0), (8.0, 10.0), (64, 32))
    image = plot.density(ax, lopsided().on_grid(grid))
    left, right, bottom, top = image.get_extent()
    rows, columns = image.get_array().shape
    area = (right - left) * (top - bottom) / (rows * columns)
    assert (rows, columns) == (32, 64)
    assert image.get_array().sum() * area == pytest.approx(1.0, abs=1e-5)
    p = normal()
    heights, edges, _ = plot.density(ax, p).get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    ends = torch.tensor([0.0, 1.0, 3.0]).double()
    path = sf.fokker_planck.DensityPath(ends, (p, p, p), sf.fokker_planck.Diagnostics())
    mesh = plot.tube(ax, path, sf.Grid(-20.0, 20.0, (4,)))
    corners = mesh.get_coordinates()
    assert corners[0, :, 0].tolist() == [0.0, 0.5, 2.0, 3.0]
    assert np.allclose(mesh.get_array().sum(0) * np.diff(corners[:2, 0, 1]), 1.0)


def test_a_cloud_on_a_line_is_a_histogram_of_p(ax: Axes) -> None:
    x = 2 * randn(5000, 1)
    heights, edges, _ = plot.cloud(ax, x, label="cloud").get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    assert (edges[0], edges[-1]) == pytest.approx((float(x.min()), float(x.max())))
    middles = (edges[1:] + edges[:-1]) / 2
    spread = np.sqrt(stats.norm(0, 2).pdf(middles) / (5000 * np.diff(edges)))
    assert np.abs(heights - stats.norm(0, 2).pdf(middles)).max() < 5 * spread.max()
    assert ax.get_ylabel() == "$p$ (1 / data unit)"
    few = plot.cloud(ax, x, plot.GREEN, bins=7)
    assert len(few.get_data().values) == 7
    far = torch.cat([x, torch.tensor([[1e7]]).double()])  # an outlier makes no million bins
    assert len(plot.cloud(ax, far).get_data().values) <= 400


def test_a_colour_bar_names_quantity_and_unit(ax: Axes) -> None:
    image = plot.density(ax, lopsided().on_grid(sf.Grid(-8.0, 8.0, (32, 32))), unit="m")
    bar = plot.colour_bar(ax, image)
    assert bar.ax.get_ylabel() == "$p$ (1 / m$^2$)"
    assert (bar.vmin, bar.vmax) == image.get_clim()
    assert bar.extend == "neither"
    image.set_clim(0.0, image.get_clim()[1] / 2)
    assert plot.colour_bar(ax, image, "more").extend == "max"
    x = randn(20, 2)
    dots = plot.cloud(ax, x, x[:, 0])
    assert plot.colour_bar(ax, dots).ax.get_ylabel() == ""
    assert plot.colour_bar(ax, dots, "start").ax.get_ylabel() == "start"
    law = sf.check_density(lopsided().sample(500, 0), lopsided().on_grid(sf.Grid(-8, 8, (32, 32))))
    bins = plot.residual(ax, law, lopsided().on_grid(sf.Grid(-8, 8, (32, 32))))
    assert plot.colour_bar(ax, bins).ax.get_ylabel() == "residual (sd)"


@pytest.mark.parametrize("shape", [(1, 3), (2, 2)])
def test_a_shared_colour_bar_stands_beside_its_panels(shape: tuple[int, int]) -> None:
    with plot.figure(venue="cvpr", columns=2, panels=shape) as fig:
        axes = fig.subplots(*shape)
        p = lopsided().on_grid(sf.Grid(-8.0, 8.0, (32, 32)))
        images = [plot.density(a, p) for a in axes.flat]
        bar = plot.colour_bar(axes, images[0])
        fig.draw_without_rendering()
        last = axes.flat[-1].get_window_extent()
        place = bar.ax.get_window_extent()
    assert place.x0 > last.x1
    assert bar.ax.get_tightbbox().x1 <= fig.bbox.x1 + 1
    if shape[0] == 1:
        assert (place.y0, place.y1) == pytest.approx((last.y0, last.y1), abs=1.0)


def test_a_frame_with_a_unit_has_ticks_and_labels(ax: Axes) -> None:
    plot.frame(ax, plot.Window((0.0, 1.0), (4.0, 5.0)), unit="m")
    assert (ax.get_xlim(), ax.get_ylim()) == ((0.0, 4.0), (1.0, 5.0))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$ (m)", "$x_2$ (m)")
    assert len(ax.get_xticks()) > 2
    assert math.isclose(ax.get_aspect(), 1.0)
