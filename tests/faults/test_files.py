"""Files of every kind, damaged byte by byte: their content, or a refusal in one sentence.

A file with a checksum is refused as soon as a bit of it has changed. Of a file without one, such
as the points of a user, what is read must be usable: finite points, a density of total mass one.
"""

import io
import json
import math
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path as FilePath

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

import sdeflow as sf
from benchmarks import record
from sdeflow.distributions.files import from_file
from sdeflow.experiment import folder as run_folder
from sdeflow.experiment import run, samplers
from sdeflow.experiment.config import Config
from sdeflow.provenance import picture_provenance
from sdeflow.storage import provenance_of
from tests import test_mistakes as m
from tests.faults.damage import Damage, damaged, damages
from tests.refusals import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
POINTS = np.random.default_rng(0).normal(size=(12, 2)) * 3
Read = Callable[[FilePath], object]
DAMAGED = 800
FEW = 150


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def grey(mode: str, size: int = 9) -> Image.Image:
    levels = np.arange(size * size, dtype=np.uint8).reshape(size, size) * 3
    return Image.fromarray(levels).convert(mode)


POINTS3 = np.c_[POINTS, np.arange(12) % 3]
DATA = {
    "a.csv": "\n".join(f"{x:.6g},{y:.6g}" for x, y in POINTS).encode(),
    "b.csv": ("x;y;label\n" + "\n".join(f"{x};{y};{k:.0f}" for x, y, k in POINTS3)).encode(),
    "a.txt": ("# made by hand\n" + "\n".join(f"{x} {y}" for x, y in POINTS)).encode("utf-16"),
    "a.npy": saved(lambda to: np.save(to, POINTS)),
    "b.npy": saved(lambda to: np.save(to, np.asfortranarray(POINTS3.astype(">f4")))),
    "a.npz": saved(lambda to: np.savez(to, x=POINTS, labels=np.arange(12) % 3)),
    "b.npz": saved(lambda to: np.savez_compressed(to, points=POINTS)),
    "a.png": saved(lambda to: grey("L").save(to, "PNG")),
    "b.png": saved(lambda to: grey("RGBA").save(to, "PNG")),
    "c.png": saved(lambda to: grey("P").save(to, "PNG")),
    "a.jpg": saved(lambda to: grey("RGB").save(to, "JPEG")),
    "a.gif": saved(lambda to: grey("P").save(to, "GIF")),
    "a.bmp": saved(lambda to: grey("RGB").save(to, "BMP")),
    "a.webp": saved(lambda to: grey("RGB").save(to, "WEBP")),
}
"""Files of points and pictures, as a user has them."""


def outcome(read: Read, file: FilePath) -> tuple[object, str]:
    """What is read, and what is wrong with a refusal."""
    value, error = m.outcome(lambda: read(file))
    return value, "" if error is None else faults(error)


def drive(
    read: Read, data: bytes, file: FilePath, judge: Callable[[object, bytes], None], cases: int
) -> Counter[str]:
    """Read the file after each of many damages."""
    count = Counter[str]()

    @settings(max_examples=cases, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(damages())
    def each(how: list[Damage]) -> None:
        changed = damaged(data, how)
        file.write_bytes(changed)
        value, fault = outcome(read, file)
        assert not fault, f"{how}: {fault}"
        count["cases"] += 1
        count["refused" if value is None else "read"] += 1
        if value is not None:
            judge(value, changed)

    each()
    return count


@pytest.mark.parametrize("name", DATA)
def test_damaged_data_are_read_or_refused(
    name: str, tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    def judge(value: object, _: bytes) -> None:
        assert isinstance(value, sf.distributions.Dataset)
        x = value.sample(50, 0)
        assert bool(torch.isfinite(x).all())
        assert math.isfinite(float(value.std))
        assert float(value.std) > 0

    tally(f"damaged {name}", drive(from_file, DATA[name], tmp_path / name, judge, DAMAGED))


# ------------------------------------------------------------------------- files with a checksum


def whole_or_refused(data: bytes) -> Callable[[object, bytes], None]:
    """A value is read from a changed file only if the change is none to the content."""

    def judge(value: object, changed: bytes) -> None:
        assert changed == data or value == "same", "a changed file was read"

    return judge


def same(found: object, wanted: object) -> object:
    """ "same", or what was found."""
    return "same" if repr(found) == repr(wanted) and equal(found, wanted) else found


def equal(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, sf.Density) and isinstance(b, sf.Density):
        return torch.equal(a.mass, b.mass)
    if isinstance(a, sf.solvers.Path) and isinstance(b, sf.solvers.Path):
        return torch.equal(a.x, b.x) and torch.equal(a.t, b.t)
    if isinstance(a, sf.fokker_planck.DensityPath) and isinstance(b, sf.fokker_planck.DensityPath):
        return all(torch.equal(p.mass, q.mass) for p, q in zip(a, b, strict=True))
    if isinstance(a, sf.LearnedField) and isinstance(b, sf.LearnedField):
        own, other = a.network.state_dict(), b.network.state_dict()
        return own.keys() == other.keys() and all(torch.equal(own[k], other[k]) for k in own)
    return a == b


def kept(things: dict[str, object], folder: FilePath) -> dict[str, Read]:
    """Write the things, and say how each is read."""
    reads: dict[str, Read] = {}
    for name, thing in things.items():
        thing.save(folder / name)  # type: ignore[attr-defined]
        load = type(thing).load  # type: ignore[attr-defined]
        reads[name] = lambda file, load=load, thing=thing: same(load(file), thing)
    return reads


def test_damaged_results_are_refused(
    tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    things = {
        f"{name}{suffix}": thing
        for suffix in (".npz", ".h5")
        for name, thing in (("path", m.PATH), ("p", m.DENSITY1), ("densities", m.DENSITIES))
    }
    for name, read in kept(things, tmp_path).items():
        data = (tmp_path / name).read_bytes()
        count = drive(read, data, tmp_path / name, whole_or_refused(data), FEW)
        tally(f"damaged {name}", count)
    m.PATH.save(tmp_path / "made.npz")
    data = (tmp_path / "made.npz").read_bytes()
    count = drive(provenance_of, data, tmp_path / "made.npz", lambda *_: None, FEW)
    tally("provenance of a damaged file", count)


def test_damaged_fields_are_refused(
    tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    file = tmp_path / "f.safetensors"
    sf.training.save(m.LEARNED, file)
    data = file.read_bytes()
    count = drive(
        lambda f: same(sf.training.load(f), m.LEARNED), data, file, whole_or_refused(data), DAMAGED
    )
    tally("damaged safetensors", count)


def test_damaged_parts_of_an_unclip_model_are_refused(
    tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    m.UNCLIP.save(tmp_path)
    texts, others = ["a seven with a hat"], {f: f.read_bytes() for f in tmp_path.iterdir()}
    wanted = m.UNCLIP.clip.embed_text(texts)

    def read(file: FilePath) -> object:
        return same(sf.images.UnCLIP.load(file.parent).clip.embed_text(texts), wanted)

    for file, data in others.items():
        tally(f"damaged {file.name}", drive(read, data, file, whole_or_refused(data), FEW))
        file.write_bytes(data)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    """A finished run with calibrated steps."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("done") / "r"
    run.fit(Config("ring", steps=30, batch=8, width=8, depth=1), folder)
    run.calibrate(folder, 3, 16)
    run.sample(folder, 20, sf.SDESolver("heun", 4), 1.0)
    return folder


READS: dict[str, Read] = {
    "config.json": lambda f: repr(run.reopen(f.parent).config),
    "field.safetensors": lambda f: run.reopen(f.parent).field,
    "steps-3.json": lambda f: repr(samplers.fitted_steps(f.parent, 3)),
    "checkpoint.safetensors": lambda f: repr(run.fit(_config(), f.parent)),
}


def _config() -> Config:
    return Config("ring", steps=30, batch=8, width=8, depth=1)


@pytest.mark.parametrize("name", READS)
def test_damaged_files_of_a_run_are_refused_or_made_good(
    name: str, done: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    file, others = done / name, {f: f.read_bytes() for f in done.iterdir()}
    data, wanted = others[file], READS[name](file)

    def read(there: FilePath) -> object:
        for other, content in others.items():
            if other != there and other.name.startswith(("field", "checkpoint")):
                other.write_bytes(content)
        with warnings.catch_warnings(action="ignore"):
            return same(READS[name](there), wanted)

    try:
        count = drive(read, data, file, whole_or_refused(data), FEW)
    finally:
        for other, content in others.items():
            other.write_bytes(content)
    tally(f"damaged {name}", count)


def test_damaged_clouds_are_refused(
    tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    out, solver = tmp_path / "cloud.zarr", sf.SDESolver(steps=1)
    sf.simulate(m.OU, torch.zeros(5000, 2), 5000, solver=solver, chunk=4096, out=out)

    def content() -> object:
        cloud = sf.open_cloud(out)
        return cloud[:].tolist(), cloud.provenance, cloud.digest

    wanted = content()
    for file in sorted(f for f in out.rglob("*") if f.is_file() and f.parent.name != "parts"):
        data = file.read_bytes()
        judge = whole_or_refused(data)
        count = drive(lambda _: same(content(), wanted), data, file, judge, 4 * FEW)
        tally(f"damaged {file.relative_to(out)}", count)
        file.write_bytes(data)


def test_damaged_states_of_a_simulation_are_refused(
    tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    grid = sf.Grid((-9.0, -9.0), (9.0, 9.0), (4, 4))

    def simulated() -> object:
        reduce = [sf.simulation.Moments(), sf.simulation.Histogram(grid)]
        solver = sf.SDESolver(steps=1)
        return sf.simulate(m.OU, torch.zeros(5000, 2), 5000, reduce, solver=solver, out=tmp_path)

    wanted, file = repr(simulated()), tmp_path / "parts" / "0000.npz"
    data = file.read_bytes()
    count = drive(
        lambda _: same(repr(simulated()), wanted), data, file, whole_or_refused(data), FEW
    )
    tally("damaged state of a simulation", count)


@pytest.mark.parametrize("name", ["metrics.jsonl", "rows.jsonl"])
def test_damaged_logs_are_read_line_by_line(
    name: str, tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    lines = [{"step": 100 * k, "loss": 0.1 * k, "made": {"commit": "a"}} for k in range(5)]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    read: Read = run_folder.read_log if name == "metrics.jsonl" else lambda f: [*record.stored(f)]

    def judge(value: object, _: bytes) -> None:
        assert isinstance(value, list)

    tally(f"damaged {name}", drive(read, data, tmp_path / name, judge, FEW))


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_provenance_of_damaged_pictures(
    suffix: str, tmp_path: FilePath, tally: Callable[[str, Counter[str]], None]
) -> None:
    file = tmp_path / f"a.{suffix}"
    with sf.plot.figure(1.0, 1.0) as fig:
        fig.subplots()
        sf.plot.write(fig, file)
    data = file.read_bytes()

    def judge(value: object, _: bytes) -> None:
        assert isinstance(value, dict)
        assert all(isinstance(v, str) for pair in value.items() for v in pair)

    tally(f"damaged {suffix}", drive(picture_provenance, data, file, judge, FEW))
