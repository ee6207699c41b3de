"""Let one process at a time write a file, or work in a folder.

The locks are those of the operating system (flock), so that they end with the process, however it
ends. Nothing is locked where there are none: on Windows and on some network file systems.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdeflow._validation import SdeflowError

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


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
        if isinstance(error, OSError) and error.filename in (None, str(part)):
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
