"""Pictures show the numbers that they were given, and say where these come from."""

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy import stats

import sdeflow as sf
from sdeflow import plot
from sdeflow.plot.verdicts import p_value_label
from tests.problems import lopsided, randn


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def loss_decomposition() -> sf.training.LossReport:
    """Numbers with no symmetry."""
    t = torch.linspace(0.9, 0.1, 5, dtype=torch.float64)
    irreducible = torch.tensor([0.9, 0.7, 0.4, 0.2, 0.1], dtype=torch.float64)
    excess = torch.tensor([0.01, 0.02, 0.05, 0.03, 0.004], dtype=torch.float64)
    return sf.training.LossReport(t, irreducible, excess, excess / 10)


def lopsided_density() -> sf.Density:
    return lopsided().on_grid(sf.Grid(-8.0, 8.0, (64, 64)))


def test_a_cloud_is_where_its_particles_are(ax: Axes) -> None:
    x = randn(30, 2)
    dots = plot.cloud(ax, x, plot.VERMILION, 2.5, "mine")
    assert np.array_equal(dots.get_offsets(), x.numpy())
    assert np.allclose(dots.get_facecolor()[0, :3], to_rgba(plot.VERMILION)[:3])
    assert dots.get_label() == "mine"
    assert dots.get_sizes().tolist() == [2.5]
    assert ax.get_aspect() == 1.0
    assert dots in ax.collections


def test_a_cloud_may_carry_a_number_for_each_particle(ax: Axes) -> None:
    x = randn(30, 2).requires_grad_()
    dots = plot.cloud(ax, x, x.detach().norm(dim=1))
    assert np.allclose(dots.get_array(), np.linalg.norm(x.detach().numpy(), axis=1))


def test_trails_follow_their_particles(ax: Axes) -> None:
    x = randn(40, 2).reshape(4, 10, 2)
    path = sf.solvers.Path(torch.linspace(1, 0, 4), x, nfe=3, seconds=0.1)
    lines = plot.trails(ax, path, [7, 2])
    assert len(lines) == 2
    for line, i in zip(lines, (7, 2), strict=True):
        assert np.array_equal(line.get_xydata(), x[:, i].numpy())


def test_arrows_point_up_the_density(ax: Axes) -> None:
    """Along the slope of the log density, by differences; and all of one length."""
    mixture, t = lopsided(torch.float32), 0.4
    field = sf.ExactField(sf.VP(), mixture)
    quiver = plot.arrows(ax, field, t, 1.5, nodes=5)
    places = torch.from_numpy(np.asarray(quiver.get_offsets())).double()
    assert places.amin(0).tolist() == pytest.approx([-1.2, -1.2])  # none at the frame's edge
    assert places.amax(0).tolist() == pytest.approx([1.2, 1.2])
    c = sf.VP()(torch.tensor(t, dtype=torch.float64))
    noised, h = lopsided().noised(c.alpha, c.sigma), 1e-4
    slope = torch.stack(
        [
            (noised.log_prob(places + h * e) - noised.log_prob(places - h * e)) / (2 * h)
            for e in torch.eye(2, dtype=torch.float64)
        ],
        1,
    )
    drawn = torch.from_numpy(np.stack([np.asarray(quiver.U), np.asarray(quiver.V)], 1)).double()
    assert torch.allclose(drawn, slope / slope.norm(dim=1, keepdim=True), atol=1e-3)


def test_a_frame_is_its_window(ax: Axes) -> None:
    plot.frame(ax, 2.4, "title")
    assert ax.get_xlim() == ax.get_ylim() == (-2.4, 2.4)
    assert ax.get_title() == "title"
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0


def test_loss_levels_shows_irreducible_loss_and_excess(ax: Axes) -> None:
    m, at = loss_decomposition(), torch.tensor([8.0, 2.0, 0.5, 0.1, 0.02])
    lines = {line.get_label().split()[0].strip(":"): line for line in plot.loss_levels(ax, m, at)}
    for name, values in (
        ("irreducible", m.irreducible),
        ("loss", m.irreducible + m.excess),
        ("excess", m.excess),
    ):
        assert np.allclose(lines[name].get_xdata(), at)
        assert np.allclose(lines[name].get_ydata(), values)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < float(m.excess.min())
    assert high > float(m.loss.max())


@pytest.mark.parametrize(
    ("floor", "band"), [((0.2, 0.03), (0.14, 0.26)), ((0.02, 0.03), (0, 0.08))]
)
def test_distances_show_the_sampling_floor(
    ax: Axes, floor: tuple[float, float], band: tuple[float, float]
) -> None:
    """Mean and two deviations, never below zero."""
    bars = plot.distances(ax, ["a", "b"], [0.21, 0.9], floor, "metres", [plot.BLUE, plot.SKY])
    assert [bar.get_width() for bar in bars] == [0.21, 0.9]
    assert [bar.get_facecolor() for bar in bars] == [to_rgba(plot.BLUE), to_rgba(plot.SKY)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_xlabel() == "metres"
    spans = [p for p in ax.patches if p not in list(bars)]
    assert len(spans) == 1
    corners = spans[0].get_path().transformed(spans[0].get_patch_transform()).vertices
    low, high = corners[:, 0].min(), corners[:, 0].max()
    assert (low, high) == pytest.approx(band)


def test_a_p_value_is_written_for_print_with_a_bound_where_it_is_tiny() -> None:
    written = [p_value_label(p) for p in (1.0, 0.02, 3.14e-12, 1e-5, 7e-243, 0.0)]
    assert written[:2] == ["$p > 0.5$", "$p = 0.02$"]
    assert written[2:4] == ["$p = 3.1 \\times 10^{-12}$", "$p = 10^{-5}$"]
    assert written[4:] == ["$p < 10^{-16}$"] * 2


def test_error_budget_shows_each_source_or_an_upper_bound(ax: Axes) -> None:
    """What lies left of the axis is no dot: an arrow, and the number it is below."""
    verdict = sf.check_density(lopsided().sample(500, 0), p := lopsided_density())
    causes = [
        sf.diagnostics.ErrorSource("field", 0.02, 0.01, 0.03, True),
        sf.diagnostics.ErrorSource("prior", 1e-9, 0.0, 1e-9, False),
    ]
    found = sf.diagnostics.ErrorBudget(tuple(causes), verdict, verdict, 0.03, {"exact": p})
    points = plot.error_budget(ax, found)
    assert points.lines[0].get_xydata().tolist() == [[0.02, 0.0]]
    arrows = [line for line in ax.lines if line.get_marker() == "<"]
    assert [line.get_xydata().tolist() for line in arrows] == [[[0.03 / 300, 1.0]]]
    assert [text.get_text() for text in ax.texts] == ["$< 10^{-4}$"]
    assert ax.get_xlim()[0] == pytest.approx(1e-4)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["field", "prior"]
    assert "undetected, n = 500" in ax.get_title()


def test_density_window_is_labelled_with_its_units(ax: Axes) -> None:
    plot.density(ax, lopsided_density())
    assert re.fullmatch(r"width [\d.]+ \(data unit\)", ax.get_xlabel())


def test_many_trails_and_dots_make_a_small_pdf(tmp_path: Path) -> None:
    """One picture of 300 dots per inch, not 40,000 shapes."""
    x = randn(100 * 200, 2).reshape(100, 200, 2)
    path = sf.solvers.Path(torch.linspace(1, 0, 100), x, 1, 1.0)
    with plot.figure(2.0, 2.0) as fig:
        ax = fig.subplots()
        plot.trails(ax, path, range(200))
        plot.cloud(ax, x.reshape(-1, 2))
        file = plot.write(fig, tmp_path / "f.pdf")
    assert file.stat().st_size < 400_000
    wide = [int(number) for number in re.findall(rb"/Width (\d+)", file.read_bytes())]
    panel = ax.get_position().width * 2.0 * 300
    assert panel * 0.85 < max(wide) < panel * 1.01


def test_things_of_one_dimension_are_drawn_as_lines(ax: Axes) -> None:
    law = sf.GaussianMixture(torch.ones(1), torch.zeros(1, 1).double(), torch.full((1, 1, 1), 4.0))
    p = law.on_grid(sf.Grid(-20.0, 20.0, (400,)))
    steps = plot.density(ax, p)
    values, edges, _ = steps.get_data()
    assert np.abs(values - stats.norm(0, 2).pdf((edges[1:] + edges[:-1]) / 2)).max() < 1e-3
    low, high = ax.get_xlim()
    assert -8 < low < -6 < 6 < high < 8
    assert ax.get_ylabel() == "$p$ (1 / data unit)"
    verdict = sf.check_density(law.sample(2000, 0), p)
    drawn = plot.residual(ax, verdict, p).get_data().values
    shown = np.isfinite(drawn)
    assert np.array_equal(drawn[shown], verdict.residual.numpy()[shown])
    assert 0.5 < shown.mean() * 40 / (high - low) < 1.5
    path = sf.solvers.Path(torch.linspace(1, 0, 4), randn(40, 1).reshape(4, 10, 1), 3, 0.1)
    lines = plot.trails(ax, path, [7, 2])
    assert np.array_equal(lines[1].get_xdata(), path.t)
    assert np.array_equal(lines[1].get_ydata(), path.x[:, 2, 0])


def test_a_map_shows_the_density_whatever_the_cells(ax: Axes) -> None:
    """Mass over volume: the same colours on cells of half the width."""
    grids = sf.Grid(-8.0, 8.0, (64, 64)), sf.Grid(-8.0, 8.0, (128, 128))
    coarse, fine = (plot.density(ax, lopsided().on_grid(g)).get_array() for g in grids)
    assert fine.max() == pytest.approx(coarse.max(), rel=0.15)
    centre = lopsided().log_prob(grids[1].centres()).exp().reshape(128, 128).T
    assert np.abs(fine - centre.numpy()).max() < 0.15 * fine.max()


def test_clouds_may_be_arrays_lists_or_paths(ax: Axes) -> None:
    x = randn(30, 2)
    path = sf.solvers.Path(torch.linspace(1, 0, 2), torch.stack([x + 1, x]), 3, 0.1)
    for same in (x, x.numpy(), x.tolist(), path, x.clone().requires_grad_()):
        assert np.array_equal(plot.cloud(ax, same).get_offsets(), x.numpy())
    numbers = np.arange(30)
    three = torch.tensor([0.1, 0.5, 0.9])  # numbers of three particles, and no colour
    assert np.allclose(plot.cloud(ax, x[:3], three).get_array(), three)
    assert np.array_equal(plot.cloud(ax, x, numbers).get_array(), numbers)


CLOUDS = randn(6, 3), randn(6, 2)[:, 0], randn(6, 2)[None], randn(6, 2) / 0


@pytest.mark.parametrize(
    ("draw", "word"),
    [
        *((lambda ax, x=x: plot.cloud(ax, x), word) for x, word in zip(CLOUDS, (
            r"x has 3 coordinates, but a cloud is drawn in one or two; .* x\[:, \[0, 1\]\]",
            r"must be a cloud of shape \(n, d\), got shape \(6,\)",
            r"must be a cloud of shape \(n, d\), got shape \(1, 6, 2\)",
            "NaN or infinite entries",
        ), strict=True)),
        (lambda ax: plot.cloud(ax, "points"), "x must be a cloud"),
        (lambda ax: plot.cloud(ax, None), "x must be a cloud"),
        (lambda ax: plot.cloud(ax, randn(6, 2), torch.ones(5)), r"of shape \(6,\), got"),
        (lambda ax: plot.trails(ax, randn(6, 2), [0]), "path must be a Path"),
        (lambda ax: plot.trails(ax, walk3(), [0]), "path has 3 coordinates"),
        (lambda ax: plot.trails(ax, walk3(2), [10]), "particles must be 0 to 9"),
        (lambda ax: plot.trails(ax, walk3(2), None), "particles must be whole numbers"),
        (lambda ax: plot.cloud(ax, randn(6, 2), "bluish"), "colour, if it is no colour,"),
        (lambda ax: plot.cloud([ax], randn(6, 2)), r"ax must be an Axes, got list"),
        (lambda ax: plot.density(None, lopsided_density()), "ax must be an Axes"),
        (lambda ax: plot.frame(ax, -1.0), "where must be positive"),
        (lambda ax: plot.arrows(ax, None, 0.5, 1.0), "flow must be a Field"),
        (lambda ax: plot.error_budget(ax, None), "found must be an ErrorBudget"),
        (lambda ax: plot.loss_levels(ax, None, [1.0]), "report must be a LossReport"),
        (lambda ax: plot.distances(ax, ["a"], [1.0, 2.0], (0.1, 0.1), "m"), r"shape \(1,\)"),
        (lambda ax: plot.write(None, "f.png"), "fig must be a Figure"),
        (lambda ax: plot.density(ax, randn(6, 2)), "p must be a Density"),
        (lambda ax: plot.residual(ax, None, lopsided_density()), "verdict must be a Verdict"),
        (lambda ax: plot.arrows(ax, line_field(), 0.5, 1.0), "the field has dimension 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(
    ax: Axes, draw: Callable[[Axes], object], word: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=word):
        draw(ax)


def walk3(d: int = 3) -> sf.solvers.Path:
    return sf.solvers.Path(torch.linspace(1, 0, 4), randn(40, d).reshape(4, 10, d), 3, 0.1)


def line_field() -> sf.ExactField:
    return sf.ExactField(sf.VP(), sf.distributions.PointSet(randn(5, 1)))


@pytest.mark.parametrize("module", [plot, sf.datasets])
def test_dir_shows_the_module_s_own_names(module: ModuleType) -> None:
    assert dir(module) == sorted(module.__all__)
    assert not {"np", "torch", "math", "Tensor", "annotations"} & set(dir(module))
    assert all(hasattr(module, name) for name in dir(module))
