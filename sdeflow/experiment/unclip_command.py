"""The part of the command that is about words: `sdeflow unclip`, and `sdeflow sample --prompt`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sdeflow.experiment as experiment


@dataclass(frozen=True)
class Unclip:
    """Train a model that draws pictures from words; go on with what is there of this very run."""

    out: Path = Path("runs/unclip")
    """Folder of the run."""
    clip_steps: int = 1500
    """Of the model of pictures and captions."""
    prior_steps: int = 4000
    """Of the prior, which makes a picture's embedding from a text's."""
    decoder_steps: int = 3000
    """Of the decoder, which draws it."""
    seed: int = 0
    """Of everything random."""

    def __call__(self) -> None:
        """Print how well it reads, and where a sheet of its pictures is."""
        options = {o.name: getattr(self, o.name) for o in fields(self) if o.name != "out"}
        print(experiment.words.train(options, self.out, progress=sys.stderr.isatty()))


UNUSED = {
    "method": "multistep",
    "steps": 20,
    "eta": None,
    "label": None,
    "save": None,
    "film": None,
}
"""Options of `sdeflow sample` that pictures of prompts do not have, and their defaults."""


def prompted(asked: Any) -> Path:
    """Draw what `sdeflow sample` was asked for; the path of the sheet.

    Raises:
        ValueError: there is no prompt, or an option that pictures of prompts do not have.
    """
    words = experiment.words
    if not asked.prompt:
        raise ValueError(
            "this run draws what it is told; give it, as in --prompt 'a seven with a hat'"
        )
    unused = [f"--{name}" for name, value in UNUSED.items() if getattr(asked, name) != value]
    if unused:
        raise ValueError(f"pictures of prompts have no {', '.join(unused)}; leave it out")
    n = words.EACH if asked.n is None else asked.n
    return words.pictures(asked.folder, asked.prompt, n, asked.scale, asked.seed, asked.against)
