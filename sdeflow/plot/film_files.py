"""Write the frames of a film to a GIF or an MP4 file, one after the other, as they are drawn.

A frame is the bytes of an image, three for each pixel, row by row. One frame is in memory at a
time.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgba_array
from PIL import Image
from PIL.GifImagePlugin import getdata, getheader
from scipy.spatial import cKDTree

from sdeflow._validation import SdeflowError
from sdeflow.plot.style import Colour

try:
    from imageio_ffmpeg import write_frames
except ImportError:  # the extra `video`
    write_frames = None

Shown = Iterable[tuple[bytes, float]]
"""Frames, each with the seconds for which it is shown."""
Size = tuple[int, int]

LEAST = 0.02
"""Shortest time of a GIF's frame (seconds); browsers show a shorter frame for 0.1 seconds."""
LONGEST = 600.0
"""Longest time of a frame (seconds); a GIF can hold 655."""


def there_and_back(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames, then all but the last in reverse order, from a temporary file."""
    with tempfile.TemporaryFile() as file:
        places = []
        for frame in frames:
            packed = zlib.compress(frame, 1)
            places.append((file.tell(), len(packed)))
            file.write(packed)
            yield frame
        for start, length in reversed(places[:-1]):
            file.seek(start)
            yield zlib.decompress(file.read(length))


def palette(grounds: Sequence[Colour], inks: Sequence[Colour]) -> np.ndarray:
    """256 colours (256, 3) for all frames: backgrounds, inks, and each ink over each background.

    Each of `grounds` and `inks` is a colour map or a colour. A palette of its own for each frame
    would make the film flicker.
    """
    below, above = (np.concatenate([_colours(name) for name in row]) for row in (grounds, inks))
    cover = np.linspace(0.0, 1.0, 10)[1:-1, None]
    mixed = (1 - cover[..., None, None]) * below[:, None] + cover[..., None, None] * above
    # Text and lines over white are in every frame: they have their own steps, for `quantize`
    # spends its colours on the many mixtures of colour maps.
    edges = [1 - cover + cover * ink for ink in map(_colours, inks) if len(ink) == 1]
    pure = np.concatenate([below, above, [[1.0, 1.0, 1.0]], *edges])
    strip = Image.fromarray(_levels(mixed).reshape(1, -1, 3))
    chosen = strip.quantize(256 - len(pure), kmeans=3).getpalette() or []
    between = np.reshape(chosen, (-1, 3))[: 256 - len(pure)]  # Pillow 10 gives all 256
    found = np.full((256, 3), 255, np.uint8)
    found[: len(pure)] = _levels(pure)
    found[len(pure) :][: len(between)] = between
    return found


def _levels(colours: np.ndarray) -> np.ndarray:
    return np.round(255 * colours).astype(np.uint8)


def _colours(name: Colour) -> np.ndarray:
    """The colours (k, 3) of a colour map or of one colour, from 0 to 1."""
    if isinstance(name, str) and name in mpl.colormaps:
        return mpl.colormaps[name](np.linspace(0, 1, 60))[:, :3]
    return to_rgba_array(name)[:, :3]


def write_gif(path: Path, frames: Shown, size: Size, colours: np.ndarray, about: str) -> None:
    """Write a GIF with these colours (256, 3) that repeats for ever; `about` is its comment."""
    written, elapsed, near = 0, 0.0, cKDTree(colours.astype(float))
    with open(path, "wb") as file:
        for frame, seconds in frames:
            picture = Image.frombytes("P", size, _nearest(near, frame))
            picture.putpalette(colours.tobytes())
            if not written:
                head = getheader(picture, info={"loop": 0, "comment": about.encode()})[0]
                file.writelines(head)
            elapsed += seconds  # rounding each frame alone would change the length of the film
            hundredths = round(100 * elapsed) - written
            written += hundredths
            file.writelines(getdata(picture, interlace=0, duration=10 * hundredths))
        file.write(b";")


def _nearest(colours: cKDTree, frame: bytes) -> bytes:
    """The index of the nearest colour for each pixel; Pillow's own is off by up to 4 levels."""
    red, green, blue = np.frombuffer(frame, np.uint8).reshape(-1, 3).T.astype(np.int32)
    found, each = np.unique((red << 16) + (green << 8) + blue, return_inverse=True)
    places = colours.query(np.stack([found >> 16, (found >> 8) & 255, found & 255], 1))[1]
    return places.astype(np.uint8)[each].tobytes()


def check_mp4(path: Path) -> None:
    """Refuse an MP4 where the extra `video` is not installed."""
    if write_frames is None:
        raise SdeflowError(
            f"{path} needs ffmpeg: pip install 'sdeflow[video]', or write a .gif instead"
        )


def write_mp4(path: Path, frames: Shown, size: Size, fps: float, about: str) -> None:
    """Write an MP4 with H.264; `about` is its comment."""
    options = ["-f", "mp4", "-movflags", "+faststart", "-threads", "1", "-map_metadata", "-1"]
    options += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-metadata", f"comment={about}"]
    made = write_frames(
        str(path.resolve()), size, fps=fps, quality=7, codec="libx264", macro_block_size=2,
        ffmpeg_log_level="error", output_params=options,
    )  # fmt: skip
    try:
        with closing(made):
            made.send(None)
            for frame, seconds in frames:
                for _ in range(max(1, round(seconds * fps))):
                    made.send(frame)
    except OSError as error:  # its later lines repeat the options of ffmpeg
        raise SdeflowError(f"ffmpeg stopped: {str(error).splitlines()[0]}") from None
    if not path.is_file() or not path.stat().st_size:
        raise SdeflowError(f"ffmpeg wrote no {path.name}; its message is above")
