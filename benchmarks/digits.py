"""Train on handwritten digits of 8 x 8 pixels, sample by several methods, and judge the samples.

360 samples, 36 of each class, are compared with the 359 held-out digits. For comparison the first
row has the same numbers for 360 real digits, drawn eight times from the 1,438 training digits. An
independent classifier names the class of a sample, and the Frechet distance is that of its 64
features; other distances are in pixels (-1 black to 1 white). "copies" are samples nearer to a
training digit than any held-out digit is. Samples are conditioned on a class, except those of the
exact empirical field, which are the training digits.

A row (seed, method) is appended to results/digits.jsonl as soon as it is known; training continues
from its checkpoint, and a row that the file holds is not measured again.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks import record
from benchmarks.claims import digits as how
from benchmarks.claims.digit_judge import accuracy, confidence, frechet, named
from sdeflow.diagnostics.distances import energy_distance, sliced_wasserstein
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import Stream, random_generator

N = 360
SCALE = 2.0
REAL = "real digits"
FILE = record.RESULTS / "digits.jsonl"
Row = dict[str, object]
Cloud = Callable[[LearnedField, int], Tensor]

METHODS: dict[str, tuple[int, Cloud]] = {
    "DDPM, torchsde": (50, lambda f, seed: how.ddpm(f, N, seed).x[-1]),
    "flow, torchdiffeq": (20, lambda f, seed: how.flow(f, N, seed).x[-1]),
    "multistep, 8": (8, lambda f, seed: how.few_calls(f, N, seed, 8).x[-1]),
    "multistep, 12": (12, lambda f, seed: how.few_calls(f, N, seed, 12).x[-1]),
    "calibrated, guided": (8, lambda f, seed: how.guided_calls(f, N, seed, 8, SCALE)),
    "exact field, DDPM": (50, lambda f, seed: how.ddpm(how.exact(), N, seed).x[-1]),
}
"""The calls of the field, and the samples (n, 64)."""


def numbers(x: Tensor, asked: Tensor | None) -> dict[str, float]:
    """The measures of pictures (n, 64) that should be of the classes (n,)."""
    learned, rest = how.halves()
    near = torch.cdist(x.float(), learned).amin(1)
    real = torch.cdist(rest, learned).amin(1)
    asked_for = {} if asked is None else {"as asked": float((named(x) == asked).double().mean())}
    return asked_for | {
        "confidence": confidence(x),
        "Frechet": frechet(x, rest),
        "energy": energy_distance(x, rest, scale=1.0),
        "sliced W2": sliced_wasserstein(x, rest, scale=1.0),
        "nearest": float(near.median()),
        "nearest / real": float(near.median() / real.median()),
        "copies": float((near < real.min()).double().mean()),
    }


def real_digits(repeats: int = 8) -> Row:
    """The measures of as many real digits: mean and `sd` over draws without replacement."""
    learned, labels = how.halves()[0], how.points(how.digits()).labels
    assert labels is not None
    rng = random_generator(0, Stream.CHOICE)
    found = []
    for _ in range(repeats):
        i = torch.from_numpy(rng.permutation(len(learned))[:N])
        found.append(numbers(learned[i], labels[i]))
    rest = how.held_out()
    unseen = numbers(how.points(rest).points.float(), how.points(rest).labels)
    mean = {k: statistics.fmean(row[k] for row in found) for k in found[0]}
    kept = {
        k: unseen[k] for k in ("as asked", "confidence", "nearest", "nearest / real", "copies")
    }
    spread = {k: statistics.stdev(row[k] for row in found) for k in ("Frechet", "energy")}
    return {**mean, **kept, "sd": spread}


def measured(seed: int, steps: int, known: dict[tuple[int, str], Row]) -> list[Row]:
    """Measure the rows of one seed, and append new ones to the file."""
    rows, field = [], None
    for name, (calls, draw) in METHODS.items():
        row = known.get((seed, name))
        if row is None:
            if field is None:
                field, spent = trained(seed, steps)
            start = time.process_time()
            x = draw(field, seed)
            seconds = time.process_time() - start
            labels = None if name.startswith("exact") else how.asked(N)
            row = {"seed": seed, "method": name, "calls": calls, "training steps": steps,
                   "training cpu s": spent, "cpu s": seconds, **numbers(x, labels)}  # fmt: skip
            record.append("digits", [row])
        rows.append(row)
    return rows


def trained(seed: int, steps: int) -> tuple[LearnedField, float]:
    """Train the field, or continue from its checkpoint; also return the CPU seconds spent now."""
    kept = record.RESULTS / "fields" / f"digits-{steps}-{seed}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    field = how.digit_field(seed, steps, kept)
    return field, time.process_time() - start


def stored(steps: int) -> dict[tuple[int, str], Row]:
    """The rows in the file for this number of training steps, by seed and method."""
    rows = [row for row in record.stored(FILE) if row.get("training steps") == steps]
    return {(int(str(row["seed"])), str(row["method"])): row for row in rows}


def main(quick: bool) -> None:
    """Measure three seeds; --quick: one seed, a hundred training steps, nothing is kept."""
    torch.set_num_threads(1)
    steps = 100 if quick else how.STEPS
    print(f"share of held-out digits that the classifier names: {accuracy():.4f}", file=sys.stderr)
    real = {"seed": "", "method": REAL, **real_digits()}
    rows = [real]
    for seed in range(1 if quick else 3):
        rows += measured(seed, steps, stored(steps))
        print(record.table(_shown(rows)), flush=True)


def _shown(rows: list[Row]) -> list[Row]:
    """The columns of the table."""
    columns = (
        "seed", "method", "calls", "as asked", "confidence", "Frechet", "energy", "sliced W2",
        "nearest", "nearest / real", "copies", "cpu s",
    )  # fmt: skip
    return [{name: row.get(name, "") for name in columns} for row in rows]
