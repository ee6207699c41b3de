"""Units of work that a fault interrupts, each a function of an empty folder.

`UNITS` is the table of the campaign: a new verb is one entry.
"""

import hashlib
import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import sdeflow as sf
from benchmarks import __main__ as benchmarks
from benchmarks.published import command as published
from benchmarks.published.protocol import Protocol
from sdeflow.command import cli
from sdeflow.experiment import demo, run, unclip, verify, view
from sdeflow.images.unclip_training import UnCLIPConfig, train_unclip
from sdeflow.provenance import commit
from sdeflow.random_streams import BLOCK
from sdeflow.simulation import Histogram, Moments, parts
from sdeflow.storage import read_object
from sdeflow.training.tensor_file import latest

commit()  # once, in the server
LOADED = (demo, run, verify, view, unclip, sf.plot, sf.images)
"""What is imported before the forks."""

NETWORK = ("--steps", "300", "--batch", "16", "--width", "8", "--depth", "1")
TRAIN = ("train", "--data", "ring", *NETWORK, "--out", "r")


@dataclass(frozen=True)
class Unit:
    """Work in the current folder, its result as digests, and how much of it is done.

    `done` names what must not be lost by a kill, `kills` how many the campaign makes; `before` is
    work that is there already.
    """

    work: Callable[[], None]
    results: Callable[[Path], Mapping[str, str]]
    done: Callable[[Path], set[object]]
    kills: int
    before: Callable[[], None] | None = None


def sdeflow(*args: str) -> None:
    """The command, with the words that a shell would give."""
    sys.argv = ["sdeflow", *args]
    cli.main(list(args))


def benchmark(*args: str) -> None:
    """A command of `python -m benchmarks`."""
    sys.argv = ["benchmarks", *args]
    benchmarks.main()


def tiny_published() -> None:
    """The published comparison with tiny networks, into the current folder."""
    published.FILE = Path("published.jsonl").absolute()
    published.QUICK = Protocol(points=64, epochs=10, batch=64)
    sys.argv = ["benchmarks", "published", "--quick"]
    published.main(quick=True)


def tiny_unclip() -> None:
    """An unCLIP model that has learned nothing."""
    train_unclip(UnCLIPConfig(3, 40, 40, 100, 4, 8, 16), "r")


def simulated() -> None:
    """A cloud of 24 blocks in a file, its histogram and its moments."""
    parts.EVERY = 0.0  # the state is written after every block
    found = sf.simulate(
        sf.sdes.ornstein_uhlenbeck([[1.0, 0.3], [0.0, 2.0]], 1.0),
        sf.datasets.two_moons().distribution, 24 * BLOCK,
        [Histogram(sf.Grid(-4.0, 4.0, (16, 16))), Moments()], solver=sf.SDESolver("heun", steps=8),
        chunk=BLOCK, out="cloud.zarr",
    )  # fmt: skip
    np.savez("result.npz", mass=found[0].mass, mean=found[1].mean, central=found[1].central)


def simulated_run() -> None:
    """24 blocks of particles of a run, by the command."""
    parts.EVERY = 0.0
    few = ("--particles", str(24 * BLOCK), "--chunk", str(BLOCK), "--cells", "16")
    sdeflow("simulate", "r", *few)


# ------------------------------------------------------------------------ results, and progress

VOLATILE = re.compile(r'"(?:[a-z_ ]*seconds|[a-z_ ]*cpu s[a-z_ ]*|when|load|run)": [^,}\]]+')
TIMES = re.compile(r"(\d+\.\d\d \||Time: .*)")  # columns and a line of a report


def digests(folder: Path, *names: str) -> dict[str, str]:
    """A digest of each file; times and the load of the machine are left out."""
    found = {}
    for name in names:
        data = (folder / name).read_bytes()
        if name.endswith((".json", ".jsonl")):
            data = VOLATILE.sub("", data.decode()).encode()
        if name.endswith(".md"):
            data = TIMES.sub("", data.decode()).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


def arrays(file: Path) -> dict[str, str]:
    """A digest of each array of numbers in an archive."""
    with np.load(file) as stored:
        return {
            name: hashlib.sha256(stored[name].tobytes()).hexdigest()
            for name in stored.files
            if stored[name].dtype.kind == "f"
        }


def rows(file: str, *key: str) -> Callable[[Path], dict[str, str]]:
    """The rows of a file of JSON lines, by their key; a row that is there twice is an error."""

    def read(folder: Path) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in (folder / file).read_text().splitlines():
            row = _row(line)
            if row is not None and set(key) <= row.keys():
                name = " ".join(str(row[part]) for part in key)
                assert name not in found, f"{name} was measured twice"
                row.pop("made", None)
                found[name] = VOLATILE.sub("", json.dumps(row))
        return found

    return read


def _row(line: str) -> dict | None:
    try:
        return json.loads(line)
    except ValueError:
        return None  # the line that a kill has torn


def known(read: Callable[[Path], dict[str, str]]) -> Callable[[Path], set[object]]:
    """The rows that are there; none without a file."""

    def done(folder: Path) -> set[object]:
        try:
            return set(read(folder).items())
        except FileNotFoundError:
            return set()

    return done


def steps(*files: str) -> Callable[[Path], set[object]]:
    """The steps of each training that its checkpoint holds, in tens."""

    def done(folder: Path) -> set[object]:
        found: set[object] = set()
        for name in files:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                there = latest(folder / name)
            step = 0 if there is None else int(there[1]["step"])
            found |= {(name, k) for k in range(0, step + 1, 10)}
        return found

    return done


def blocks(where: str) -> Callable[[Path], set[object]]:
    """The blocks of particles of which the state is written."""

    def done(folder: Path) -> set[object]:
        found: set[object] = set()
        for file in (folder / where / "parts").glob("*.npz"):
            for (level, index), _ in parts.unpacked(read_object(file, parts.KIND)[0]):
                found |= set(range(index << level, (index + 1) << level))
        return found

    return done


def nothing(_: Path) -> set[object]:
    """Work of one unit, which starts anew."""
    return set()


RUN = ("r/field.safetensors", "r/checkpoint.safetensors", "r/config.json")
# Not metrics.jsonl: the first mean of a continued training is that of the steps since it began.
CLOUD = ("r/cloud.csv", "r/cloud.npz")
SIMULATED = ("simulation.json", "density.npz", "density.png")
MODEL = tuple(f"r/{name}.safetensors" for name in ("clip", "prior", "decoder", "linear"))
PARTS = tuple(f"r/training/{name}.safetensors" for name in ("prior", "decoder"))
CLAIMS = rows("r/claims.jsonl", "id")
SOLVERS = rows("rows.jsonl", "problem", "calls", "solver", "grid")
PUBLISHED = rows("published.jsonl", "task", "method", "seed")
TRAINED = partial(sdeflow, *TRAIN)


def files(*names: str) -> Callable[[Path], dict[str, str]]:
    """The digests of these files."""
    return lambda folder: digests(folder, *names)


UNITS = {
    "train": Unit(TRAINED, files(*RUN), steps(RUN[1]), 60),
    "demo": Unit(
        partial(sdeflow, "demo", *TRAIN[1:], "--n", "20"),
        files(*RUN, *CLOUD, "r/report.json", "r/check.json", "r/check.png", "r/check.md"),
        steps(RUN[1]), 10,
    ),
    "sample": Unit(
        partial(sdeflow, "sample", "r", "--n", "500"), files(*CLOUD), nothing, 12, TRAINED
    ),
    "calibrate": Unit(
        partial(sdeflow, "calibrate", "r", "--steps", "4", "--pilot", "32"),
        files("r/steps-4.json"), nothing, 12, TRAINED,
    ),
    "check": Unit(
        partial(sdeflow, "check", "r", "--n", "1000", "--cells", "32", "--steps", "40"),
        files("r/check.json", "r/check.md", "r/check.png"), nothing, 12, TRAINED,
    ),
    "view": Unit(
        partial(sdeflow, "view", "r", "--n", "20", "--frames", "10", "--no-density"),
        files("r/page.html"), nothing, 12, TRAINED,
    ),
    "unclip": Unit(tiny_unclip, files(*MODEL, *PARTS), steps(*PARTS), 16),
    "claims": Unit(
        partial(benchmark, "claims", "M1", "F4", "F7", "S14", "M3", "C3", "--out", "r"),
        CLAIMS, known(CLAIMS), 40,
    ),
    "solvers": Unit(
        partial(
            benchmark, "solvers", "--quick", "--part", "endpoint", "--problem", "two modes",
            "--calls", "4", "--out", "rows.jsonl",
        ),
        SOLVERS, known(SOLVERS), 40,
    ),
    "simulate": Unit(
        simulated,
        lambda folder: {
            **arrays(folder / "result.npz"), "cloud": sf.open_cloud(folder / "cloud.zarr").digest,
        },
        blocks("cloud.zarr"), 60,
    ),
    "simulated run": Unit(
        simulated_run, files(*(f"r/simulation/{name}" for name in SIMULATED)),
        blocks("r/simulation"), 12, TRAINED,
    ),
    "published": Unit(tiny_published, PUBLISHED, known(PUBLISHED), 40),
}  # fmt: skip
"""The campaign."""
COMMANDS = [name for name in UNITS if name not in ("unclip", "simulate", "published")]
"""The units that are commands, which say why they end; the others are functions of Python."""
