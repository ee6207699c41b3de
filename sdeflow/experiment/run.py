"""Train a field in a folder, go on with it, and sample from it.

    config.json                          what was asked for, and a digest of the data file
    checkpoint.safetensors               training so far (and `.previous`, the one before)
    field.safetensors                    the trained field
    metrics.jsonl                        step and loss
    cloud.npz, cloud.csv                 the last sampled cloud, in the data's own units
    report.json, report.md, figure.png   written by `demo`
    check.json, check.md, check.png      written by `verify`

`fit` in a folder of another config is refused; in a folder of the same config it goes on where
training stopped, to the same bits. A data file that has changed since is refused. Every file is
written whole or not at all and carries its provenance, so a run may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_int
from sdeflow.distributions import datasets
from sdeflow.experiment.config import Config
from sdeflow.experiment.problem import Problem, problem
from sdeflow.fields.field import Field
from sdeflow.provenance import provenance, write_files, write_text
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.checks import ADAPTIVE
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver
from sdeflow.training import checkpoint
from sdeflow.training.fit import Training, TrainingConfig
from sdeflow.training.fit import fit as train
from sdeflow.training.loss import prediction_weighting

Solver = SDESolver | ODESolver

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
    "check.json",
    "check.md",
    "check.png",
)


# --------------------------------------------------------------------------------------- training


def fit(config: Config, folder: Path, *, progress: bool = False) -> Problem:
    """Train, or go on with, the run in `folder`, and write its field there.

    Raises:
        SdeflowError: the folder holds another run, or one on other data; a file is damaged.
    """
    folder = Path(folder)
    built = problem(config)
    known, digest = folder / "config.json", _digest(config)
    if known.exists():
        there, digest = _read_config(known)
        if there != config:
            raise SdeflowError(f"{folder} holds another run; choose another folder or remove it")
        _check_same_data(config, digest)
    log = folder / "metrics.jsonl"
    lines = _read_log(log)
    standard = built.standard
    training = train(
        built.field,
        standard.sample_labelled if config.conditional else standard.sample,
        config.steps,
        config.seed,
        config=TrainingConfig(batch=config.batch, rate=config.rate),
        weighting=prediction_weighting(built.field.predicts),
        checkpoint=folder / "checkpoint.safetensors",
        every=max(1, min(500, config.steps // 10)),
    )
    about = {**asdict(config), "digest": digest, "made": provenance(config.seed)}
    write_text(known, json.dumps(about, indent=1))
    _train(training, log, [line for line in lines if line["step"] <= training.step], progress)
    checkpoint.save(built.field, folder / "field.safetensors")
    return built


def _train(training: Training, log: Path, lines: list[dict[str, float]], progress: bool) -> None:
    """Run to the end; log the mean loss of every hundred steps."""
    total = training.task.steps
    with tqdm(
        total=total, initial=training.step, disable=not progress, unit="step", desc="training"
    ) as bar:
        mean, count = 0.0, 0
        for value in training:
            mean, count = mean + float(value), count + 1
            if training.step % 100 == 0 or training.step == total:
                lines.append({"step": training.step, "loss": mean / count})
                bar.update(training.step - bar.n)
                bar.set_postfix(loss=f"{mean / count:.4f}")
                mean, count = 0.0, 0
                write_text(log, "".join(json.dumps(line) + "\n" for line in lines))


# --------------------------------------------------------------------------------- the folder


def reopen(folder: Path) -> Problem:
    """Read the problem of a finished run, with its trained network.

    Raises:
        SdeflowError: no run there, not finished, a damaged file, a field of another run, or data
            that have changed.
    """
    folder = Path(folder)
    _check_run(folder)
    if not (folder / "field.safetensors").is_file():
        raise SdeflowError(f"the run in {folder} is not finished; go on with: sdeflow train")
    config, digest = _read_config(folder / "config.json")
    built = problem(config)
    _check_same_data(config, digest)
    field = checkpoint.load(folder / "field.safetensors")
    if checkpoint.describe(field) != checkpoint.describe(built.field):
        raise SdeflowError(
            f"{folder / 'field.safetensors'} is not of the run that config.json there describes; "
            "restore it or train again"
        )
    return replace(built, field=field)


def summary(folder: Path) -> dict:
    """What a run holds: its config, the last logged loss, its files.

    Raises:
        SdeflowError: no run there, or a damaged file.
    """
    folder = Path(folder)
    _check_run(folder)
    lines = _read_log(folder / "metrics.jsonl")
    return {
        "config": asdict(_read_config(folder / "config.json")[0]),
        "last": lines[-1] if lines else None,
        "finished": (folder / "field.safetensors").is_file(),
        "files": sorted(f.name for f in folder.iterdir()),
    }


def clear(folder: Path, config: Config) -> None:
    """Remove the files of a run with another config or other data; leave every other file.

    Raises:
        SdeflowError: config.json is damaged.
    """
    folder = Path(folder)
    known = folder / "config.json"
    if known.is_file():
        there, digest = _read_config(known)
        if there != config or digest not in (None, _digest(config)):
            for name in FILES:
                (folder / name).unlink(missing_ok=True)


def _check_run(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise SdeflowError(f"{folder} holds no run; make one with: sdeflow train --out {folder}")


def _digest(config: Config) -> str | None:
    """SHA-256 of the data file; None for a data set that has a name."""
    if config.data in datasets.NAMES:
        return None
    return hashlib.sha256(Path(config.data).read_bytes()).hexdigest()


def _check_same_data(config: Config, digest: str | None) -> None:
    """Refuse a file that has changed since; runs of older versions have no digest."""
    if digest not in (None, _digest(config)):
        raise SdeflowError(
            f"{config.data} is not what this run was trained on; restore it, or train again in "
            "another folder"
        )


def _read_log(path: Path) -> list[dict[str, float]]:
    """The logged steps and losses, in order; none if there is no log."""
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


# ------------------------------------------------------------------------------------ sampling


def choose_solver(method: str, steps: int, eta: float, seed: int = 0) -> Solver:
    """torchsde's `method` if eta > 0, torchdiffeq's if eta = 0; adaptive methods need no steps.

    Raises:
        ValueError, TypeError: steps out of range; an unknown method, or one of the other engine.
    """
    check_int(steps, "steps")
    if eta != 0:
        if method in (*ADAPTIVE, "heun2"):
            raise ValueError(f"{method!r} is an ODE method: use it with --eta 0")
        return SDESolver(method, steps, seed=seed)
    if method in ADAPTIVE:
        return ODESolver(method)
    return ODESolver("heun2" if method == "heun" else method, steps)


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
    """Move n particles from the prior to the data and write the cloud; the path of the csv file.

    Raises:
        ValueError, SdeflowError: as `reopen` and the solvers; a label that the run does not have.
    """
    folder = Path(folder)
    built = reopen(folder)
    sde = reverse(_conditioned(built, label), eta)
    path = solver.solve(sde, built.process.prior(n, 2, seed), save, progress=progress)
    _write_cloud(folder, path.t, built.data.restore(path.x), seed)
    return folder / "cloud.csv"


def _conditioned(built: Problem, label: int | None) -> Field:
    """The field, of one class if a label is given."""
    if label is None:
        return built.field
    if not built.config.conditional:
        raise ValueError("this run was trained without classes; leave out label")
    if label not in range(len(built.data.classes)):
        raise ValueError(f"label must be 0 to {len(built.data.classes) - 1}, got {label}")
    return built.field.given(check_int(label, "label", 0))


def _write_cloud(folder: Path, t: Tensor, x: Tensor, seed: int) -> None:
    """t (T,), x (T, n, 2): all states as npz, the last one as csv."""
    buffer = io.BytesIO()
    made = json.dumps(provenance(seed))
    np.savez(buffer, t=t.numpy(), x=x.numpy(), made=np.array(made))
    rows = "\n".join(f"{a:.7g},{b:.7g}" for a, b in x[-1].tolist())
    text = f"x,y\n{rows}\n".encode()
    write_files({folder / "cloud.npz": buffer.getvalue(), folder / "cloud.csv": text})
