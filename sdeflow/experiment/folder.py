"""Read and check the folder of a run: its files, its settings, its data and its log."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Literal, TypeVar, get_args

from sdeflow._validation import SdeflowError, shown
from sdeflow.distributions import datasets
from sdeflow.experiment.config import Config

T = TypeVar("T")

Format = Literal["png", "pdf", "svg"]
"""Formats of the figures of a demo and of a check."""

RESULTS = (
    "field.safetensors", "cloud.npz", "cloud.csv", "cloud.png", "report.json", "report.md",
    "check.json", "check.md", "page.html",
    *(f"{name}.{suffix}" for name in ("figure", "check") for suffix in get_args(Format)),
)  # fmt: skip
"""The trained field, and the files made with it."""

FILES = (
    "config.json", "checkpoint.safetensors", "checkpoint.safetensors.previous", "metrics.jsonl",
    *RESULTS,
)  # fmt: skip


def check_format(name: object) -> None:
    """Refuse an unknown format of a figure."""
    if name not in get_args(Format):
        raise ValueError(f"format must be one of {', '.join(get_args(Format))}, got {shown(name)}")


UNCLIP = "unclip.json"
"""The settings of an unCLIP run, see `words`."""


def is_unclip(folder: Path) -> bool:
    """Whether a folder holds an unCLIP run, finished or not."""
    return (folder / UNCLIP).is_file()


def check_no_words(folder: Path) -> None:
    """Refuse the folder of an unCLIP run."""
    if is_unclip(folder):
        raise SdeflowError(
            f"{folder} holds an unCLIP run; draw with: sdeflow sample {folder} --prompt TEXT"
        )


def command(config: Config, folder: Path) -> str:
    """The command that trains this run, or continues its training."""
    words, usual = ["sdeflow", "train"], Config(config.data, label=config.label)
    for option in fields(config):
        value = getattr(config, option.name)
        always = option.name in ("data", "label")
        if value != (option.default if always else getattr(usual, option.name)):
            flag = f"--{option.name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return shlex.join([*words, "--out", str(folder)])


def remove(folder: Path, names: tuple[str, ...]) -> None:
    """Remove those of these files that exist, and the steps that were fitted to the field."""
    for file in (*(folder / name for name in names), *folder.glob("steps-*.json")):
        file.unlink(missing_ok=True)


def check_folder(folder: Path) -> None:
    """Refuse a file in place of a folder."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not the folder of a run; name a folder")


def check_run(folder: Path) -> None:
    """Refuse a folder that holds no run."""
    check_folder(folder)
    check_no_words(folder)
    if not (folder / "config.json").is_file():
        raise SdeflowError(f"{folder} holds no run; make one with: sdeflow train --out {folder}")


def check_same_run(folder: Path, there: Config, config: Config) -> None:
    """Refuse the folder of a run with another config."""
    names = [option.name for option in fields(config)]
    differing = [name for name in names if getattr(there, name) != getattr(config, name)]
    if differing:
        raise SdeflowError(
            f"{folder} holds another run (another {', '.join(differing)}); choose another "
            "folder or remove it"
        )


def data_digest(config: Config) -> str | None:
    """SHA-256 of the data file; None for a data set of the package."""
    if config.data in datasets.NAMES | datasets.SHAPED:
        return None
    return hashlib.sha256(Path(config.data).read_bytes()).hexdigest()


def check_same_data(config: Config, digest: str | None) -> None:
    """Refuse a data file that has changed; runs of older versions have no digest."""
    if digest not in (None, data_digest(config)):
        raise SdeflowError(
            f"{config.data} has changed since this run was trained on it; restore it, or train "
            "again in another folder"
        )


def read_log(path: Path) -> list[dict[str, float]]:
    """The logged steps and losses in order; an empty list if there is no log."""
    lines = []
    text = path.read_text(errors="replace") if path.is_file() else ""
    for at, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            lines.append({"step": int(row["step"]), "loss": float(row["loss"])})
        except (ValueError, TypeError, KeyError):
            raise SdeflowError(f"{path}, line {at} is damaged; remove that line") from None
    return lines


def in_words(found: dict) -> dict[str, object]:
    """The result of `run.summary`, in words."""
    last, steps = found["last"], found["config"]["steps"]
    left = f"not finished, {last['step'] if last else 0} of {steps} steps"
    return {
        "training": "finished" if found["finished"] else left,
        "loss": f"{last['loss']:.4g} at step {last['step']}" if last else "not logged yet",
        **{name: value for name, value in found["config"].items() if value is not None},
        "files": ", ".join(found["files"]),
    }


def sealed(about: Mapping[str, object]) -> str:
    """Values as JSON, with the SHA-256 of their JSON under the name `sha256`."""
    return json.dumps({**about, "sha256": _digest(about)}, indent=1)


def read_sealed(path: Path, build: Callable[[dict], T], cure: str) -> T:
    """What `build` makes of the values of a sealed file; SdeflowError if that is damaged."""
    try:
        return build(unsealed(path.read_text()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SdeflowError(f"{path} is damaged ({error}); {cure}") from None


def unsealed(text: str) -> dict:
    """The values of `sealed`, if they are whole; files of older versions have no digest."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    if "sha256" in found and found.pop("sha256") != _digest(found):
        raise ValueError("it was changed after it was written")
    return found


def _digest(about: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode()).hexdigest()
