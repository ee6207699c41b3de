"""Two processes that write one file take turns; a folder is held by one; errors name the file.

A lock belongs to an open file, so that a thread stands for another process here. The campaigns of
`tests/faults` have real ones.
"""

import errno
import threading
import time
from pathlib import Path

import pytest

from sdeflow import SdeflowError
from sdeflow.experiment.folder import sealed, unsealed
from sdeflow.provenance import alone, check_writable, part_of, write_bytes, writing

fcntl = pytest.importorskip("fcntl", reason="no locks on this system")


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    file, order = tmp_path / "a.txt", []

    def other() -> None:
        check_writable(file)
        write_bytes(file, b"second")
        order.append("second")

    with writing(file) as part:
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.05)
        part.write_bytes(b"first")
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert file.read_bytes() == b"second"
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_a_part_that_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"half of somethi")
    write_bytes(tmp_path / "a", b"all")
    assert (tmp_path / "a").read_bytes() == b"all"
    assert not (tmp_path / "a.part").exists()


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    with (
        alone(tmp_path),
        pytest.raises(SdeflowError, match="another process works in"),
        alone(tmp_path),
    ):
        pass
    with alone(tmp_path), alone(tmp_path / ".."):
        pass


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    """The operating system names no file when a write does not fit."""

    def fill() -> None:
        with part_of(tmp_path / "a") as part:
            part.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as error:
        fill()
    assert error.value.filename == str(tmp_path / "a")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as other:
        write_bytes(tmp_path / "file" / "a", b"")
    assert other.value.filename == str(tmp_path / "file")


def test_a_changed_digit_of_sealed_values_is_refused() -> None:
    about = {"centre": [0.1 + 0.2, 1e-300], "name": "a", "none": None}
    text = sealed(about)
    assert unsealed(text) == about
    assert unsealed('{"name": "older"}') == {"name": "older"}
    for bad in (text.replace("1e-300", "2e-300"), text.replace('"a"', '"b"'), "[1]", "{"):
        with pytest.raises(ValueError, match=r"changed after|not a JSON object|Expecting"):
            unsealed(bad)
