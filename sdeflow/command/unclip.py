"""Train a model that draws pictures from text (`sdeflow unclip`), and draw with --prompt."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import sdeflow.experiment as experiment


@dataclass(frozen=True)
class Unclip:
    """Train a model that draws pictures from text, or continue its training in the folder."""

    out: Path = Path("runs/unclip")
    """Folder of the run."""
    clip_steps: int = 1500
    """Training steps of CLIP, which embeds pictures and captions."""
    prior_steps: int = 4000
    """Training steps of the prior, which maps the embedding of a text to that of a picture."""
    decoder_steps: int = 3000
    """Training steps of the decoder, which draws a picture from its embedding."""
    seed: int = 0
    """Seed of all random numbers."""

    def __call__(self) -> None:
        """Print how well the model recognises pictures, and the file of a sheet that it drew."""
        options = {o.name: getattr(self, o.name) for o in fields(self) if o.name != "out"}
        print(experiment.unclip.train(options, self.out, progress=sys.stderr.isatty()))


UNUSED = (
    "method", "steps", "eta", "which", "interval", "save", "out", "overwrite", "film", "device",
)  # fmt: skip
"""Options of `sdeflow sample` that do not apply to prompts."""


def prompted(asked: Any) -> Path:
    """Draw the pictures of `sdeflow sample --prompt`; return the file of the sheet."""
    made = experiment.unclip
    if not asked.prompt:
        raise ValueError(
            "this run draws pictures from text; give one, such as --prompt 'a seven with a hat'"
        )
    usual = {option.name: option.default for option in fields(asked)}
    unused = [
        f"--{'class' if name == 'which' else name}"
        for name in UNUSED
        if getattr(asked, name) != usual[name]
    ]
    if unused:
        raise ValueError(f"{', '.join(unused)} does not apply to an unCLIP run; leave it out")
    n = made.EACH if asked.n is None else asked.n
    scale = 2.0 if asked.scale is None else asked.scale
    return made.pictures(asked.folder, asked.prompt, n, scale, asked.seed, asked.against)
