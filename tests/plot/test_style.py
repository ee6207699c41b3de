"""Figures have the width of their venue and say what made them, the same bytes each time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image

import sdeflow as sf
from sdeflow import plot
from sdeflow.provenance import picture_provenance
from tests.problems import randn

FORMATS = ".png", ".pdf", ".svg"


def pdf_width(file: Path) -> float:
    """In inches, as the file itself says."""
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", file.read_bytes())
    assert box is not None
    return float(box[1]) / 72


def test_a_figure_is_as_wide_as_the_venue_s_text(tmp_path: Path) -> None:
    for venue, widths in plot.VENUES.items():
        for columns, width in enumerate(widths, 1):
            with plot.figure(venue=venue, columns=columns, panels=(1, 2)) as fig:
                assert fig.get_size_inches()[0] == width
                assert mpl.rcParams["font.family"] == ["STIXGeneral"]
    fig.subplots(1, 2)
    assert pdf_width(plot.write(fig, tmp_path / "f.pdf")) == pytest.approx(17.8 / 2.54, abs=1e-3)
    assert plot.VENUES["prl"] == pytest.approx((8.6 / 2.54, 17.8 / 2.54))
    assert plot.VENUES["prl2"] == plot.VENUES["prl"][1:]


@pytest.mark.parametrize(("panels", "aspect"), [((1, 1), 0.7), ((1, 5), 1.0), ((2, 3), 1.0)])
def test_panels_get_their_aspect(panels: tuple[int, int], aspect: float) -> None:
    with plot.figure(venue="icml", columns=2, panels=panels) as fig:
        axes = fig.subplots(*panels, squeeze=False)
        for ax in axes.flat:
            ax.set(title="title", xlabel="window", xticks=[], yticks=[])
        axes[0, 0].set_ylabel("p")
        fig.draw_without_rendering()
    width, height = axes[0, -1].get_window_extent().size
    assert height / width == pytest.approx(aspect, rel=0.15)


def test_sizes_in_inches_are_kept() -> None:
    sizes = (((), (7.0, 4.0)), ((3.4, 2.6), (3.4, 2.6)), ((3.4,), (3.4, 4.0)))
    for given, size in sizes:
        with plot.figure(*given) as fig:
            assert fig.get_size_inches().tolist() == list(size)
    with plot.figure(venue="neurips", height=1.5) as fig:
        assert fig.get_size_inches().tolist() == [5.5, 1.5]


def test_the_style_stays_inside(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    with plot.figure(venue="iclr") as fig:
        plot.cloud(fig.subplots(), randn(10, 2))
        plot.write(fig, tmp_path / "f.svg")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("suffix", [*FORMATS, ".PNG", ".PDF"])
def test_every_format_says_what_made_it(tmp_path: Path, suffix: str) -> None:
    """Also a figure that was made elsewhere, whose fonts are then TrueType or text."""
    file = tmp_path / "new" / f"f{suffix}"
    fig = Figure(figsize=(3.4, 2.0))
    fig.subplots().set_title("a title")
    about = {"seed": 7, "odd": r"(a) b\) <c>&; 'd' \n", "名": "x"}
    with pytest.raises(ValueError, match="a name in about"):
        plot.write(fig, file, about)
    about["name"] = about.pop("名") + " 日本 é"
    assert plot.write(fig, file, about) == file
    said = picture_provenance(file)
    made = {name: str(text) for name, text in {**sf.provenance.provenance(), **about}.items()}
    assert said == made
    assert {"command", "commit", "sdeflow", "torch", "threads"} <= said.keys()
    assert [f.name for f in file.parent.iterdir()] == [file.name]
    content = file.read_bytes()
    assert b"/Type3" not in content
    if suffix.lower() == ".pdf":
        assert b"/FontFile2" in content  # TrueType
    elif suffix == ".svg":
        assert b">a title</text>" in content
    else:
        with Image.open(file) as picture:
            assert picture.size == (round(3.4 * 300), round(2.0 * 300))


def test_settings_are_told_by_their_digest() -> None:
    one, other = ({"steps": 5, "rate": rate} for rate in (0.1, 0.2))
    made = [sf.provenance.provenance(0, config)["config"] for config in (one, other)]
    assert made[0] != made[1]
    assert made[0] == sf.provenance.provenance(0, {"rate": 0.1, "steps": 5})["config"]
    assert re.fullmatch("[0-9a-f]{12}", str(made[0]))


PROGRAM = """
import hashlib, sys
import torch
import sdeflow as sf
from sdeflow import plot
x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
with plot.figure(venue="prl", panels=(1, 2)) as fig:
    a, b = fig.subplots(1, 2)
    plot.cloud(a, x)
    plot.density(b, sf.Density.from_samples(sf.Grid(-5.0, 5.0, (20, 20)), x))
    a.set_title(r"$\\sigma^2$ of a cloud")
    for suffix in ("pdf", "svg", "png"):
        file = plot.write(fig, f"f.{suffix}", {"command": "sdeflow", "threads": 1, "commit": "a"})
        print(hashlib.sha256(file.read_bytes()).hexdigest())
"""


def test_the_same_command_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """In another process, whose sets are ordered differently, and on another day.

    And pyplot is never loaded: no global figure, no display, whatever is drawn.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "100000000")
    exec(PROGRAM, {})
    here = capsys.readouterr().out.split()
    assert len(set(here)) == 3
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "900000000")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    program = PROGRAM + "print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == [*here, "False"], done.stderr


@pytest.mark.parametrize("content", [b"", b"text", b"%PDF-1.4\n", b"<svg></svg>", b"\x89PNG\r\n"])
def test_a_picture_that_says_nothing_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "f.pdf"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="does not say what made it"):
        picture_provenance(file)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        *((name, r"must end in one of \.png, \.pdf, \.svg,") for name in
          ("figure", "figure.xyz", "figure.jpg", ".png")),
        ("figure.eps", "PostScript has no transparent colours; write a .pdf"),
    ],
)  # fmt: skip
def test_a_figure_s_name_ends_in_a_format_that_keeps_metadata(
    tmp_path: Path, name: str, word: str
) -> None:
    with plot.figure() as fig, pytest.raises(ValueError, match=word):
        plot.write(fig, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_unwritable_figure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.png"
    file.write_text("old")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with plot.figure() as fig, pytest.raises(OSError, match="No space left"):
        plot.write(fig, file)
    assert file.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["f.png"]
