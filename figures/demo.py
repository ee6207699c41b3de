"""README's picture: the demo's run on the spiral, through both engines, with its floors."""

from __future__ import annotations

from pathlib import Path

import torch

from sdeflow import run, train

HERE = Path(__file__).parent


def main(quick: bool) -> Path:
    """Make the run (or take the one that is there) and keep its figure."""
    torch.set_num_threads(1)
    config = run.Config(steps=100) if quick else run.Config()
    folder = HERE.parent / "runs" / ("figures-quick" if quick else "figures-demo")
    run.clear(folder, config)
    run.demo(config, folder, progress=True)
    if quick:
        return folder / "figure.png"
    kept = HERE / "demo.png"
    train.write_bytes(kept, (folder / "figure.png").read_bytes())
    return kept
