"""Train a field in a folder, continue an interrupted training, and sample.

    config.json                          the settings, and a digest of the data file
    checkpoint.safetensors               the training so far (`.previous`: the one before)
    field.safetensors                    the trained field, in standard units (`problem`)
    metrics.jsonl                        step and loss
    cloud.npz, cloud.csv, cloud.png      the last samples, in the data's own units (png: pictures)
    report.json, report.md, figure.png   (or .pdf, .svg) written by `demo`
    check.json, check.md, check.png      (or .pdf, .svg) written by `verify`
    page.html                            written by `view`

A run may be killed at any moment: every file is written whole or not at all. `fit` continues a run
of the same settings to the same bits, and trains longer for more steps.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_file, check_int, check_kind
from sdeflow.distributions.units import Units
from sdeflow.experiment import pictures
from sdeflow.experiment.config import Config
from sdeflow.experiment.folder import (
    FILES,
    RESULTS,
    check_folder,
    check_no_words,
    check_run,
    check_same_data,
    check_same_run,
    command,
    data_digest,
    read_log,
    remove,
    sealed,
    unsealed,
    write_cloud,
)  # fmt: skip
from sdeflow.experiment.problem import Problem, StandardField, problem, recipe, weighting
from sdeflow.experiment.samplers import (
    CALLS,
    MULTISTEP,
    Motion,
    Solver,
    choose_solver,
    steps_file,
)
from sdeflow.fields.field import Field
from sdeflow.provenance import alone, check_writable, provenance, write_text
from sdeflow.sdes.calibration import calibrate as fit_steps
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.multistep import multistep
from sdeflow.sdes.plan import FittedPlan
from sdeflow.training import checkpoint
from sdeflow.training.fit import Training

# --------------------------------------------------------------------------------------- training


def fit(config: Config, folder: Path, *, progress: bool = False) -> Problem:
    """Train the run in `folder`, or continue its training, and write its field there.

    A finished run with fewer steps is trained further; its samples and reports are removed.

    Raises:
        SdeflowError: the folder holds another run, or one on other data; a file is damaged;
            another process trains in the folder.
        ValueError: the folder is a file.
    """
    folder = check_file(folder, "folder")
    check_folder(folder)
    check_no_words(folder)
    check_kind(config, Config, "config")
    built, sizes = problem(config), config.sizes
    known, digest, longer = folder / "config.json", data_digest(config), False
    if known.exists():
        there, digest, units = _read_config(known)
        longer = there.sizes.steps < sizes.steps
        check_same_run(folder, there, replace(config, steps=there.steps) if longer else config)
        check_same_data(config, digest)
        built = _build(config, units)
    log = folder / "metrics.jsonl"
    lines = read_log(log)
    standard = built.standard
    training = Training(
        built.field,
        standard.sample_labelled if config.conditional else standard.sample,
        sizes.steps,
        config.seed,
        config=recipe(config),
        weighting=weighting(config),
        checkpoint=folder / "checkpoint.safetensors",
        every=max(1, min(500, sizes.steps // 10)),
    )
    about = {"digest": digest, "units": built.units.plain(), "made": provenance(config.seed)}
    with alone(folder):
        if longer:
            remove(folder, RESULTS)
        write_text(known, sealed({**asdict(config), **about}))
        _train(training, log, [line for line in lines if line["step"] <= training.step], progress)
        checkpoint.save(built.field, folder / "field.safetensors")
    return built


def _train(training: Training, log: Path, lines: list[dict[str, float]], progress: bool) -> None:
    """Train to the end, and log the mean loss of every hundred steps."""
    total = training.task.steps
    with tqdm(
        total=total, initial=training.step, disable=None if progress else True, unit="step",
        desc="training", leave=False,
    ) as bar:  # fmt: skip
        mean, count = 0.0, 0
        for value in training:
            mean, count = mean + float(value), count + 1
            if training.step % 100 == 0 or training.step == total:
                lines.append({"step": training.step, "loss": mean / count})
                bar.update(training.step - bar.n)
                bar.set_postfix(loss=f"{mean / count:.4f}")
                mean, count = 0.0, 0
                write_text(log, "".join(json.dumps(line) + "\n" for line in lines))
    write_text(log, "".join(json.dumps(line) + "\n" for line in lines))  # also if nothing was left


# --------------------------------------------------------------------------------- the folder


def reopen(folder: Path) -> Problem:
    """Read the problem of a finished run, with its trained network.

    Raises:
        SdeflowError: there is no run, it is not finished, a file is damaged or of another run, or
            the data have changed.
    """
    folder = check_file(folder, "folder")
    check_run(folder)
    config, digest, units = _read_config(folder / "config.json")
    if not (folder / "field.safetensors").is_file():
        raise SdeflowError(
            f"the run in {folder} is not finished; continue with: {command(config, folder)}"
        )
    built = _build(config, units)
    check_same_data(config, digest)
    field, about = checkpoint.load_described(folder / "field.safetensors")
    # Older versions did not write the units of a field, which were always these.
    described = {**about["field"], "units": StandardField.units}
    if about["kind"] != "field" or described != checkpoint.describe(built.field):
        raise SdeflowError(
            f"{folder / 'field.safetensors'} is not of the run that config.json describes; "
            "restore it, or train again"
        )
    return replace(built, field=replace(built.field, network=field.network))


def summary(folder: Path) -> dict:
    """The settings of a run, its last logged loss and its files."""
    folder = check_file(folder, "folder")
    check_run(folder)
    lines = read_log(folder / "metrics.jsonl")
    return {
        "config": asdict(_read_config(folder / "config.json")[0]),
        "last": lines[-1] if lines else None,
        "finished": (folder / "field.safetensors").is_file(),
        "files": sorted(f.name for f in folder.iterdir()),
    }


def clear(folder: Path, config: Config) -> None:
    """Remove the files of a run with other settings or other data; leave every other file."""
    folder = check_file(folder, "folder")
    known = folder / "config.json"
    if known.is_file():
        there, digest, _ = _read_config(known)
        if there != config or digest not in (None, data_digest(config)):
            remove(folder, FILES)


def _read_config(path: Path) -> tuple[Config, str | None, Units | None]:
    """The settings, and if they are known the digest of the data and the units."""
    try:
        found = unsealed(path.read_text())
        found.pop("made", None)
        digest, units = found.pop("digest", None), found.pop("units", None)
        odd = found.keys() ^ {f.name for f in fields(Config)}
        if odd:
            raise ValueError(f"{', '.join(sorted(odd))} missing or unknown in this version")
        return Config(**found), digest, units and Units.from_plain(units)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SdeflowError(f"{path} is damaged ({error}); restore it or train again") from None


def _build(config: Config, units: Units | None) -> Problem:
    """Build the problem of a run; runs of older versions have one unit for all coordinates."""
    built = problem(config, units)
    return built if units else problem(config, built.data.one_number)


# ------------------------------------------------------------------------------------ sampling


def calibrate(
    folder: Path, steps: int, pilot: int = 128, seed: int = 0, label: int | None = None
) -> FittedPlan:
    """Fit `steps` time steps of `multistep` to the field of a run, and keep them in its folder.

    Raises:
        ValueError, TypeError, SdeflowError: those of `reopen` and `sdes.calibrate`.
    """
    folder = Path(folder)
    built = reopen(folder)
    if label is None and built.data.shape is not None and built.config.conditional:
        raise ValueError(
            "pictures are drawn class by class; give the label that the steps are for"
        )
    field = conditioned(built, label)
    file = steps_file(folder, check_int(steps, "steps"), label)
    check_writable(file)
    fitted = fit_steps(field, steps, pilot, seed).fitted
    assert fitted is not None
    write_text(file, sealed(fitted.plain()))
    return fitted


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
    motion: Motion = reverse,
) -> Path:
    """Draw n samples with the field of a run, write them, and return the csv file.

    Args:
        folder: the folder of the run.
        n: number of samples.
        solver: the solver, see `choose_solver`.
        eta: noise of the sampler: 0 for the flow, 1 for the reverse SDE.
        seed: seed of all random numbers.
        label: class to sample.
        save: number of states to keep.
        progress: whether to show a progress bar.
        motion: (field, eta) -> the SDE to solve, see `choose_motion`.

    Raises:
        ValueError, SdeflowError: those of `reopen` and of the solvers; a label that the run does
            not have.
        OSError: the files cannot be written.
    """
    folder = check_file(folder, "folder")
    built = reopen(folder)
    check_writable(folder / "cloud.csv")
    t, x = draw(
        built, n, solver, eta,
        seed=seed, label=label, save=save, progress=progress, motion=motion,
    )  # fmt: skip
    write_cloud(folder, t, x, seed)
    if built.data.shape is not None:
        pictures.sheet(x[-1], built.data, folder / "cloud.png", provenance(seed))
    return folder / "cloud.csv"


def draw(
    built: Problem,
    n: int,
    solver: Solver | None = None,
    eta: float = 0.0,
    *,
    seed: int = 0,
    label: int | None = None,
    save: int = 1,
    progress: bool = False,
    motion: Motion = reverse,
) -> tuple[Tensor, Tensor]:
    """Draw n samples in the data's units: times (T,) and states (T, n, d), of which x[-1] is last.

        t, x = draw(reopen(folder), n=1000)

    The solver is by default `multistep` with 20 steps; arguments and errors are those of `sample`.
    """
    if solver is None:
        solver, motion = choose_solver(MULTISTEP, CALLS, eta, seed), multistep
    sde = motion(asked(built, label, n), eta)
    path = solver.solve(sde, built.process.prior(n, built.dim, seed), save, progress=progress)
    return path.t, built.units.restore(path.x)


def conditioned(built: Problem, label: int | None) -> Field:
    """The field of one class, or of all data without a label."""
    if label is None:
        return built.field
    if not built.config.conditional:
        raise ValueError("this run was trained without classes; leave out label")
    if label not in range(len(built.data.classes)):
        raise ValueError(f"label must be 0 to {len(built.data.classes) - 1}, got {label}")
    return built.field.given(check_int(label, "label", 0))


def asked(built: Problem, label: int | None, n: int) -> Field:
    """The field of n particles: of one class; for pictures without a label, of each class in turn.

    A network draws poor pictures of no class.
    """
    if label is None and built.data.shape is not None and built.config.conditional:
        return built.field.given(torch.arange(check_int(n, "n")) % len(built.data.classes))
    return conditioned(built, label)
