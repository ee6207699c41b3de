"""Whole panels: one window, one scale, the density below, the bar of the colours, the verdict."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import sdeflow as sf
from sdeflow import plot
from tests.figures.faults import faults
from tests.layout import SMALLEST, smallest, texts
from tests.problems import lopsided, randn

GRID = sf.Grid(-8.0, 8.0, (32, 32))
FLAT, PEAKED = (lopsided().on_grid(GRID, 1.0, s) for s in (1.5, 0.3))
TIMES = torch.tensor([1.0, 0.25]).double()
HISTORY = sf.fokker_planck.DensityPath(TIMES, (FLAT, PEAKED), sf.fokker_planck.Diagnostics())
PATH = sf.solvers.Path(TIMES, randn(80, 2).reshape(2, 40, 2), 7, 0.0)


@pytest.fixture(params=["neurips", "prl"])
def fig(request: pytest.FixtureRequest) -> Iterator[Figure]:
    with plot.figure(venue=request.param, panels=(1, 4)) as made:
        yield made


def test_a_strip_has_one_window_and_one_scale(fig: Figure) -> None:
    axes = plot.strip(fig, HISTORY)
    one, two = (ax.images[0] for ax in axes)
    assert one.get_clim() == two.get_clim() == (0.0, plot.peak(PEAKED))
    assert axes[0].get_xlim() == axes[1].get_xlim()
    seen = plot.window(FLAT, PEAKED)
    assert axes[0].get_xlim() == pytest.approx((seen.low[0], seen.high[0]))
    assert [ax.get_title() for ax in axes] == ["$t$ = 1", "$t$ = 0.25"]
    assert fig.get_supxlabel().startswith("every panel: window $\\pm$")
    assert len(axes[-1].child_axes) == 1  # the bar
    assert faults(fig) == []


def test_colours_over_decades_are_logarithmic(fig: Figure) -> None:
    (image,) = plot.strip(fig, [PEAKED], decades=2.0, vmax=0.5)[0].images
    assert isinstance(image.norm, LogNorm)
    assert image.get_clim() == pytest.approx((0.005, 0.5))
    assert faults(fig) == []


def test_clouds_stand_over_the_density_below_them(fig: Figure) -> None:
    x = randn(50, 2)
    axes = plot.strip(fig, {"a": x, "b": PATH, "c": x.numpy(), "d": x / 2}, below=PEAKED)
    for ax, cloud in zip(axes, (x, PATH.x[-1], x, x / 2), strict=True):
        (dots,) = (c for c in ax.collections if isinstance(c, PathCollection))
        assert np.asarray(dots.get_offsets()) == pytest.approx(cloud.numpy())
        below = np.asarray(ax.images[0].get_array()).T
        assert below == pytest.approx(PEAKED.mass.numpy() / GRID.volume)
    assert faults(fig) == []
    fig.clear()
    (alone,) = plot.strip(fig, [x])
    assert not alone.images
    assert not alone.child_axes


def test_densities_drawn_one_by_one_have_labels_that_do_not_touch(fig: Figure) -> None:
    for ax in (axes := fig.subplots(1, 4)):
        image = plot.density(ax, FLAT)
    plot.colour_bar(axes, image)
    assert faults(fig) == []


def test_the_label_of_a_window_off_the_origin_is_its_width() -> None:
    label = plot.panels.window_label
    assert label(plot.Window((-2.0, -2.0), (2.0, 2.0)), "m") == r"window $\pm$2 (m)"
    assert label(plot.Window((1.0, 1.0), (5.0, 5.0)), "m") == "width 4 (m)"


def test_paths_of_the_plane_and_of_a_line() -> None:
    with plot.figure(venue="prl") as fig:
        ax = fig.subplots()
        lines = plot.paths(ax, PATH, PEAKED, particles=[0, 3])
        assert lines is not None
        assert len(lines.get_segments()) == 2
        assert len(ax.images) == 1
        assert ax.get_xlabel() == "$x_1$ (data unit)"
        assert len(ax.get_xticks()) > 2  # though a density has none
        assert faults(fig) == []
        fig.clear()
        line = sf.solvers.Path(TIMES, PATH.x[:, :, :1], 7, 0.0)
        law = sf.GaussianMixture.isotropic(torch.zeros(1, 1).double(), 1.0)
        p = (law.on_grid(sf.Grid(-8.0, 8.0, (64,))),) * 2
        below = sf.fokker_planck.DensityPath(TIMES, p, sf.fokker_planck.Diagnostics())
        ax = fig.subplots()
        assert plot.paths(ax, line, below, where=4.0) is ax.collections[0]
        assert len(ax.lines) == 30  # of 40
        assert faults(fig) == []
        fig.clear()
        assert plot.paths(fig.subplots(), line) is None


@pytest.mark.parametrize("right", [True, False])
def test_a_comparison_says_whether_the_cloud_is_a_sample(fig: Figure, right: bool) -> None:
    p, x = lopsided().on_grid(sf.Grid(-8.0, 8.0, (64, 64))), lopsided().sample(2000, 0)
    found = plot.comparison(fig, x if right else 0.8 * x, p)
    assert found.passed() == right
    assert found.p_value == sf.check_density(x if right else 0.8 * x, p).p_value
    assert fig.axes[2].get_xlabel().endswith("after Holm")
    assert faults(fig) == []
    panels = fig.axes[:3]
    assert len({ax.get_xlim() for ax in panels}) == 1


def test_a_comparison_of_a_path_is_that_of_its_last_cloud() -> None:
    p, x = lopsided().on_grid(sf.Grid(-8.0, 8.0, (64, 64))), lopsided().sample(2000, 0)
    path = sf.solvers.Path(TIMES, torch.stack([0.8 * x, x]), 1, 0.0)
    with plot.figure(panels=(1, 4)) as fig:
        assert plot.comparison(fig, path, p).p_value == sf.check_density(x, p).p_value


def test_scripts_have_six_points_everywhere() -> None:
    with plot.figure(venue="prl") as fig:
        ax = fig.subplots()
        ax.loglog([1e-6, 1.0], [1e-6, 1.0], label="$a_1$")
        ax.plot([1e-3], [1e-3], label="b")
        ax.set(xlabel="$x_1$", ylabel="words")
        legend = ax.legend()
        fig.draw_without_rendering()
        assert min(smallest(text) for text in texts(fig)) >= SMALLEST
        assert len({text.get_fontsize() for text in legend.get_texts()}) == 1
        assert ax.yaxis.label.get_fontsize() == 8
