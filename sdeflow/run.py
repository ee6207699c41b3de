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
the same one goes on where that stopped, to the same bits. Every file is written whole or not at
all and says what made it (`provenance`), so a run may be killed at any moment.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor
from tqdm import tqdm

from sdeflow import checkpoint, datasets, door, objective, train
from sdeflow.dataset import Dataset, Tiles
from sdeflow.door import SdeflowError
from sdeflow.field import BayesField, EmpiricalField, ExactField, Field
from sdeflow.learned import LearnedField
from sdeflow.mixture import Mixture
from sdeflow.network import MLP
from sdeflow.prediction import Prediction
from sdeflow.process import EDM, VE, VP, Cosine, Linear, Process, SubVP
from sdeflow.provenance import provenance, write_bytes, write_text
from sdeflow.sde import reverse
from sdeflow.solve import Solver
from sdeflow.tiles import SQUARES, TilesField

ProcessName = Literal["VP", "SubVP", "VE", "EDM", "Linear", "Cosine"]
PROCESSES = {"VP": VP, "SubVP": SubVP, "VE": VE, "EDM": EDM, "Linear": Linear, "Cosine": Cosine}
RowName = Literal["data", "noise", "score", "velocity"]


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
            picture.
        process: how it is noised; spans and constants are the process's defaults, in data std.
        predicts: the row in which the loss is measured.
        conditional: also learn the classes, where the data have labels.
        steps: of training.
        batch: particles per step.
        rate: peak learning rate.
        width: of the network's layers.
        depth: number of hidden layers.
        seed: of everything random.
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


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, process and fields of a run, in units of the data's standard deviation.

    Attributes:
        truth: the exact field where the data are points, a mixture or not too many squares.
    """

    config: Config
    data: Dataset
    field: LearnedField
    truth: BayesField | None

    @property
    def process(self) -> Process:
        """Of both fields."""
        return self.field.process

    def inward(self, x: Tensor) -> Tensor:
        """From the data's own units."""
        return (x - self.data.mean.to(x)) / self.data.std

    def outward(self, x: Tensor) -> Tensor:
        """Into the data's own units."""
        return x * self.data.std + self.data.mean.to(x)

    def sample(self, n: int, seed: int) -> Tensor:
        """Data (n, 2), centred and scaled."""
        return self.inward(self.data.sample(n, seed))

    def sample_labelled(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """The same with labels."""
        x, label = self.data.sample_labelled(n, seed)
        return self.inward(x), label


def problem(config: Config) -> Problem:
    """Everything that a config stands for, with an untrained network.

    Raises:
        ValueError, TypeError: unknown or bad data, a constant out of range.
    """
    door.whole(config.seed, "seed", 0)
    door.whole(config.steps, "steps")
    train.Recipe(batch=config.batch, rate=config.rate)
    for name, most in (("batch", 10**7), ("width", 10**5), ("depth", 100)):
        if getattr(config, name) > most:
            raise ValueError(f"{name} must be at most {most}, got {getattr(config, name)}")
    data = datasets.named(config.data)
    if config.conditional and not data.classes:
        raise ValueError(f"{config.data} has no labels; leave out conditional")
    process: Process = PROCESSES[config.process]()
    classes = len(data.classes) if config.conditional else 0
    network = MLP(2, config.width, config.depth, labels=classes, seed=config.seed)
    field = LearnedField(process, network, Prediction(config.predicts), data_std=1.0)
    whole = Problem(config, data, field, None)
    if data.points is not None:
        points, width = whole.inward(data.points), data.width / data.std
        truth: BayesField = EmpiricalField(process, points, data.labels, width)
    elif data.mixture is not None:
        m = data.mixture
        truth = ExactField(
            process, Mixture(m.weights, whole.inward(m.means), m.covariances / data.std**2)
        )
    elif data.tiles is not None and data.tiles.weights.numel() <= SQUARES:
        low, side, weights = data.tiles
        truth = TilesField(process, Tiles(whole.inward(low), side / data.std, weights))
    else:
        return whole
    return replace(whole, truth=truth)


def fit(config: Config, folder: Path, *, progress: bool = False) -> Problem:
    """Train, or go on with, the run in `folder`, and write its field there.

    Raises:
        SdeflowError: the folder holds another run.
    """
    folder = Path(folder)
    whole = problem(config)
    recipe = train.Recipe(batch=config.batch, rate=config.rate)
    known = folder / "config.json"
    if known.exists() and _read_config(known) != config:
        raise SdeflowError(f"{folder} holds another run; choose another folder or remove it")
    sample = whole.sample_labelled if config.conditional else whole.sample
    run = train.fit(
        whole.field,
        sample,
        config.steps,
        config.seed,
        recipe=recipe,
        weighting=objective.measured_in(whole.field.predicts),
        checkpoint=folder / "checkpoint.safetensors",
        every=max(1, min(500, config.steps // 10)),
    )
    write_text(known, json.dumps({**asdict(config), "made": provenance(config.seed)}, indent=1))
    log = folder / "metrics.jsonl"
    lines = [s for s in _lines(log) if json.loads(s)["step"] <= run.step]
    with tqdm(
        total=config.steps, initial=run.step, disable=not progress, unit="step", desc="training"
    ) as bar:
        mean, count = 0.0, 0
        for value in run:
            mean, count = mean + float(value), count + 1
            if run.step % 100 == 0 or run.step == config.steps:
                lines.append(json.dumps({"step": run.step, "loss": mean / count}))
                bar.update(run.step - bar.n)
                bar.set_postfix(loss=f"{mean / count:.4f}")
                mean, count = 0.0, 0
                write_text(log, "\n".join(lines) + "\n")
    checkpoint.save(whole.field, folder / "field.safetensors")
    return whole


def reopen(folder: Path) -> Problem:
    """The problem of a finished run, with its trained network.

    Raises:
        SdeflowError: no run there, not finished, or a damaged file.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise SdeflowError(f"{folder} holds no run; make one with: sdeflow train --out {folder}")
    if not (folder / "field.safetensors").is_file():
        raise SdeflowError(f"the run in {folder} is not finished; go on with: sdeflow train")
    whole = problem(_read_config(folder / "config.json"))
    return replace(whole, field=checkpoint.load(folder / "field.safetensors"))


def summary(folder: Path) -> dict:
    """What a run holds: its config, the last logged loss, its files."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise SdeflowError(f"{folder} holds no run; make one with: sdeflow train --out {folder}")
    lines = _lines(folder / "metrics.jsonl")
    return {
        "config": asdict(_read_config(folder / "config.json")),
        "last": json.loads(lines[-1]) if lines else None,
        "finished": (folder / "field.safetensors").is_file(),
        "files": sorted(f.name for f in folder.iterdir()),
    }


def clear(folder: Path, config: Config) -> None:
    """Remove the files of a run of other settings, so that this one can start in its place."""
    folder = Path(folder)
    known = folder / "config.json"
    if known.is_file() and _read_config(known) != config:
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
        if not 0 <= label < len(whole.data.classes):
            raise ValueError(f"label must be 0 to {len(whole.data.classes) - 1}, got {label}")
        field = whole.field.given(label)
    law = reverse(field, eta)
    path = solver.solve(law, whole.process.prior(n, 2, seed), save, progress=progress)
    x = whole.outward(path.x)
    buffer = io.BytesIO()
    made = json.dumps(provenance(seed))
    np.savez(buffer, t=path.t.numpy(), x=x.numpy(), made=np.array(made))
    write_bytes(folder / "cloud.npz", buffer.getvalue())
    rows = "\n".join(f"{a:.7g},{b:.7g}" for a, b in x[-1].tolist())
    write_text(folder / "cloud.csv", f"x,y\n{rows}\n")
    return folder / "cloud.csv"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _read_config(path: Path) -> Config:
    try:
        found = json.loads(path.read_text())
        found.pop("made", None)
        return Config(**found)
    except (ValueError, TypeError, AttributeError) as error:
        raise SdeflowError(f"{path} is damaged ({error})") from None
