"""Pictures show the numbers that they were given, and say where these come from."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

import sdeflow as sf
from sdeflow import plot
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
    assert places.amin(0).tolist() == [-1.5, -1.5]
    assert places.amax(0).tolist() == [1.5, 1.5]
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
    assert [text.get_text() for text in ax.texts] == ["< 1e-04"]
    assert ax.get_xlim()[0] == pytest.approx(1e-4)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["field", "prior"]
    assert "undetected, n = 500" in ax.get_title()


def test_density_window_is_labelled_with_its_units(ax: Axes) -> None:
    plot.density(ax, lopsided_density())
    assert re.fullmatch(r"window \$\\pm\$[\d.]+ data units", ax.get_xlabel())


def test_figure_is_written_with_its_provenance(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    file = tmp_path / "new" / "f.png"
    with plot.figure(3.4, 2.0) as fig:
        plot.cloud(fig.subplots(), randn(10, 2))
        assert plot.write(fig, file, {"seed": "7", "command": "sdeflow demo"}) == file
    assert dict(mpl.rcParams) == before  # the style stayed inside
    with Image.open(file) as picture:
        assert picture.text["seed"] == "7"
        assert picture.text["command"] == "sdeflow demo"
        assert picture.size == (round(3.4 * 200), round(2.0 * 200))
    assert [f.name for f in file.parent.iterdir()] == ["f.png"]
    with plot.figure() as fig:
        fig.subplots()
        plot.write(fig, tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")


def test_unwritable_figure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.png"
    file.write_text("old")

    def full(self: Figure, where: Path, **_: object) -> None:
        Path(where).write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with plot.figure() as fig, pytest.raises(OSError, match="No space left"):
        plot.write(fig, file)
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["f.png"]


def test_pyplot_is_never_loaded() -> None:
    """No global figure, no display, whatever is drawn."""
    code = (
        "import sys, torch, sdeflow as sf\n"
        "with sf.plot.figure() as fig:\n"
        "    sf.plot.cloud(fig.subplots(), torch.zeros(3, 2))\n"
        "    fig.canvas.draw()\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
