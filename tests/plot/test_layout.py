"""A fault of layout is found; figures at each venue's width have none."""

import pytest
import torch

import sdeflow as sf
from sdeflow import plot
from tests.layout import layout_faults, texts
from tests.problems import lopsided, randn


def test_faults_of_a_layout_are_found() -> None:
    with plot.figure(2.0, 1.5) as fig:
        ax = fig.subplots()
        assert layout_faults(fig) == []
        ax.text(0.5, 0.5, "tiny", size=5)
        ax.text(0.2, 0.2, "one over")
        ax.text(0.25, 0.22, "another")
        fig.text(0.9, 0.5, "beyond the edge")
    found = "\n".join(layout_faults(fig))
    assert "'tiny' has 5 points" in found
    assert "'one over' lies over 'another'" in found
    assert "'beyond the edge' is cut" in found
    assert "'0.0'" not in found


def test_ticks_below_a_logarithmic_axis_are_not_drawn() -> None:
    with plot.figure(2.0, 1.5) as fig:
        ax = fig.subplots()
        ax.set(yscale="log", ylim=(2e-8, 1.0))
        fig.draw_without_rendering()
        drawn = {text.get_text() for text in texts(fig)}
    assert any("10^{-6}" in text for text in drawn)
    assert not any("10^{-8}" in text for text in drawn)


@pytest.mark.parametrize("venue", plot.VENUES)
def test_a_strip_of_densities_fits_every_venue(venue: str) -> None:
    """Two panels in one column, five in two, with a shared bar."""
    p = lopsided().on_grid(sf.Grid(-8.0, 8.0, (32, 32)))
    for columns, count in enumerate((2, 5)[: len(plot.VENUES[venue])], 1):
        with plot.figure(venue=venue, columns=columns, panels=(1, count)) as fig:
            axes = fig.subplots(1, count)
            for ax in axes:
                image = plot.density(ax, p)
                ax.set_title("$t$ = 0.25")
            plot.colour_bar(axes, image)
            assert layout_faults(fig) == [], (venue, columns)


@pytest.mark.parametrize("venue", ["prl", "iclr"])
def test_curves_on_a_line_and_benchmarks_fit(venue: str) -> None:
    law = sf.GaussianMixture.isotropic(torch.tensor([[-1.0], [1.0]]).double(), 0.4)
    p = law.on_grid(sf.Grid(-4.0, 4.0, (80,)))
    with plot.figure(venue=venue, panels=(2, 2), aspect=0.8) as fig:
        (a, b), (c, d) = fig.subplots(2, 2)
        plot.cloud(a, law.sample(500, 0), label="cloud")
        plot.density(a, p, colour=plot.VERMILION)
        path = sf.solvers.Path(torch.linspace(1, 0, 9), randn(9 * 5, 1).reshape(9, 5, 1), 8, 0.1)
        plot.colour_bar(b, plot.trajectories(b, path, range(5)))
        errors = {"Euler": [0.3, 0.15, 0.08], "Heun": [0.1, 0.025, 0.006]}
        plot.convergence(c, [8, 16, 32], errors, guide=[1, 2], error="RMS error (std)")
        curves = {name: ([8, 16, 32], row) for name, row in errors.items()}
        plot.work_precision(d, curves, 1e-3, work="calls", error="error (std)")
        assert layout_faults(fig) == []
