"""README's picture: the demo's run on the spiral, through both engines, with its floors."""

from __future__ import annotations

from pathlib import Path

import torch

from sdeflow.experiment import demo, run
from sdeflow.provenance import write_bytes

HERE = Path(__file__).parent


def folder(quick: bool) -> Path:
    """Of the run that the picture is taken from."""
    return HERE.parent / "runs" / ("figures-quick" if quick else "figures-demo")


def main(quick: bool) -> Path:
    """Make the run (or take the one that is there) and keep its figure."""
    torch.set_num_threads(1)
    config = run.Config(steps=100) if quick else run.Config()
    made = folder(quick)
    run.clear(made, config)
    demo.demo(config, made, progress=True)
    if quick:
        return made / "figure.png"
    kept = HERE / "demo.png"
    write_bytes(kept, (made / "figure.png").read_bytes())
    return kept
