"""A run: one folder that holds a problem from its data to its proof.

    config.json                          what was asked for
    checkpoint.safetensors               training so far (and `.previous`, the one before)
    field.safetensors                    the trained field
    metrics.jsonl                        step and loss
    cloud.npz, cloud.csv                 the last sampled cloud, in the data's own units
    report.json, report.md, figure.png   the table and picture of `demo`
    proof.json, proof.md, proof.png      the verdicts and the error budget (see `proof`)

Inside a run everything is in units of the data's standard deviation, centred: one recipe then
serves any point set. Clouds and pictures are in the data's own units again.

A run is its config: `fit` in a folder that holds another one refuses, and in a folder that holds
the same one goes on where that stopped, to the same bits. A file of data belongs to it: the config
keeps a digest of it, and of a file that has changed neither training nor sampling will know.
Every file is written whole or not at
all and says what made it (`provenance`), so a run may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_int, check_positive
from sdeflow.distributions import datasets
from sdeflow.distributions.dataset import Dataset
from sdeflow.fields.exact import ExactField
from sdeflow.fields.field import Field
from sdeflow.fields.learned import LearnedField
from sdeflow.fields.networks import MLP
from sdeflow.fields.prediction import Prediction
from sdeflow.processes.process import Process
from sdeflow.provenance import provenance, write_files, write_text
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver
from sdeflow.training import checkpoint
from sdeflow.training.fit import TrainingConfig
from sdeflow.training.fit import fit as train
from sdeflow.training.loss import prediction_weighting

ProcessName = Literal["VP", "SubVP", "VE", "EDM", "Linear", "Cosine"]
RowName = Literal["data", "noise", "score", "velocity"]
MOST = {"steps": 10**9, "batch": 10**6, "width": 4096, "depth": 100}

FILES = (
    "config.json",
    "checkpoint.safetensors",
    "checkpoint.safetensors.previous",
    "field.safetensors",
    "metrics.jsonl",
    "cloud.npz",
    "cloud.csv",
    "report.json",
    "report.md",
    "figure.png",
    "proof.json",
    "proof.md",
    "proof.png",
)


@dataclass(frozen=True)
class Config:
    """What a run is asked for.

    Args:
        data: the name of a data set (`sdeflow info` lists them), or a file: csv, npy, npz or a
            picture; its whole path is kept.
        process: how it is noised; spans and constants are the process's defaults, in data std.
        predicts: the row in which the loss is measured.
        conditional: also learn the classes, where the data have labels.
        steps: of training.
        batch: particles per step.
        rate: peak learning rate.
        width: of the network's layers.
        depth: number of hidden layers.
        seed: of everything random.

    Raises:
        ValueError, TypeError: a number out of its range, a name that is none.
    """

    data: str = "spiral"
    process: ProcessName = "VE"
    predicts: RowName = "noise"
    conditional: bool = False
    steps: int = 4000
    batch: int = 512
    rate: float = 5e-3
    width: int = 128
    depth: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no run; keep plain text and numbers, which JSON can hold."""
        if not isinstance(self.data, str | os.PathLike):
            raise TypeError(f"data must be a name or a file, got {type(self.data).__name__}")
        data = os.fspath(self.data)
        plain: dict[str, object] = {"data": os.path.abspath(data) if Path(data).suffix else data}
        for name, most in MOST.items():
            number = check_int(getattr(self, name), name)
            if number > most:
                raise ValueError(f"{name} must be at most {most}, got {number}")
            plain[name] = number
        plain["rate"] = check_positive(self.rate, "rate")
        plain["seed"] = check_int(self.seed, "seed", 0)
        for name, known in (
            ("process", get_args(ProcessName)),
            ("predicts", get_args(RowName)),
            ("conditional", (False, True)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        plain["conditional"] = bool(self.conditional)
        for name, value in plain.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, process and fields of a run, in units of the data's standard deviation.

    Attributes:
        data: in its own units.
        standard: the same, centred and in units of its standard deviation: what is learned.
        truth: the exact field of `standard`, where it is known.
    """

    config: Config
    data: Dataset
    standard: Dataset
    field: LearnedField
    truth: ExactField | None

    @property
    def process(self) -> Process:
        """Of both fields."""
        return self.field.process


def problem(config: Config) -> Problem:
    """Everything that a config stands for, with an untrained network.

    Raises:
        ValueError, TypeError: unknown or bad data.
    """
    data = datasets.named(config.data)
    if config.conditional and not data.classes:
        raise ValueError(f"{config.data} has no labels; leave out conditional")
    process: Process = checkpoint.PROCESSES[config.process]()
    classes = len(data.classes) if config.conditional else 0
    network = MLP(2, config.width, config.depth, labels=classes, seed=config.seed)
    field = LearnedField(process, network, Prediction(config.predicts), data_std=1.0)
    standard = data.standardised()
    known = standard.distribution.has_posterior
    truth = ExactField(process, standard.distribution) if known else None
    return Problem(config, data, standard, field, truth)


def fit(config: Config, folder: Path, *, progress: bool = False) -> Problem:
    """Train, or go on with, the run in `folder`, and write its field there.

    Raises:
        SdeflowError: the folder holds another run, or one on other data; a file is damaged.
    """
    folder = Path(folder)
    whole = problem(config)
    settings = TrainingConfig(batch=config.batch, rate=config.rate)
    known, digest = folder / "config.json", _digest(config)
    if known.exists():
        there, digest = _read_config(known)
        if there != config:
            raise SdeflowError(f"{folder} holds another run; choose another folder or remove it")
        _same_data(config, digest)
    log = folder / "metrics.jsonl"
    lines = _read_log(log)
    sample = whole.standard.sample_labelled if config.conditional else whole.standard.sample
    run = train(
        whole.field,
        sample,
        config.steps,
        config.seed,
        config=settings,
        weighting=prediction_weighting(whole.field.predicts),
        checkpoint=folder / "checkpoint.safetensors",
        every=max(1, min(500, config.steps // 10)),
    )
    about = {**asdict(config), "digest": digest, "made": provenance(config.seed)}
    write_text(known, json.dumps(about, indent=1))
    lines = [line for line in lines if line["step"] <= run.step]
    with tqdm(
        total=config.steps, initial=run.step, disable=not progress, unit="step", desc="training"
    ) as bar:
        mean, count = 0.0, 0
        for value in run:
            mean, count = mean + float(value), count + 1
            if run.step % 100 == 0 or run.step == config.steps:
                lines.append({"step": run.step, "loss": mean / count})
                bar.update(run.step - bar.n)
                bar.set_postfix(loss=f"{mean / count:.4f}")
                mean, count = 0.0, 0
                write_text(log, "".join(json.dumps(line) + "\n" for line in lines))
    checkpoint.save(whole.field, folder / "field.safetensors")
    return whole


def reopen(folder: Path) -> Problem:
    """The problem of a finished run, with its trained network.

    Raises:
        SdeflowError: no run there, not finished, a damaged file, a field of another run, or data
            that have changed.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise SdeflowError(f"{folder} holds no run; make one with: sdeflow train --out {folder}")
    if not (folder / "field.safetensors").is_file():
        raise SdeflowError(f"the run in {folder} is not finished; go on with: sdeflow train")
    config, digest = _read_config(folder / "config.json")
    whole = problem(config)
    _same_data(config, digest)
    field = checkpoint.load(folder / "field.safetensors")
    if checkpoint.describe(field) != checkpoint.describe(whole.field):
        raise SdeflowError(
            f"{folder / 'field.safetensors'} is not of the run that config.json there describes; "
            "restore it or train again"
        )
    return replace(whole, field=field)


def summary(folder: Path) -> dict:
    """What a run holds: its config, the last logged loss, its files."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise SdeflowError(f"{folder} holds no run; make one with: sdeflow train --out {folder}")
    lines = _read_log(folder / "metrics.jsonl")
    return {
        "config": asdict(_read_config(folder / "config.json")[0]),
        "last": lines[-1] if lines else None,
        "finished": (folder / "field.safetensors").is_file(),
        "files": sorted(f.name for f in folder.iterdir()),
    }


def clear(folder: Path, config: Config) -> None:
    """Remove the files of a run of other settings or data, so that this one can take its place."""
    folder = Path(folder)
    known = folder / "config.json"
    if known.is_file():
        there, digest = _read_config(known)
        if there != config or digest not in (None, _digest(config)):
            for name in FILES:
                (folder / name).unlink(missing_ok=True)


def sample(
    folder: Path,
    n: int,
    solver: Solver,
    eta: float,
    *,
    seed: int = 0,
    label: int | None = None,
    save: int = 2,
    progress: bool = False,
) -> Path:
    """Run n particles from the prior to the data and write the cloud; the path of the csv file.

    Raises:
        ValueError, SdeflowError: as `reopen` and the solvers.
    """
    folder = Path(folder)
    whole = reopen(folder)
    field: Field = whole.field
    if label is not None:
        if not whole.config.conditional:
            raise ValueError("this run was trained without classes; leave out label")
        if label not in range(len(whole.data.classes)):
            raise ValueError(f"label must be 0 to {len(whole.data.classes) - 1}, got {label}")
        field = whole.field.given(check_int(label, "label", 0))
    law = reverse(field, eta)
    path = solver.solve(law, whole.process.prior(n, 2, seed), save, progress=progress)
    x = whole.data.restore(path.x)
    buffer = io.BytesIO()
    made = json.dumps(provenance(seed))
    np.savez(buffer, t=path.t.numpy(), x=x.numpy(), made=np.array(made))
    rows = "\n".join(f"{a:.7g},{b:.7g}" for a, b in x[-1].tolist())
    text = f"x,y\n{rows}\n".encode()
    write_files({folder / "cloud.npz": buffer.getvalue(), folder / "cloud.csv": text})
    return folder / "cloud.csv"


def _digest(config: Config) -> str | None:
    """Of the file of data; the sets with a name do not change."""
    if config.data in datasets.NAMES:
        return None
    return hashlib.sha256(Path(config.data).read_bytes()).hexdigest()


def _same_data(config: Config, digest: str | None) -> None:
    """Refuse a file that has changed since; runs of older versions have no digest."""
    if digest not in (None, _digest(config)):
        raise SdeflowError(
            f"{config.data} is not what this run was trained on; restore it, or train again in "
            "another folder"
        )


def _read_log(path: Path) -> list[dict[str, float]]:
    """What was logged, in order; nothing if there is no log."""
    lines = []
    text = path.read_text(errors="replace") if path.is_file() else ""
    for at, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            lines.append({"step": int(row["step"]), "loss": float(row["loss"])})
        except (ValueError, TypeError, KeyError):
            raise SdeflowError(f"{path}, line {at} is damaged; remove that line") from None
    return lines


def _read_config(path: Path) -> tuple[Config, str | None]:
    """The config, and the digest of its data if there is one."""
    try:
        found = json.loads(path.read_text())
        found.pop("made", None)
        digest = found.pop("digest", None)
        return Config(**found), digest
    except (ValueError, TypeError, AttributeError) as error:
        raise SdeflowError(f"{path} is damaged ({error}); restore it or train again") from None


Solver = SDESolver | ODESolver
