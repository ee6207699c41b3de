"""Record how a result was made, and write result files so that none is ever half written.

`provenance` gives the command, the commit (marked "-dirty" if files differed from it), versions,
device, threads, precision, seed and a digest of the settings. Every report, cloud, figure,
benchmark row and claim contains it, and `picture_provenance` reads it from a picture. Device and
threads are included because the last bits of a result depend on them.

`write_files` and `writing` write a temporary file in the same folder, flush it to the disk and
rename it, which the operating system does in one step. So a reader finds the old file or the new
one, even after a crash. Two processes that write the same file take turns; the locks (flock) end
with their process, however it ends. There are none on Windows and on some network file systems.
"""

from __future__ import annotations

import errno
import hashlib
import html
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError

from sdeflow._validation import SdeflowError, check_file
from sdeflow._wording import device_name, reason

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


def provenance(
    seed: int | None = None,
    config: Mapping[str, object] | None = None,
    device: torch.device | None = None,
) -> dict[str, str | int]:
    """The command, commit, versions, device, threads, dtype and seed that made a result.

    `config`, the settings of a run, enters as the first 12 digits of the SHA-256 of its JSON. The
    device is the processor, and with `device` a GPU beside it.
    """
    gpu = "" if device is None or device.type == "cpu" else f" and {device_name(device)}"
    made: dict[str, str | int] = {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("sdeflow", "torch", "torchsde", "torchdiffeq")},
        "device": (platform.processor() or platform.machine()) + gpu,
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()),
    }
    if seed is not None:
        made["seed"] = seed
    if config is not None:
        text = json.dumps(dict(config), sort_keys=True, default=str)
        made["config"] = hashlib.sha256(text.encode()).hexdigest()[:12]
    return made


NO_DATE: dict[str, dict[str, str | None]] = {
    ".png": {}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None},
}  # fmt: skip
"""The formats of pictures, and the metadata of each that leaves the date out."""


def picture_metadata(path: Path, about: Mapping[str, object]) -> dict[str, str | None]:
    """The metadata that hold `about` in a picture: one field per name in a png, else one of JSON.

    The path must end in .png, .pdf or .svg; names have 1 to 79 ASCII characters.
    """
    lines = _lines(about)
    suffix = path.suffix.lower()
    if suffix in (".eps", ".ps"):
        raise ValueError(f"{path}: PostScript has no transparent colours; write a .pdf instead")
    if suffix not in NO_DATE:
        raise ValueError(f"{path} must end in one of {', '.join(NO_DATE)}, which keep metadata")
    if suffix == ".png":
        return {**lines}
    key = "Keywords" if suffix == ".pdf" else "Description"
    return {**NO_DATE[suffix], key: _json(lines)}


def film_comment(about: Mapping[str, object] | None = None) -> str:
    """`provenance()` and `about` as one line of JSON, for the comment field of a film."""
    return _json(_lines(provenance()) | ({} if about is None else _lines(about)))


def _json(lines: Mapping[str, str]) -> str:
    return json.dumps(dict(lines))  # in ASCII, so that a reader need not guess the encoding


def _lines(about: object) -> dict[str, str]:
    if not isinstance(about, Mapping):
        raise TypeError(f"about must be a mapping of names to texts, got {type(about).__name__}")
    for name in about:
        if not isinstance(name, str) or not re.fullmatch(r"[ -~]{1,79}", name):
            raise ValueError(f"a name in about must be 1 to 79 ASCII characters, got {name!r:.99}")
    return {name: str(value) for name, value in about.items()}


def picture_provenance(path: str | Path) -> dict[str, str]:
    """Read the provenance of a picture, a film, or a page of `sdeflow view`.

    `plot.write` writes it into .png, .pdf and .svg, `plot.film` into .gif and .mp4. A file without
    provenance raises a ValueError.
    """
    path = check_file(path)
    data = path.read_bytes()
    if data.startswith(b"%PDF"):
        found = re.search(rb"/Keywords \(((?:[^\\()]|\\.)*)\)", data, re.DOTALL)
        lines = _record(re.sub(rb"\\(.)", rb"\1", found[1]).decode("latin-1") if found else "")
    elif data.startswith(b"<!doctype html>"):
        start = b'<script type="application/json" id="provenance">'
        lines = _record(data.partition(start)[2].partition(b"</script>")[0].decode())
    elif data.startswith((b"<?xml", b"<svg")):
        text = data.decode(errors="replace")
        inside = re.search("<dc:description>(.*?)</dc:description>", text, re.DOTALL)
        lines = _record(html.unescape(inside[1]) if inside else "")
    elif data[4:8] == b"ftyp":
        # The comment's box: its kind, then in a box of text its length, kind, type and language.
        found = re.search(rb"\xa9cmt(.{4})data.{8}", data, re.DOTALL)
        end = found.end() + int.from_bytes(found[1], "big") - 16 if found else 0
        lines = _record(data[found.end() : end].decode(errors="replace") if found else "")
    else:
        lines = _image_fields(path)
    if "command" not in lines:
        raise ValueError(
            f"{path} does not say what made it; write it with plot.write (.png, .pdf, .svg) or "
            "plot.film (.gif, .mp4)"
        )
    return lines


def _record(text: str) -> dict[str, str]:
    """A JSON object as names and texts; empty if the text is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return {k: str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _image_fields(path: Path) -> dict[str, str]:
    try:
        with Image.open(path) as picture:
            picture.load()
            found = dict(picture.info)
    except UnidentifiedImageError:
        return {}
    except Exception as error:  # on bad bytes Pillow's decoders raise a dozen different types
        raise ValueError(f"{path} is damaged ({reason(error)}); write it again") from None
    if picture.format == "GIF":
        return _record(bytes(found.get("comment", b"")).decode(errors="replace"))
    texts = {str(name): text for name, text in found.items() if isinstance(text, str)}
    return {name: text for name, text in texts.items() if name != "Software"}  # matplotlib's own


@cache
def commit() -> str:
    """The commit of the code, with "-dirty" if files differ from it; "unknown" without git.

    It is read once in a process, because the code that runs is that of the start. A program that
    writes into the repository calls this first.
    """
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def write_files(files: dict[Path, bytes]) -> None:
    """Write files that belong together: none is replaced before all are on the disk."""
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        _no_folder(path)  # before any of the others is replaced
    with ExitStack() as stack:
        parts = {path: stack.enter_context(part_of(path)) for path in sorted(files)}
        for path, part in parts.items():
            with open(part, "wb") as file:
                file.write(files[path])
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            os.replace(part, path)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """The name of a temporary file, which replaces `path` when the block ends without an error."""
    check_writable(path)
    with part_of(path) as part:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)


def _no_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def check_writable(path: Path) -> None:
    """Make the folder of a file; raise an OSError if the file could not be written later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _no_folder(path)
    with part_of(path) as trial:
        trial.write_bytes(b"")
        trial.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step: a reader finds the old one or the new one, never a part."""
    write_files({path: data})


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step, in UTF-8."""
    write_bytes(path, text.encode())


@contextmanager
def alone(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, which must exist, while the block runs.

    Raises:
        SdeflowError: another process holds the folder, and `wait` is false.
    """
    file = None if fcntl is None else os.open(folder, os.O_RDONLY)
    try:
        if file is not None and not _locked(file, wait):
            raise SdeflowError(
                f"another process works in {folder}; wait until it ends, or choose another folder"
            )
        yield
    finally:
        if file is not None:
            os.close(file)


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """The name of a temporary file beside `path`, which no other process uses meanwhile.

    The file is removed if the block raises an error. An OSError names `path`.
    """
    part = path.with_name(path.name + ".part")
    held = None
    try:
        held = _held(part)
        yield part
    except BaseException as error:  # Ctrl-C too
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
            error.filename = str(path)  # a full disk names no file
        if held is not None or fcntl is None:
            part.unlink(missing_ok=True)
        raise
    finally:
        if held is not None:
            os.close(held)


def _held(part: Path) -> int | None:
    """Open and lock a file; wait until no other process holds it."""
    while fcntl is not None:
        file = os.open(part, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            _locked(file, wait=True)
            if part.exists() and os.path.samestat(os.fstat(file), os.stat(part)):
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # the process that held it has given it its name
    return None


def _locked(file: int, wait: bool) -> bool:
    """Lock an open file or folder; false if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # no locks on this file system
        pass
    return True
