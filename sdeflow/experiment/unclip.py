"""Train an unCLIP model in a folder, and draw pictures from text with it.

    unclip.json                                  the settings and the provenance
    clip, prior, linear, decoder .safetensors    the model (`images.UnCLIP`)
    training/                                    checkpoints, from which training continues
    pictures.png, pictures.npz                   the last pictures, with their prompts

Every file is written whole or not at all.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdeflow import plot
from sdeflow._validation import SdeflowError, check_file, check_int
from sdeflow.experiment.folder import UNCLIP, check_folder, is_unclip, read_sealed, sealed
from sdeflow.images.pictures import CaptionedPictures, draw, handwritten
from sdeflow.images.retrieval import zero_shot
from sdeflow.images.unclip import FILES, UnCLIP
from sdeflow.images.unclip_training import UnCLIPConfig, train_unclip
from sdeflow.images.vocabulary import NAMES
from sdeflow.provenance import alone, provenance, write_files, write_text

EACH = 8
"""Number of pictures of each prompt."""
SHOWN = (
    "a seven with a hat", "a three with a belt", "the digit 5 with a frame", "an eight and a dot",
    "a two with a tail", "a four with an underline", "a thick nine", "an inverted 6",
)  # fmt: skip
"""Prompts of the sheet that is drawn after the training."""


def train(options: Mapping[str, int], folder: Path, *, progress: bool = False) -> str:
    """Train the model in `folder`, or continue its training; draw a sheet; return a report.

    `options` are those of `images.UnCLIPConfig`, by name.

    Raises:
        SdeflowError: the folder holds another run, or a damaged file; another process trains in
            it.
    """
    config = UnCLIPConfig(**options)
    folder = check_file(folder, "folder")
    check_folder(folder)
    there = _config(folder)
    if (folder / "config.json").exists() or there not in (None, config):
        raise SdeflowError(f"{folder} holds another run; choose another folder or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        write_text(folder / UNCLIP, sealed({**asdict(config), "made": provenance(config.seed)}))
        model = train_unclip(config, folder, progress=progress)
    sheet = pictures(folder, SHOWN, seed=config.seed)
    return f"{_report(model)}\npictures: {sheet}"


def pictures(
    folder: Path, prompts: Sequence[str], each: int = EACH, scale: float = 2.0, seed: int = 0,
    against: str | None = None,
) -> Path:  # fmt: skip
    """Draw `each` pictures of every prompt, write them, and return the file of the sheet.

    Errors are those of `reopen` and `UnCLIP.pictures`.
    """
    model = reopen(folder)
    texts = [prompt for prompt in prompts for _ in range(check_int(each, "n"))]
    x = model.pictures(texts, scale, seed, against=against)
    npz = io.BytesIO()
    np.savez(npz, x=x.reshape(-1, *model.shape).numpy(), prompts=np.array(texts))
    write_files({Path(folder) / "pictures.npz": npz.getvalue()})
    return _sheet(Path(folder) / "pictures.png", x, model.shape, prompts, each, seed)


def _sheet(
    path: Path, x: Tensor, shape: tuple[int, ...], prompts: Sequence[str], each: int, seed: int
) -> Path:
    """Write a row of pictures for each prompt, below its text."""
    with plot.figure(max(3.0, 0.7 * each), 0.95 * len(prompts)) as fig:
        panels = fig.subplots(len(prompts), 1, squeeze=False)[:, 0]
        for ax, prompt, row in zip(panels, prompts, x.split(each), strict=True):
            plot.pictures(ax, row, shape, columns=each)
            ax.set_title(prompt, loc="left")
        return plot.write(fig, path, {"seed": seed})


def reopen(folder: Path) -> UnCLIP:
    """Read the model of a finished run.

    Raises:
        SdeflowError: there is no unCLIP run, it is not finished, or a file is damaged.
    """
    folder = check_file(folder, "folder")
    check_folder(folder)
    if _config(folder) is None:
        raise SdeflowError(
            f"{folder} holds no unCLIP run; make one with: sdeflow unclip --out {folder}"
        )
    if not all((folder / name).is_file() for name in FILES):
        raise SdeflowError(
            f"the run in {folder} is not finished; continue with: sdeflow unclip --out {folder}"
        )
    return UnCLIP.load(folder)


def summary(folder: Path) -> dict[str, object]:
    """The settings of a run, its progress and its files."""
    config = _config(check_file(folder, "folder"))
    there = sorted(f.name for f in Path(folder).iterdir() if f.is_file())
    done = "finished" if set(FILES) <= set(there) else "not finished"
    about = {} if config is None else asdict(config)
    return {"run": folder, "training": done, **about, "files": ", ".join(there)}


def _config(folder: Path) -> UnCLIPConfig | None:
    """The settings of the run in a folder; None if there is no run."""
    if not is_unclip(folder):
        return None

    def config(found: dict) -> UnCLIPConfig:
        found.pop("made", None)
        return UnCLIPConfig(**found)

    return read_sealed(folder / UNCLIP, config, "restore it or train again")


def _report(model: UnCLIP) -> str:
    """The shares of held-out digits that are recognised by their text."""
    images, digit = handwritten("test")
    plain = draw(images, torch.zeros(len(images), len(NAMES), dtype=torch.bool))
    drawn = CaptionedPictures("test").sample(1000, seed=9999)
    shares = [
        float((zero_shot(model.clip, x) == wanted).double().mean())
        for x, wanted in ((plain, digit), (drawn.x, drawn.digit))
    ]
    return (
        "share of held-out digits recognised, without training on labels: "
        f"{shares[0]:.3f} plain, {shares[1]:.3f} with attributes"
    )
