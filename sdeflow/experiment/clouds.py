"""Write the cloud of a run, with its columns and classes, and never over another in silence."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdeflow._validation import SdeflowError, check_file
from sdeflow.experiment.classes import Class, Guidance
from sdeflow.experiment.problem import Problem
from sdeflow.experiment.samplers import Motion, Solver
from sdeflow.provenance import part_of, provenance, write_files


def cloud_files(folder: Path, out: Path | None, data: str) -> tuple[Path, Path]:
    """The files of a cloud, of its last state (csv) and of all states (npz)."""
    if out is None:
        return folder / "cloud.csv", folder / "cloud.npz"
    out = check_file(out, "out")
    if out.suffix.lower() not in (".csv", ".npz"):
        raise ValueError(f"out must end in .csv or .npz, got {out}; both files are written")
    files = out.with_suffix(".csv"), out.with_suffix(".npz")
    for file in files:
        if file.exists() and Path(data).exists() and file.samefile(data):
            raise ValueError(
                f"{file} holds the data of this run; choose another file for the cloud"
            )
    return files


def cloud_settings(
    n: int, solver: Solver, eta: float, seed: int, label: Class, guidance: Guidance, save: int,
    motion: Motion,
) -> dict[str, object]:  # fmt: skip
    """The settings of a cloud, by which another of the same settings is known."""
    return {
        "n": n, "solver": repr(solver), "motion": getattr(motion, "__name__", ""), "eta": eta,
        "seed": seed, "class": label, "save": save, **asdict(guidance),
    }  # fmt: skip


def check_free(
    files: Sequence[Path], settings: Mapping[str, object], overwrite: bool,
    cure: str = "write to another file with --out FILE, or over it with --overwrite",
) -> None:  # fmt: skip
    """Refuse to write over a cloud of other settings, unless it may be overwritten."""
    there = [file for file in files if file.is_file()]
    if not there or overwrite:
        return
    found, plain = made_of(files[1]).get("settings", {}), json.loads(json.dumps(dict(settings)))
    if found and all(found.get(k) == v for k, v in plain.items()):
        return
    raise SdeflowError(
        f"{there[0]} is there already, and was not drawn with these settings; {cure}"
    )


def made_of(file: Path) -> dict:
    """The provenance and the settings of the cloud in a file; empty if they are not known."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            return dict(json.loads(str(kept["made"])))
    except Exception:  # on bad bytes numpy, zipfile and zlib raise a dozen types
        return {}


def write_cloud(
    files: tuple[Path, Path], built: Problem, t: Tensor, x: Tensor, classes: Sequence[str] | None,
    settings: Mapping[str, object], seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Write states x (T, n, d) at times t (T,): all of them as npz, the last one as csv.

    Processes take turns, so that none writes over the cloud of one that was faster.
    """
    made, axes = json.dumps({**provenance(seed), "settings": dict(settings)}), built.data.axes
    arrays = {"t": t.numpy(), "x": x.numpy(), "made": np.array(made), "columns": np.array(axes)}
    digits = 15 if x.dtype == torch.float64 else 7
    points = ([f"{v:.{digits}g}" for v in row] for row in x[-1].tolist())
    rows: Iterable[list[str]] = chain([[*axes]], points)
    if classes is not None:
        arrays["labels"] = np.array(classes)
        column = [_label_name(built), *classes]
        rows = ([*row, one] for row, one in zip(rows, column, strict=True))
    buffer, text = io.BytesIO(), io.StringIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    csv.writer(text, lineterminator="\n").writerows(rows)
    with part_of(files[0].with_suffix("")) as turn:
        check_free(files, settings, overwrite)
        write_files({files[1]: buffer.getvalue(), files[0]: text.getvalue().encode()})
        turn.unlink(missing_ok=True)


def _label_name(built: Problem) -> str:
    """The name of the column of classes in a cloud's file: that of the data's file, or "class"."""
    names = ("class", "label", "kind")
    return built.config.label or next(name for name in names if name not in built.data.axes)
