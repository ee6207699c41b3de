"""Draw the figure of a check: the clouds of the demo's run against their densities."""

from __future__ import annotations

from pathlib import Path

import torch

from figures import demo
from sdeflow.experiment import verify
from sdeflow.provenance import write_bytes


def main(quick: bool) -> Path:
    """Check the demo's run, which is made first if it does not exist, and keep the figure."""
    torch.set_num_threads(1)
    folder = demo.folder(quick)
    if not (folder / "field.safetensors").is_file():
        demo.main(quick)
    if quick:
        verify.check(folder, n=2000, cells=64, steps=60)
        return folder / "check.png"
    verify.check(folder, n=50_000)
    kept = demo.HERE / "check.png"
    write_bytes(kept, (folder / "check.png").read_bytes())
    return kept
