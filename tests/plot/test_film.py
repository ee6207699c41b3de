"""A film shows each state once, where its particles are, in the memory of one frame."""

import dataclasses
import io
import json
import shutil
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sdeflow as sf
from sdeflow import plot
from sdeflow._validation import SdeflowError
from sdeflow.fokker_planck import DensityPath, Diagnostics
from sdeflow.plot import film_files
from sdeflow.plot.film_scenes import Look, legs, look
from sdeflow.provenance import film_comment, picture_provenance
from tests.problems import lopsided, randn

T = 4
INK = (255, 0, 0)
GRID = sf.Grid(-8.0, 8.0, (16, 16))


def path(d: int = 2, n: int = 5, states: int = T) -> sf.solvers.Path:
    x = randn(states * n, d).reshape(states, n, d)
    return sf.solvers.Path(torch.linspace(0.1, 1.0, states).double(), x, 0, 0.0)


PATH, LINE = path(), path(1, 200)
HISTORY = DensityPath(
    PATH.t, tuple(lopsided().on_grid(GRID, 1.0, s) for s in (0.3, 0.6, 0.9, 1.2)), Diagnostics()
)
LAW1 = sf.GaussianMixture.isotropic(torch.zeros(1, 1).double(), 1.0)
HISTORY1 = DensityPath(LINE.t, (LAW1.on_grid(sf.Grid(-6.0, 6.0, (40,))),) * T, Diagnostics())
SDE = sf.forward(sf.VP())
PIPES = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""imageio-ffmpeg leaves pipes of a process that has ended to the collector."""
SMALL = {"dpi": 50, "progress": False}


def frames(file: Path) -> tuple[list[np.ndarray], list[int]]:
    """The pictures of a GIF, and for how many milliseconds each is shown."""
    with Image.open(file) as film:
        pictures, shown = [], []
        for k in range(film.n_frames):
            film.seek(k)
            pictures.append(np.asarray(film.convert("RGB")))
            shown.append(film.info["duration"])
    return pictures, shown


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The states that are drawn, in their order."""
    seen: list[tuple] = []
    draw = Look.draw
    monkeypatch.setattr(
        Look, "draw", lambda self, ax, leg, k: (seen.append((leg, k)), draw(self, ax, leg, k))
    )
    return seen


def test_each_state_is_drawn_once_and_the_way_back_shows_the_same_frames(
    tmp_path: Path, drawn: list
) -> None:
    """Particles, density and arrows; the frames differ, and return in reverse order."""
    file = plot.film(
        PATH, HISTORY, SDE, tmp_path / "f.gif", mirror=True, fps=15, hold=0.5, **SMALL
    )
    pictures, shown = frames(file)
    assert [k for _, k in drawn] == list(range(T))
    assert len(pictures) == 2 * T - 1
    assert all((a == b).all() for a, b in zip(pictures, pictures[::-1], strict=True))
    assert all((a != b).any() for a, b in pairwise(pictures))
    # Hundredths of a second in which 15 frames pass in a second, not 15 times 7 of them.
    assert shown == [70, 60, 70, 570, 60, 70, 570]
    assert abs(sum(shown) - 1000 * (7 / 15 + 2 * 0.5)) <= 5


def test_paths_play_one_after_the_other(tmp_path: Path, drawn: list) -> None:
    back = dataclasses.replace(PATH, t=PATH.t.flip(0), x=PATH.x.flip(0))
    file = plot.film([PATH, back], HISTORY, None, tmp_path / "f.gif", seconds=2, **SMALL)
    pictures, shown = frames(file)
    assert [(leg.t[k], k) for leg, k in drawn[-2:]] == [(PATH.t[1], 2), (PATH.t[0], 3)]
    assert len(pictures) == 2 * T
    assert shown == 2 * [250, 250, 250, 1250]
    # One history serves both ways: its densities are looked up by their times.
    assert all((a == b).all() for a, b in zip(pictures, pictures[::-1], strict=True))


@pytest.mark.parametrize("where", [3.0, plot.Window((-1.0, -2.0), (3.0, 2.0)), None])
def test_the_particles_of_the_last_frame_are_at_the_last_state(
    tmp_path: Path, where: plot.Window | float | None
) -> None:
    """Blots of the dots' colour in the picture, mapped from the frame's corners to the window."""
    x = torch.tensor([[1.5, -1.0], [-0.5, 1.25], [0.5, 0.0]]).double()
    one = dataclasses.replace(PATH, x=torch.stack([x - 0.4, x, x + 0.1, x]))
    file = plot.film(one, file=tmp_path / "f.gif", where=where, colour="red", size=12.0, dpi=100)
    last = frames(file)[0][-1].astype(int)
    box = plot.window(one) if where is None else where
    if isinstance(box, float):
        box = plot.Window((-box, -box), (box, box))
    dark = (last.sum(2) < 200) & (last.max(2) < 100)  # the frame around the axes, and texts
    rows, columns = (np.flatnonzero(dark.mean(axis) > 0.6) for axis in (1, 0))
    red = (last[..., 0] > 200) & (last[..., 1] < 130)
    for point in x.tolist():
        place = [
            (point[i] - box.low[i]) / (box.high[i] - box.low[i]) for i in range(2)
        ]  # from the lower left corner
        column = columns[0] + place[0] * (columns[-1] - columns[0])
        row = rows[-1] - place[1] * (rows[-1] - rows[0])
        ys, xs = np.nonzero(red)
        near = np.hypot(ys - row, xs - column) < 6
        assert near.any(), (point, row, column)
        assert abs(ys[near].mean() - row) < 1
        assert abs(xs[near].mean() - column) < 1
        red[ys[near], xs[near]] = False
    assert not red.any()


def test_colours_are_those_that_were_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One palette for all frames: white stays white; on average a pixel is within 1 % of its
    colour, and none is an eighth of the scale away: ink over white goes in steps of a ninth.
    """
    pixels = []
    write = film_files.write_gif

    def keep(part: Path, shown: film_files.Shown, *rest: object) -> None:
        write(part, (pixels.append(one[0]) or one for one in shown), *rest)

    monkeypatch.setattr(sys.modules["sdeflow.plot.film"], "write_gif", keep)
    file = plot.film(
        PATH, HISTORY, lambda x, t: -x, tmp_path / "f.gif", colour=randn(5), size=9.0, **SMALL
    )
    for picture, raw in zip(frames(file)[0], pixels, strict=True):
        true = np.frombuffer(raw, np.uint8).reshape(picture.shape).astype(int)
        away = np.abs(picture - true).max(2)
        assert away.mean() < 255 / 100
        assert away.max() < 255 / 8
        assert (picture[(true == 255).all(2)] == 255).all()


def test_frames_are_written_as_they_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list
) -> None:
    written: list[int] = []
    monkeypatch.setattr(film_files, "getdata", lambda *x, **y: written.append(len(drawn)) or [])
    plot.film(PATH, file=tmp_path / "f.gif", **SMALL)
    assert written == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((1.0, 0.047, 1e-4), ("1.00", "0.047", "0.00010")),
        ((80.0, 1.0, 0.002), ("80.0", "1.0", "0.0020")),
        ((0, 500, 999), ("0", "500", "999")),
        ((0.5, -0.5), ("0.500", "-0.500")),
    ],
)
def test_times_can_be_told_apart(times: tuple[float, ...], words: tuple[str, ...]) -> None:
    """Titles of the frames, and the colours' scale; states alone are counted."""
    t = torch.tensor(times).double()
    timed = sf.solvers.Path(t, randn(len(t) * 5, 2).reshape(len(t), 5, 2), 0, 0.0)
    for given, expected in ((timed, [f"$t$ = {w}" for w in words]), (timed.x, ["state 0"])):
        row = legs(given, None, None)
        shared = look(row, None, 0.1, (1.0, 0.0, 0.0), 3.0, "m")
        for k, title in enumerate(expected):
            ax = plot.Figure().subplots()
            shared.draw(ax, row[0], k)
            assert ax.get_title("left") == title
            assert ax.get_title("right") == ""


@pytest.mark.parametrize(
    ("vmax", "scale"), [(None, "= 0.12"), (0.5, "= 0.5"), (0.01, r"$\geq$ 0.01")]
)
def test_the_scale_of_the_density_is_told(vmax: float | None, scale: str) -> None:
    law = sf.GaussianMixture.isotropic(torch.zeros(1, 2).double(), 1.0)
    below = DensityPath(PATH.t, (law.on_grid(GRID),) * T, Diagnostics())
    row, ax = legs(PATH, below, SDE), plot.Figure().subplots()
    shared = look(row, None, vmax, "red", 3.0, "m")
    shared.draw(ax, row[0], 0)
    assert ax.get_title("right") == f"darkest: $p$ {scale} / m$^2$"
    half = plot.window(PATH, below).half
    assert ax.get_xlabel() == f"window $\\pm${half:.2g} (m)\narrows: direction of the drift"
    assert ax.images[0].get_clim()[1] == pytest.approx(plot.peak(below) if vmax is None else vmax)


def test_each_frame_has_the_density_and_the_arrows_of_its_time() -> None:
    asked: list[float] = []

    def pull(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(float(t))
        return -x

    back = dataclasses.replace(PATH, t=PATH.t.flip(0))
    row = legs(back, HISTORY, pull)
    assert asked == back.t[[0, -1]].tolist()  # a mistake is found before the film begins
    shared = look(row, None, None, "red", 3.0, "m")
    for k in range(T):
        ax = plot.Figure().subplots()
        shared.draw(ax, row[0], k)
        image = ax.images[0].get_array().data
        assert np.allclose(image.T, HISTORY[T - 1 - k].mass / GRID.volume)
    assert asked[2:] == back.t.tolist()


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """There and back, with one palette; of 30 frames no more than of 3."""
    size = 500, 400
    one = 3 * size[0] * size[1]
    colours = film_files.palette(["white"], ["black"])

    def most(count: int) -> int:
        frames = film_files.there_and_back(bytes([k]) * one for k in range(count))
        tracemalloc.start()
        film_files.write_gif(tmp_path / "f.gif", ((f, 0.1) for f in frames), size, colours, "mine")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    short = most(3)
    assert most(30) < short + one / 4
    with Image.open(tmp_path / "f.gif") as film:
        assert film.n_frames == 59


def test_a_line_has_one_axis_for_all_frames(tmp_path: Path, drawn: list) -> None:
    file = plot.film(LINE, HISTORY1, None, tmp_path / "f.gif", **SMALL)
    pictures = frames(file)[0]
    assert len(pictures) == T
    same = np.all([one == pictures[0] for one in pictures], (0, 3))
    assert same[-14:].all()  # the numbers of the axis, and its name
    assert same[:, :30].all()
    assert not same.all()
    shrinking = LINE.x * torch.linspace(1.0, 0.2, T).double()[:, None, None]
    pictures = frames(plot.film(shrinking, file=tmp_path / "g.gif", **SMALL))[0]
    same = np.all([one == pictures[0] for one in pictures], (0, 3))
    assert same[:, :30].all()
    assert (pictures[-1][16:22, 40:] == 255).all()  # the highest bar is below the top


def test_the_frame_stays_where_it_is_and_no_text_is_cut(tmp_path: Path) -> None:
    """Also where one path has arrows, which are named in a line of their own, and one has none."""
    file = plot.film([PATH, PATH], [None, HISTORY], [None, SDE], tmp_path / "f.gif", **SMALL)
    pictures = [one.astype(int).sum(2) for one in frames(file)[0]]
    grey = np.array(pictures) < 650  # the lines around the window, thinner than a pixel
    rows, columns = (np.flatnonzero(grey.mean(axis).min(0) > 0.6) for axis in (2, 1))
    assert 0 < rows[0] < 25 < 190 < rows[-1] < 205
    assert 0 < columns[0] < 10 < 190 < columns[-1] < 200
    below = [np.flatnonzero(one[rows[-1] + 2 :].any(1)) for one in grey]
    assert all(len(set(ink.tolist())) for ink in below)
    assert below[0].max() < below[-1].max() < len(pictures[0]) - rows[-1] - 4
    assert (grey[:, :, :1] | grey[:, :, -1:] | grey[:, :1, :1]).sum() == 0


def test_the_same_command_gives_the_same_bytes_and_says_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    one, two = tmp_path / "new" / "one.gif", tmp_path / "two.GIF"
    about = {"command": "sdeflow", "threads": 1, "commit": "a", "seed": 7}
    for day, file in enumerate((one, two), 1):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", f"{day}00000000")
        assert plot.film(PATH, HISTORY, SDE, file, dpi=50, about=about) == file
    assert one.read_bytes() == two.read_bytes()
    assert capsys.readouterr() == ("", "")  # no bar where there is no terminal
    said = picture_provenance(one)
    assert said == json.loads(film_comment({"seed": 7})) | {
        "command": "sdeflow", "threads": "1", "commit": "a"
    }  # fmt: skip
    assert [f.name for f in one.parent.iterdir()] == ["one.gif"]


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_counts_the_frames_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: bool
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    plot.film(path(states=2), file=tmp_path / "f.gif", mirror=True, dpi=50, progress=progress)
    said = terminal.getvalue()
    assert said.startswith("\rfilm:   0%") == progress
    assert ("0/2" in said) == progress
    assert "\n" not in said


def test_a_film_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "f.gif"
    file.write_text("mine")

    def fails_later(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x[:, :1] if 0.3 < t < 0.4 else x

    with pytest.raises(ValueError, match="flow must give vectors"):
        plot.film(PATH, None, fails_later, file, **SMALL)
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"f.gif": "mine"}


def test_an_mp4_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_files, "write_frames", None)
    with pytest.raises(SdeflowError, match=r"pip install 'sdeflow\[video\]', or write a .gif"):
        plot.film(PATH, file=tmp_path / "f.mp4")
    assert not list(tmp_path.iterdir())


@PIPES
def test_an_mp4_has_its_frames_and_its_provenance(tmp_path: Path) -> None:
    """As ffmpeg itself reads them: each frame, and the held ones again."""
    if film_files.write_frames is None:
        pytest.skip("imageio-ffmpeg, the extra `video`, is not installed")
    read = sys.modules["imageio_ffmpeg"].read_frames
    about = {"seed": 3, "name": '日本 "é" = ; \\ # \n'}
    file = plot.film(
        PATH, HISTORY, SDE, tmp_path / "f.mp4", fps=10, hold=0.3, mirror=True, about=about, **SMALL
    )
    shown = read(str(file))
    meta = next(shown)
    assert meta["fps"] == 10
    assert meta["size"] == (200, 224)
    assert len(list(shown)) == 2 * T - 1 + 2 * 3
    said = picture_provenance(file)
    assert said["name"] == about["name"]
    assert said == json.loads(film_comment(about))
    assert [f.name for f in tmp_path.iterdir()] == ["f.mp4"]


@PIPES
def test_ffmpeg_that_fails_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if film_files.write_frames is None:
        pytest.skip("imageio-ffmpeg, the extra `video`, is not installed")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", shutil.which("false") or "")
    with pytest.raises(SdeflowError, match=r"ffmpeg (stopped|wrote no)"):
        plot.film(PATH, file=tmp_path / "f.mp4", **SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"path": path(3)}, "choose two: dataclasses"),
        ({"path": path(states=1)}, "solve with save=100"),
        ({"path": []}, "give one path or more"),
        ({"path": PATH.x[0]}, r"states \(T, n, d\)"),
        ({"path": [PATH, LINE]}, "no common window"),
        ({"path": dataclasses.replace(PATH, x=PATH.x / 0)}, "NaN or infinite"),
        ({"history": HISTORY[0]}, "history must be a DensityPath"),
        ({"history": [HISTORY, HISTORY]}, r"one for each of the 1 path\(s\)"),
        ({"history": HISTORY1}, "the path has 2"),
        ({"path": path(states=5), "history": HISTORY}, r"no density at t = 0.325.*path.t"),
        ({"path": LINE, "field": SDE}, "need two dimensions; leave out field"),
        ({"path": PATH.x, "field": SDE}, "give a Path"),
        ({"field": PATH.x}, r"f\(x, t\)"),
        ({"field": "score"}, "flow must be"),
        ({"path": dataclasses.replace(PATH, t=9 * PATH.t), "field": SDE}, "t must lie in"),
        ({"fps": 0}, "fps must be positive"),
        ({"fps": 60}, "at most 50 frames per second"),
        ({"fps": 1e-3}, "raise fps"),
        ({"fps": 5, "seconds": 5}, "give one of them"),
        ({"seconds": -1}, "seconds must be positive"),
        ({"seconds": 0.01}, "take more seconds"),
        ({"hold": -1}, "hold must be"),
        ({"file": "f.avi"}, ".gif or .mp4"),
        ({"file": "f.png"}, "plot.write"),
        ({"file": 3}, "file must be"),
        ({"where": 0}, "where must be positive"),
        ({"vmax": 0}, "vmax must be positive"),
        ({"colour": "blueish"}, "colour"),
        ({"colour": [1.0, 2.0]}, "one number for each particle"),
        ({"path": LINE, "colour": LINE.x[0, :, 0]}, "one colour in one dimension"),
        ({"size": 0}, "size must be positive"),
        ({"unit": 1}, "unit must be"),
        ({"dpi": 5}, "50 to 500"),
        ({"about": "me"}, "about must be"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list, change: dict, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=word) as error:
        plot.film(**{"path": PATH, "file": "f.gif", **change})
    assert "\n" not in str(error.value)
    assert not drawn
    assert not list(tmp_path.iterdir())


def test_a_grid_as_history_is_the_exact_density_there() -> None:
    field = sf.ExactField(sf.VP(), lopsided())
    (leg,) = legs(PATH, GRID, field)
    assert leg.densities is not None
    for t, p in zip(PATH.t, leg.densities, strict=True):
        assert torch.equal(p.mass, field.density(GRID, float(t)).mass)
    with pytest.raises(TypeError, match="needs an ExactField"):
        legs(PATH, GRID, SDE)
