"""A result's signature, and that a file is there whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

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
