"""Make a film of a path: particles, density and arrows of a field, one frame for each state."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import check_file, check_int, check_positive
from sdeflow.fokker_planck.density_path import DensityPath
from sdeflow.grid import Grid
from sdeflow.plot.densities import COLOURS
from sdeflow.plot.film_files import (
    LEAST,
    LONGEST,
    check_mp4,
    palette,
    there_and_back,
    write_gif,
    write_mp4,
)
from sdeflow.plot.film_scenes import Drift, Leg, Look, legs, look
from sdeflow.plot.panels import Where
from sdeflow.plot.paths import States
from sdeflow.plot.style import BLACK, BLUE, GREY, VERMILION, Colour, Figure, figure
from sdeflow.provenance import film_comment, writing

INCHES = {1: (4.0, 3.0), 2: (4.0, 4.5)}
"""Width and height of a frame, by the dimension of the data."""


def film(
    path: States | Sequence[States],
    history: DensityPath | Grid | Sequence[DensityPath | Grid | None] | None = None,
    field: Drift | Sequence[Drift | None] | None = None,
    file: str | pathlib.Path = "film.gif", *,
    mirror: bool = False, fps: float | None = None, seconds: float | None = None,
    hold: float = 1.0, where: Where | None = None, vmax: float | None = None,
    colour: Colour | Tensor | np.ndarray = VERMILION, size: float = 3.0,
    unit: str = "data unit", dpi: int = 120, about: Mapping[str, object] | None = None,
    progress: bool = True,
) -> pathlib.Path:  # fmt: skip
    """Write a film with one frame for each state of a path, or of several paths in turn.

    Frames are written as they are drawn: a film of any length needs the memory of one frame. The
    same command writes the same bytes of a GIF; `sdeflow provenance FILE` prints how it was made.

    Args:
        path: one path in one or two dimensions, or a list, such as forward and backward.
        history: the densities at the times of the states, drawn below the particles: one for all
            paths, or a list with one, or None, for each. With a grid, the exact densities of
            `field` on it.
        field: a field, an SDE or a function (x, t), drawn as arrows: one for all paths, or a list.
        file: the name of the film, which ends in .gif, or in .mp4 (needs the extra `video`).
        mirror: whether the film then runs backwards through the same frames.
        fps, seconds: frames per second, by default 20; or the film's length without holds.
        hold: the time (seconds) for which the last frame of each path is shown in addition.
        where: the window of all frames, by default that of all states and densities.
        vmax: the value of p at the darkest colour, by default the largest p of each frame; in one
            dimension, at the end of the axis.
        colour: one colour, or in two dimensions a number (n,) for each particle.
        size, unit: the area of a dot, in points squared; the unit of length.
        dpi: pixels per inch; a frame is 4 x 4.5 inches in two dimensions, 4 x 3 in one.
        about: names and values to add to the provenance.
        progress: whether to show a progress bar, on a terminal.

    Raises:
        TypeError, ValueError: a path of three dimensions or of one state, a density or a field
            that does not fit its path, both fps and seconds, or another suffix.
        SdeflowError: an .mp4 without the extra `video`, or ffmpeg fails.
        OSError: the file cannot be written; an older file stays as it was.
    """
    row = legs(path, history, field)
    shared = look(row, where, vmax, colour, size, unit)
    comment = film_comment(about)
    file = check_film(file)
    counts = [len(leg.t) for leg in row]
    durations, rate = _durations(counts, mirror, fps, seconds, hold, file.suffix.lower())
    across, down = pixels = _pixels(shared.dim, dpi)
    with figure(across / dpi, down / dpi) as fig, writing(file) as part:
        drawn: Iterator[bytes] = tqdm(
            _frames(fig, row, shared, dpi), desc="film", unit="frame", total=sum(counts),
            leave=False, disable=None if progress else True,
        )  # fmt: skip
        shown = zip(there_and_back(drawn) if mirror else drawn, durations, strict=True)
        if file.suffix.lower() == ".mp4":
            write_mp4(part, shown, pixels, rate, comment)
        else:
            write_gif(part, shown, pixels, _colours(row, shared), comment)
    return file


def check_film(file: object) -> pathlib.Path:
    """Check the name of a film, and that its format can be written on this machine."""
    found = check_file(file, "file")
    if found.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"{found} must end in .gif or .mp4; plot.write writes single pictures")
    if found.suffix.lower() == ".mp4":
        check_mp4(found)
    return found


def _durations(
    counts: Sequence[int], mirror: bool, fps: float | None, seconds: float | None, hold: float,
    suffix: str,
) -> tuple[list[float], float]:  # fmt: skip
    """The seconds for which each frame is shown, and the frames per second."""
    if fps is not None and seconds is not None:
        raise ValueError("fps and seconds both set the speed; give one of them")
    hold = check_positive(hold, "hold", zero=True)
    ends = set(np.cumsum(counts) - 1)
    extra = [hold * (k in ends) for k in range(sum(counts))]
    if mirror:
        extra += [*extra[-2:0:-1], hold]
    if seconds is None:
        rate = check_positive(20.0 if fps is None else fps, "fps")
    else:
        rate = len(extra) / check_positive(seconds, "seconds")
    if suffix == ".gif" and rate > 1 / LEAST + 1e-9:
        raise ValueError(
            f"a GIF shows at most {1 / LEAST:g} frames per second, not {rate:.4g}; film fewer "
            "states, take more seconds, or write an .mp4"
        )
    if 1 / rate + hold > LONGEST:
        raise ValueError(
            f"a frame is shown for {1 / rate + hold:.4g} seconds, more than {LONGEST:g}; raise "
            "fps or lower hold"
        )
    return [1 / rate + more for more in extra], rate


def _pixels(dim: int, dpi: int) -> tuple[int, int]:
    """Width and height of a frame in pixels, even numbers as H.264 needs."""
    if not 50 <= check_int(dpi, "dpi") <= 500:
        raise ValueError(f"dpi must be 50 to 500, got {dpi}")
    width, height = (2 * round(side * dpi / 2) for side in INCHES[dim])
    return width, height


def _frames(fig: Figure, row: Sequence[Leg], shared: Look, dpi: int) -> Iterator[bytes]:
    """Draw each state once, as the bytes of its pixels."""
    canvas, ax = FigureCanvasAgg(fig), fig.subplots()
    fig.set_dpi(dpi)
    fig.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    for leg in row:
        for k in range(len(leg.t)):
            ax.clear()
            shared.draw(ax, leg, k)
            canvas.draw()
            fig.set_layout_engine("none")  # the axes stay where the first frame has them
            yield np.asarray(canvas.buffer_rgba())[:, :, :3].tobytes()


def _colours(row: Sequence[Leg], shared: Look) -> np.ndarray:
    """The palette of all frames."""
    dots = shared.colour if isinstance(shared.colour, str) else "viridis"
    inks = [dots, BLACK, *([GREY] if shared.arrows else [])]
    if shared.dim == 1:
        return palette(["white"], [*inks, BLUE])
    below = any(leg.densities is not None for leg in row)
    return palette([COLOURS if below else "white", "white"], inks)
