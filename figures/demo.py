"""Draw the figure of the demo on the spiral: clouds, loss and distances."""

from __future__ import annotations

from pathlib import Path

import torch

from sdeflow.experiment import demo, run
from sdeflow.experiment.config import Config
from sdeflow.provenance import write_bytes

HERE = Path(__file__).parent


def folder(quick: bool) -> Path:
    """The folder of the run that the figure comes from."""
    return HERE.parent / "runs" / ("figures-quick" if quick else "figures-demo")


def main(quick: bool) -> Path:
    """Make the run, if it does not exist, and keep its figure."""
    torch.set_num_threads(1)
    config = Config(steps=100) if quick else Config()
    made = folder(quick)
    run.clear(made, config)
    demo.demo(config, made, progress=True)
    if quick:
        return made / "figure.png"
    kept = HERE / "demo.png"
    write_bytes(kept, (made / "figure.png").read_bytes())
    return kept
