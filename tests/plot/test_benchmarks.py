"""Work-precision and convergence figures show the quartiles of all runs, failures too."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sdeflow as sf
from sdeflow import plot
from tests.problems import lopsided, randn

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def band(ax: Axes) -> dict[float, tuple[float, float]]:
    """Cost -> the ends of the band there."""
    points = np.concatenate([c.get_paths()[0].vertices for c in ax.collections])
    return {x: (points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max())
            for x in np.unique(points[:, 0])}  # fmt: skip


def test_a_curve_is_the_median_and_the_quartiles_of_its_seeds(ax: Axes) -> None:
    """Costs may come in any order; of an even number of seeds, the geometric middle."""
    errors = [[1.0, 4.0, 9.0, 16.0], [0.1, 0.2, 0.8, 0.3]]
    line = plot.work_precision(ax, {"a": ([20, 10], errors)})[0]
    assert line.get_xdata().tolist() == [10, 20]
    assert line.get_ydata() == pytest.approx([(0.2 * 0.3) ** 0.5, 6.0])
    assert band(ax)[20] == pytest.approx((4.0, 9.0))
    assert band(ax)[10] == pytest.approx((0.2, 0.3))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["10", "20"]


def test_a_failure_is_worse_than_any_error(ax: Axes) -> None:
    """One of four opens the band at the top; two of four leave no median: a gap."""
    errors = [[1.0, 2.0, 3.0, NAN], [1.0, 2.0, INF, NAN], [1.0, 2.0, 3.0, 4.0]]
    line = plot.work_precision(ax, {"a": ([1, 2, 4], errors)})[0]
    assert line.get_ydata()[[0, 2]] == pytest.approx(6**0.5)
    assert np.isnan(line.get_ydata()[1])
    assert band(ax)[1][1] == 3.0
    low, high = ax.get_ylim()
    assert band(ax)[2][1] > high > 3.0 > 2.0 > low


def test_points_near_the_reference_s_error_are_hollow(ax: Axes) -> None:
    lines = plot.work_precision(
        ax, {"a": ([1, 2, 3, 4], [1.0, 1e-2, 9e-3, 0.0])}, reference_error=1e-3
    )
    assert lines[0].get_markevery() == [0, 1]
    assert lines[0].get_ydata()[3] == 1e-3  # zero is drawn at the reference
    hollow = next(line for line in ax.lines if line.get_markerfacecolor() == "white")
    assert hollow.get_xydata().tolist() == [[3, 9e-3], [4, 1e-3]]
    dashed = lines[-1]
    assert np.unique(dashed.get_ydata()).tolist() == [1e-3]
    assert not dashed.is_dashed() or dashed.get_linestyle() == "--"
    assert ax.get_ylim()[0] < 1e-3


def test_many_curves_can_be_told_apart(ax: Axes) -> None:
    names = [f"solver {k}" for k in range(12)]
    lines = plot.work_precision(ax, {name: ([1, 2], [1.0, 0.5]) for name in names})
    looks = {(line.get_color(), line._dash_pattern[1] is None) for line in lines}
    assert len(looks) == 12


def test_a_name_keeps_its_look_from_panel_to_panel(ax: Axes) -> None:
    curve, names = ([1, 2], [1.0, 0.5]), ["a", "b", "c"]
    every = plot.work_precision(ax, dict.fromkeys(names, curve))
    other = Figure().subplots()
    (last,) = plot.work_precision(other, {"c": curve}, names=names, legend=False)
    assert (last.get_color(), last.get_marker()) == (every[2].get_color(), every[2].get_marker())
    assert other.get_legend() is None
    (last,) = plot.convergence(other, [1, 2], {"b": [1.0, 0.5]}, names=names)
    assert last.get_color() == every[1].get_color()
    with pytest.raises(ValueError, match=r"names lacks \['b'\]"):
        plot.convergence(other, [1, 2], {"b": [1.0, 0.5]}, names=["a"])


def test_a_guide_has_the_slope_of_its_order_and_lies_below(ax: Axes) -> None:
    steps = torch.tensor([4, 8, 16, 32])
    errors = {"one": 3 / steps, "two": (5 / steps.double() ** 2).reshape(-1, 1)}
    *curves, first, second = plot.convergence(ax, steps, errors, guide=[1, 2])
    for line, curve, order in ((first, curves[0], 1), (second, curves[1], 2)):
        x, y = np.log(line.get_xdata()), np.log(line.get_ydata())
        assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(-order)
        below = curve.get_ydata()[[0, -1]] / line.get_ydata()
        assert below == pytest.approx(1.6)
    assert [text.get_text() for text in ax.texts] == ["order 1", "order 2"]
    assert [text.xy[1] for text in ax.texts] == [first.get_ydata()[1], second.get_ydata()[1]]
    assert ax.get_ylim()[0] < second.get_ydata()[1]


def test_a_guide_does_not_leave_the_axes_where_a_curve_flattens(ax: Axes) -> None:
    errors = [1.0, 1e-2, 1e-3, 1e-3]
    _, guide = plot.convergence(ax, [1, 10, 100, 1000], errors, guide=2)
    assert guide.get_ydata()[1] == pytest.approx(1e-3 / 1.6)
    assert guide.get_xdata()[1] < 1000
    assert ax.get_ylim()[0] < guide.get_ydata()[1]


def test_a_measured_order_is_parallel_to_its_guide(ax: Axes) -> None:
    """Heun's method on an exact flow: the guide of order 2 stays within a factor of the curve."""
    flow = sf.reverse(sf.ExactField(sf.VP(), lopsided()), 0.0)
    x = sf.VP().prior(64, 2, seed=0)
    steps = [16, 32, 64]
    ends = [sf.ODESolver("heun2", steps=k).solve(flow, x).x[-1] for k in [*steps, 512]]
    errors = [float((end - ends[-1]).norm() / 8) for end in ends[:-1]]
    curve, guide = plot.convergence(ax, steps, errors, guide=2.0, error="RMS distance")
    ratio = curve.get_ydata()[[0, -1]] / guide.get_ydata()
    assert 1.599 < ratio.min() < 1.7
    assert ratio.max() < 2.5
    assert ax.get_ylabel() == "RMS distance"


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        (lambda ax: plot.work_precision(ax, {}), "there is no curve to draw"),
        (lambda ax: plot.work_precision(ax, {"a": ([1], [NAN])}), "every run failed"),
        (lambda ax: plot.work_precision(ax, {"a": ([1, 2], [1.0])}), r"\(K,\) or \(K, seeds\)"),
        (lambda ax: plot.work_precision(ax, {"a": ([1], [0.0])}), "give reference_error="),
        (lambda ax: plot.work_precision(ax, {"a": ([0], [1.0])}), "must be positive"),
        (lambda ax: plot.work_precision(ax, {"a": ([1], [-1.0])}), "must be zero or more"),
        (
            lambda ax: plot.work_precision(ax, {"a": ([1], [1.0])}, 0.0),
            "reference_error must be positive",
        ),
        (lambda ax: plot.work_precision(ax, {"a": [1.0]}), "must be a pair"),
        (lambda ax: plot.work_precision(ax, [1.0]), "curves must be a Mapping"),
        (lambda ax: plot.convergence(ax, [0.1, 0.2], [1.0, 2.0]), "steps must be 1 or more"),
        (lambda ax: plot.convergence(ax, [1, 2], [1.0, 0.5], -1.0), "guide must be positive"),
    ],
)
def test_what_is_no_curve_is_refused(ax: Axes, draw: Callable[[Axes], object], word: str) -> None:
    with pytest.raises((ValueError, TypeError), match=word):
        draw(ax)


def test_paths_count_their_evaluations_and_lie_off_the_truth(ax: Axes) -> None:
    t, x = torch.tensor([0.0]), randn(9, 2)[None]
    truth = sf.solvers.Path(t, x, 800, 0.0)
    runs = [sf.solvers.Path(t, x + off, nfe, 0.0) for nfe, off in ((20, 0.1), (10, 0.3))]
    half = sf.solvers.Path(t, x - 0.001, 400, 0.0)
    line, dashed = plot.work_precision(ax, {"a": runs}, half, truth=truth)
    assert line.get_xdata() == pytest.approx([10, 20])
    assert line.get_ydata() == pytest.approx([0.3, 0.1], rel=1e-4)
    assert dashed.get_ydata()[0] == pytest.approx(0.001, rel=1e-2)
    with pytest.raises(TypeError, match="give truth="):
        plot.work_precision(ax, {"a": runs})
    with pytest.raises(ValueError, match="same particles"):
        plot.work_precision(ax, {"a": [sf.solvers.Path(t, x[:, :4], 1, 0.0)]}, truth=truth)
