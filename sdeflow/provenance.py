"""Write result files whole, with a record of what made them.

`provenance` gives command, commit (marked dirty where the tree was), versions, device, threads,
precision and seed. Every report, cloud, figure, benchmark row and claim carries it. Threads and
device belong to it because the bits of a result depend on them.

`write_files` writes beside the file's place, flushes to the disk and renames, which the system
does in one step: a reader finds the old file or the new one, also after a crash.
"""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch


def provenance(seed: int | None = None) -> dict[str, str | int]:
    """Command, commit, versions, device, threads, dtype, seed: what every result file carries."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("sdeflow", "torch", "torchsde", "torchdiffeq")},
        "device": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": str(torch.get_default_dtype()),
        **({} if seed is None else {"seed": seed}),
    }


FIELDS = {".png": "", ".pdf": "Keywords", ".svg": "Description", ".eps": "Creator"}
"""The formats of pictures that keep metadata, and the field for text; .png has any fields."""


def picture_metadata(path: Path, about: Mapping[str, object]) -> dict[str, str]:
    """`about` as the metadata that a picture of this suffix can hold.

    Raises:
        ValueError: it can hold none, or there is no suffix.
    """
    if not isinstance(about, Mapping):
        raise TypeError(f"about must be a mapping of names to texts, got {type(about).__name__}")
    suffix = path.suffix.lower()
    if suffix not in FIELDS:
        raise ValueError(f"{path} must end in one of {', '.join(FIELDS)}, which keep metadata")
    lines = {key: str(value) for key, value in about.items()}
    if suffix == ".png":
        return lines
    return {FIELDS[suffix]: "; ".join(f"{key}: {value}" for key, value in lines.items())}


@cache
def commit() -> str:
    """The commit of the code, with "-dirty" where the tree differs from it; "unknown" without git.

    It is asked once a process: the code that runs is that of the start, whatever is written or
    edited meanwhile. A program that writes into the tree asks before it writes.
    """
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def write_files(files: dict[Path, bytes]) -> None:
    """Write files that belong together: none takes its place before all are on the disk."""
    parts = {path.with_name(path.name + ".part"): path for path in files}
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        _no_folder(path)  # else seen only when others have taken their places
    try:
        for part, path in parts.items():
            with open(part, "wb") as file:
                file.write(files[path])
                file.flush()
                os.fsync(file.fileno())
        for part, path in parts.items():
            os.replace(part, path)
    except BaseException:  # Ctrl-C too
        for part in parts:
            part.unlink(missing_ok=True)
        raise


def _no_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def check_writable(path: Path) -> None:
    """Make the folder of a file that is to be written later, and raise OSError if it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _no_folder(path)
    trial = path.with_name(path.name + ".part")
    trial.write_bytes(b"")
    trial.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole: a reader sees the old one or the new one, also after a crash."""
    write_files({path: data})


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_bytes(path, text.encode())
