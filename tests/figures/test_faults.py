"""Every fault that the figures are searched for is found in a figure that has it."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from sdeflow import plot
from tests.figures.faults import faults
from tests.figures.files import LARGEST, file_faults

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(500, 2))


def good(ax: Axes) -> None:
    ax.plot([0, 1], [1.0, 0.5], label="Euler")
    ax.axhspan(0.1, 0.2, label="floor")
    ax.set(xlabel="calls", ylabel="$W_2$ (std)")
    ax.legend()


def no_label(ax: Axes) -> None:
    ax.plot([0, 1])
    ax.set_ylabel("length (data unit)")


def no_unit(ax: Axes) -> None:
    ax.plot([0, 1])
    ax.set(xlabel="steps", ylabel="length")


def no_floor(ax: Axes) -> None:
    ax.plot([0, 1])
    ax.set(xlabel="steps", ylabel="$W_2$ (std)")


def no_floor_in_words(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[], xlabel="distance 0.12")


def one_look(ax: Axes) -> None:
    for name in ("Heun", "Euler"):
        ax.plot([0, 1], color="red", label=name)
    ax.set(xlabel="steps", ylabel="length (data unit)")


def two_colours(ax: Axes) -> None:
    ax.plot([0, 1], color="red", label="Heun")
    ax.set(xlabel="steps", ylabel="length (data unit)")
    inner = ax.inset_axes((0.5, 0.1, 0.4, 0.3), xticks=[], yticks=[])
    inner.plot([0, 1], color="blue", label="Heun")


def cloud_cut(ax: Axes) -> None:
    plot.cloud(ax, CLOUD)
    plot.frame(ax, 1.0)


def frame_cut(ax: Axes) -> None:
    ax.figure.add_axes((0.8, 0.4, 0.4, 0.2), xticks=[], yticks=[])
    ax.set(xticks=[], yticks=[])


def no_room(ax: Axes) -> None:
    ax.figure.add_axes((0.01, 0.4, 0.01, 0.2), xticks=[], yticks=[])
    ax.set(xticks=[], yticks=[])


def over_a_panel(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.set_position((0.5, 0.1, 0.4, 0.8))
    other = ax.figure.add_axes((0.1, 0.1, 0.3, 0.8), xticks=[], yticks=[])
    other.set_title("a title much longer than wide", loc="left", y=0.5)


def one_over_another(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    for x in (0.2, 0.25):
        ax.text(x, 0.5, "words")


def tiny(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, "words", size=5)


def tiny_script(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.text(0.5, 0.5, "$x_{a_b}$", size=12)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (no_label, "the x axis of 'length (data unit)' has numbers and no label"),
        (no_unit, "'length' has no unit"),
        (no_floor, "'$W_2$ (std)' is shown without its floor"),
        (no_floor_in_words, "'distance 0.12' is shown without its floor"),
        (one_look, "'Heun' and 'Euler' look the same"),
        (two_colours, "'Heun' is #0000ff in one panel and #ff0000 in another"),
        (cloud_cut, "of a cloud lie outside the frame"),
        (frame_cut, "is cut by the figure's edge"),
        (no_room, "has no room"),
        (over_a_panel, "lies over the panel"),
        (one_over_another, "'words' lies over 'words'"),
        (tiny, "'words' has 5 points"),
        (tiny_script, "'$x_{a_b}$' has 5.88 points"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_of_a_figure_is_found(draw: Callable[[Axes], None], said: str) -> None:
    with plot.figure(3.0, 2.0) as fig:
        ax = fig.subplots()
        if draw in (frame_cut, no_room, over_a_panel):
            fig.set_layout_engine("none")
        draw(ax)
        assert said in "\n".join(faults(fig))


def test_a_figure_without_faults_has_none() -> None:
    with plot.figure(3.0, 2.0) as fig:
        good(fig.subplots())
        assert faults(fig) == []


def test_a_fault_of_a_file_is_found(tmp_path: Path) -> None:
    with plot.figure(3.0, 2.0) as fig:
        ax = fig.subplots()
        good(ax)
        file = plot.write(fig, tmp_path / "good.pdf")
        assert file_faults(file) == []
        with mpl.rc_context({"pdf.fonttype": 3}):
            fig.savefig(tmp_path / "type3.pdf")
    assert "of Type 3" in "\n".join(file_faults(tmp_path / "type3.pdf"))
    (tmp_path / "large.svg").write_bytes(b" " * (LARGEST + 1))
    assert "bytes" in "\n".join(file_faults(tmp_path / "large.svg"))
