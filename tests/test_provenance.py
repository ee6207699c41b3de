"""A result's signature, and that a file is there whole or not at all."""

import os
from pathlib import Path

import pytest
import torch

from sdeflow.provenance import provenance, write_bytes, write_text


def test_provenance_tells_where_a_number_comes_from() -> None:
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
