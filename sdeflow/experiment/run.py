"""Train a field in a folder, continue an interrupted training, and sample.

    config.json                          the settings, and a digest of the data file
    checkpoint.safetensors               the training so far (`.previous`: the one before)
    field.safetensors                    the trained field, in standard units (`problem`)
    metrics.jsonl                        step and loss
    cloud.npz, cloud.csv, cloud.png      samples, in the data's own units (png: pictures)
    report.json, report.md, figure.png   (or .pdf, .svg) written by `demo`
    check.json, check.md, check.png      (or .pdf, .svg) written by `verify`
    page.html                            written by `view`

A run may be killed at any moment: every file is written whole or not at all. `fit` continues a run
of the same settings to the same bits, and trains longer for more steps.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from sdeflow._validation import SdeflowError, check_device, check_file, check_int
from sdeflow.experiment import pictures
from sdeflow.experiment.classes import (
    NONE,
    Class,
    Guidance,
    conditioned,
    field_of,
    labels_of,
    names_of,
)
from sdeflow.experiment.clouds import check_free, cloud_files, cloud_settings, write_cloud
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
)  # fmt: skip
from sdeflow.experiment.problem import ALL, Problem, StandardField, problem, recipe, weighting
from sdeflow.experiment.samplers import (
    CALLS,
    MULTISTEP,
    Motion,
    Solver,
    choose_solver,
    steps_file,
)
from sdeflow.experiment.settings import read_settings, rebuilt
from sdeflow.provenance import alone, check_writable, provenance, write_text
from sdeflow.sdes.calibration import calibrate as fit_steps
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.multistep import multistep
from sdeflow.sdes.plan import FittedPlan
from sdeflow.sdes.sde import SDE
from sdeflow.training import checkpoint
from sdeflow.training.fit import Training, uncut

# --------------------------------------------------------------------------------------- training


def fit(
    config: Config, folder: Path, *, progress: bool = False, device: torch.device | str = "cpu"
) -> Problem:
    """Train the run in `folder`, or continue its training, and write its field there.

    A finished run with fewer steps is trained further; its samples and reports are removed. The
    network lies on `device`, which is no setting of the run: any device continues it. In a
    torchrun job the ranks share the training, and rank 0 writes the folder.

    Raises:
        SdeflowError: the folder holds another run, or one on other data; a file is damaged;
            another process trains in the folder.
        ValueError: the folder is a file.
    """
    folder, device = check_file(folder, "folder"), check_device(device)
    check_folder(folder)
    check_no_words(folder)
    built = problem(config)
    known, digest, longer = folder / "config.json", data_digest(config), False
    if known.exists():
        there, digest, units = read_settings(known)
        longer = there.sizes.steps < config.sizes.steps
        check_same_run(folder, there, replace(config, steps=there.steps) if longer else config)
        check_same_data(config, digest)
        built = rebuilt(config, units)
    built.field.network.to(device)
    log = folder / "metrics.jsonl"
    lines = read_log(log)
    training = _training(built, config, folder)
    if not training.layout.is_writer:
        deque(training, maxlen=0)
        return built
    made = provenance(config.seed, None, built.device)
    about = {"digest": digest, "units": built.units.plain(), "made": made}
    with alone(folder):
        if longer:
            remove(folder, RESULTS)
        write_text(known, sealed({**asdict(config), **about}))
        _train(training, log, [line for line in lines if line["step"] <= training.step], progress)
        checkpoint.save(built.field, folder / "field.safetensors")
    return built


def _training(built: Problem, config: Config, folder: Path) -> Training:
    sizes = config.sizes
    return Training(
        built.field,
        built.standard.sample_labelled if config.conditional else built.standard.sample,
        sizes.steps,
        config.seed,
        config=recipe(config),
        weighting=weighting(config),
        checkpoint=folder / "checkpoint.safetensors",
        every=max(1, min(500, sizes.steps // 10)),
        every_seconds=5.0,  # the files are small
    )


def _train(training: Training, log: Path, lines: list[dict[str, float]], progress: bool) -> None:
    """Train to the end, and log the mean loss of every hundred steps."""
    total = training.task.steps
    with tqdm(
        total=total, initial=training.step, disable=None if progress else True, unit="step",
        desc="training", leave=False,
    ) as bar:  # fmt: skip
        mean, count = 0.0, 0
        for value in uncut(training):
            mean, count = mean + float(value), count + 1
            if training.step % 100 == 0 or training.step == total:
                lines.append({"step": training.step, "loss": mean / count})
                bar.update(training.step - bar.n)
                bar.set_postfix(loss=f"{mean / count:.4f}")
                mean, count = 0.0, 0
                write_text(log, "".join(json.dumps(line) + "\n" for line in lines))
    write_text(log, "".join(json.dumps(line) + "\n" for line in lines))  # also if nothing was left


# --------------------------------------------------------------------------------- the folder


def reopen(folder: Path, device: torch.device | str = "cpu") -> Problem:
    """Read the problem of a finished run, with its trained network on `device`.

    Raises:
        SdeflowError: there is no run, it is not finished, a file is damaged or of another run, or
            the data have changed.
    """
    folder, device = check_file(folder, "folder"), check_device(device)
    check_run(folder)
    config, digest, units = read_settings(folder / "config.json")
    if not (folder / "field.safetensors").is_file():
        raise SdeflowError(
            f"the run in {folder} is not finished; continue with: {command(config, folder)}"
        )
    built = rebuilt(config, units)
    check_same_data(config, digest)
    field, about = checkpoint.load_described(folder / "field.safetensors")
    # Older versions did not write the units of a field, which were always these.
    described = {**about["field"], "units": StandardField.units}
    if about["kind"] != "field" or described != checkpoint.describe(built.field):
        raise SdeflowError(
            f"{folder / 'field.safetensors'} is not of the run that config.json describes; "
            "restore it, or train again"
        )
    return replace(built, field=replace(built.field, network=field.network.to(device)))


def summary(folder: Path) -> dict:
    """The settings of a run, its last logged loss and its files."""
    folder = check_file(folder, "folder")
    check_run(folder)
    lines = read_log(folder / "metrics.jsonl")
    return {
        "config": asdict(read_settings(folder / "config.json")[0]),
        "last": lines[-1] if lines else None,
        "finished": (folder / "field.safetensors").is_file(),
        "files": sorted(f.name for f in folder.iterdir()),
    }


def clear(folder: Path, config: Config) -> None:
    """Remove the files of a run with other settings or other data; leave every other file."""
    folder = check_file(folder, "folder")
    known = folder / "config.json"
    if known.is_file():
        there, digest, _ = read_settings(known)
        if there != config or digest not in (None, data_digest(config)):
            remove(folder, FILES)


# ------------------------------------------------------------------------------------ sampling


def calibrate(
    folder: Path, steps: int, pilot: int = 128, seed: int = 0, label: Class = None,
    device: torch.device | str = "cpu",
) -> FittedPlan:  # fmt: skip
    """Fit `steps` time steps of `multistep` to the field of a run, and keep them in its folder.

    Errors are those of `reopen` and `sdes.calibrate`.
    """
    built = reopen(folder, device)
    if label == ALL or (label is None and built.data.shape is not None and built.classes):
        raise ValueError("steps are fitted to one class or to the whole cloud; name a class")
    field = conditioned(built, label)
    which = None if label is None else built.label(label)
    file = steps_file(folder, check_int(steps, "steps"), which)
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
    label: Class = None,
    guidance: Guidance = NONE,
    save: int = 2,
    progress: bool = False,
    motion: Motion = reverse,
    device: torch.device | str = "cpu",
    out: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Draw n samples with the field of a run, write them, and return the csv file.

    The files carry the names of the columns, and a column with the class of each particle.

    Args:
        solver: see `choose_solver`.
        eta: noise of the sampler: 0 for the flow, 1 for the reverse SDE.
        label: name of the class to sample, "all" for each particle of a class of its own, drawn
            with the shares of the data; by default the field of no class.
        save: number of states to keep.
        motion: (field, eta) -> the SDE to solve, see `choose_motion`.
        device: where network and particles lie.
        out: the file (.csv or .npz, both are written), by default cloud.csv in the folder.
        overwrite: write over a cloud of other settings, which is refused otherwise.

    Other errors are those of `reopen` and of the solvers.
    """
    folder = check_file(folder, "folder")
    built = reopen(folder, device)
    files = cloud_files(folder, out, built.config.data)
    labels = labels_of(built, label, n, seed, guidance.scale)
    sde = motion(field_of(built, labels, guidance), eta)
    settings = cloud_settings(n, solver, eta, seed, label, guidance, save, motion)
    check_free(files, settings, overwrite)
    check_writable(files[0])
    t, x = _drawn(built, sde, n, solver, seed, save, progress)
    write_cloud(files, built, t, x, names_of(built, labels, n), settings, seed, overwrite)
    if built.data.shape is not None:
        pictures.sheet(x[-1], built.data, files[0].with_suffix(".png"), provenance(seed))
    return files[0] if out is None else Path(out)


def draw(
    built: Problem,
    n: int,
    solver: Solver | None = None,
    eta: float = 0.0,
    *,
    seed: int = 0,
    label: Class = None,
    guidance: Guidance = NONE,
    save: int = 1,
    progress: bool = False,
    motion: Motion = reverse,
) -> tuple[Tensor, Tensor]:
    """Draw n samples in the data's units: times (T,) and states (T, n, d), of which x[-1] is last.

    Network and particles lie on the device of the problem, the result on the CPU.

        t, x = draw(reopen(folder), n=1000)

    The solver is by default `multistep` with 20 steps; arguments and errors are those of `sample`.
    """
    if solver is None:
        solver, motion = choose_solver(MULTISTEP, CALLS, eta, seed), multistep
    field = field_of(built, labels_of(built, label, n, seed, guidance.scale), guidance)
    return _drawn(built, motion(field, eta), n, solver, seed, save, progress)


def _drawn(
    built: Problem, sde: SDE, n: int, solver: Solver, seed: int, save: int, progress: bool
) -> tuple[Tensor, Tensor]:
    x = built.process.prior(n, built.dim, seed, device=built.device)
    path = solver.solve(sde, x, save, progress=progress)
    return path.t, built.units.restore(path.x.cpu())
