"""The figures of a demo and of a check show every particle, and no text is cut or covered."""

from pathlib import Path

import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import sdeflow as sf
from sdeflow import plot
from sdeflow.experiment import demo, pictures
from tests.layout import layout_faults
from tests.problems import lopsided, randn


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, after their layout."""
    figures: list[Figure] = []
    monkeypatch.setattr(plot, "write", lambda fig, *rest: figures.append(fig))
    return figures


ENDS = "reverse SDE", "probability flow"


def spiral_with_an_outlier() -> pictures.Snapshots:
    """The demo's five times, and a particle that ends far from the data."""
    data = sf.datasets.spiral().distribution.sample(300, 0)
    process = sf.VE(sigma_max=10.0)
    levels = torch.tensor([10.0, 0.51, 0.26, 0.12, 0.01], dtype=torch.float64)
    x = data + levels[:, None, None] * randn(300, 2)
    x[-1, 5] = torch.tensor([0.3, -4.0])
    t = process.time_of(levels)
    field = sf.ExactField(process, lopsided(torch.float32))
    return pictures.Snapshots(field, sf.solvers.Path(t, x, 4, 0.1), data + 0.05, data)


def test_the_demo_s_figure_cuts_neither_particle_nor_text(drawn: list[Figure]) -> None:
    shown = spiral_with_an_outlier()
    report = {
        "rows": [{"sampler": s.name, "learned": 0.2} for s in demo.SAMPLERS],
        "sampling_floor": 0.1, "sampling_floor_sd": 0.02, "particles": 1000, "made": {},
    }  # fmt: skip
    t = torch.linspace(0.9, 0.1, 5, dtype=torch.float64)
    losses = sf.training.LossReport(t, t, t / 10, t / 100)
    pictures.demo_figure(shown, report, losses, Path("f.png"))
    (fig,) = drawn
    assert layout_faults(fig) == []
    ends = [ax for ax in fig.findobj(type(fig.axes[0])) if ax.get_title() in ENDS]
    last = next(ax for ax in fig.axes if ax.get_title().endswith("= 0.01"))
    assert len(ends) == 2
    levels, bars = (next(ax for ax in fig.axes if said in ax.get_ylabel() + ax.get_xlabel())
                     for said in ("epsilon", "W_2"))  # fmt: skip
    inks = {to_hex(bar.get_facecolor()) for bar in bars.containers[0]}
    assert inks.isdisjoint(to_hex(line.get_color()) for line in levels.lines)  # one meaning each
    for ax in (*ends, last):
        low, high = ax.get_xlim()[0], ax.get_xlim()[1]
        for dots in ax.collections:
            places = dots.get_offsets()
            assert low < places.min()
            assert places.max() < high


@pytest.mark.parametrize("shift", [0.0, 0.3], ids=["agree", "p = 1e-..."])
def test_the_check_s_figure_covers_no_text(drawn: list[Figure], shift: float) -> None:
    grid = sf.Grid(-6.0, 6.0, (32, 32))
    density = lopsided().on_grid(grid)
    verdict = sf.check_density(lopsided().sample(5000, 0) + shift, density)
    assert (verdict.p_value < 1e-10) == (shift > 0)
    sources = [
        sf.diagnostics.ErrorSource(name, value, 0.0, 3 * value, True)
        for name, value in
        (("field", 0.02), ("prior", 1e-9), ("step", 0.05), ("sampler", 1e-9), ("sampling", 0.1))
    ]  # fmt: skip
    budget = sf.diagnostics.ErrorBudget(tuple(sources), verdict, verdict, 0.03, {"exact": density})
    for each in (None, budget):
        pictures.check_figure(density, verdict, each, Path("f.png"), {})
        assert layout_faults(drawn[-1]) == []
        maps = [ax for ax in drawn[-1].axes if ax.images]
        assert len({(ax.get_xlim(), ax.get_ylim()) for ax in maps}) == 1  # one window
