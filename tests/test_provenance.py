"""A result's signature, and that a file is there whole or not at all."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

import sdeflow.provenance as provenance_module
from sdeflow._wording import reason
from sdeflow.provenance import provenance, write_bytes, write_files, write_text


def test_provenance_has_command_commit_versions_and_seed() -> None:
    made = provenance(7)
    assert made["seed"] == 7
    assert made["torch"] == torch.__version__.split("+")[0] or made["torch"] == torch.__version__
    assert made["threads"] == 1
    assert {"command", "commit", "python", "sdeflow", "torchsde", "torchdiffeq"} <= made.keys()
    assert {"device", "dtype"} <= made.keys()
    assert "seed" not in provenance()


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    file = tmp_path / "new" / "f"
    write_text(file, "old")

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, moment, full)
        with pytest.raises(OSError, match="No space left"):
            write_bytes(file, b"new")
    assert [f.name for f in file.parent.iterdir()] == ["f"]
    assert file.read_bytes() == b"old"
    write_bytes(file, b"new")
    assert file.read_bytes() == b"new"


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_ctrl_c_while_writing_leaves_no_part_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, moment, stop)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "f", b"new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("blocked", ["a", "b", "c"])
def test_write_files_replaces_all_files_or_none(tmp_path: Path, blocked: str) -> None:
    files = {tmp_path / name: b"new" for name in "abc"}
    for file in files:
        file.write_bytes(b"old")
    (tmp_path / blocked).unlink()
    (tmp_path / blocked).mkdir()
    with pytest.raises(IsADirectoryError, match=blocked):
        write_files(files)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a", "b", "c"]
    assert all(f.read_bytes() == b"old" for f in files if f.name != blocked)
    (tmp_path / blocked).rmdir()
    write_files(files)
    assert all(f.read_bytes() == b"new" for f in files)


def test_commit_of_a_process_is_that_of_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written or edited meanwhile does not change the code that runs."""
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=f"abc{len(calls)}\n")

    monkeypatch.setattr(provenance_module.subprocess, "run", run)
    provenance_module.commit.cache_clear()
    try:
        assert [provenance_module.commit() for _ in range(3)] == 3 * ["abc1"]
        assert provenance_module.provenance()["commit"] == "abc1"
    finally:
        provenance_module.commit.cache_clear()


def test_a_damaged_picture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.new("L", (9, 9)).save(file)
    data = file.read_bytes()
    at = data.index(b"IDAT") + 4
    file.write_bytes(data[:at] + b"\0" * 6 + data[at + 6 :])
    with pytest.raises(ValueError, match=r"a\.png is damaged \(.*\); write it again"):
        provenance_module.picture_provenance(file)


def test_errors_of_other_packages_are_told_on_one_short_line() -> None:
    assert reason(ValueError("a\n  b\x00c")) == "a b c"
    assert len(reason(ValueError("x" * 999))) == 80
