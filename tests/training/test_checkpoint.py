"""Files of fields and of runs: to the bit, whole or refused, and nothing in them is executed."""

import itertools
import json
import os
import pickle
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

import sdeflow as sf
from sdeflow.training import checkpoint, tensor_file
from tests.problems import (
    DATA,
    SMALL,
    Wavy,
    f64,
    half_done,
    randn,
    same,
    small,
    times_of,
    trained,
    weights,
)

ROWS = list(sf.fields.Prediction)


# ------------------------------------------------------------------------------- checkpoints


def flip(file: Path, at: int, bit: int = 4) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda f: f.write_bytes(b""),
    "truncated": lambda f: f.write_bytes(f.read_bytes()[: f.stat().st_size // 2]),
    "one byte short": lambda f: f.write_bytes(f.read_bytes()[:-1]),
    "header alone": lambda f: f.write_bytes(f.read_bytes()[:100]),
    "a flipped weight": lambda f: flip(f, f.stat().st_size - 5),
    "a flipped header": lambda f: flip(f, 30),
    "foreign": lambda f: f.write_text("not ours"),
    "a pickle": lambda f: f.write_bytes(pickle.dumps({"step": 7})),
    "missing": lambda f: f.unlink(),
    "a folder": lambda f: (f.unlink(), f.mkdir()),
}


FALLS_BACK = {name: damage for name, damage in DAMAGES.items() if name != "a folder"}


@pytest.mark.parametrize("damage", FALLS_BACK.values(), ids=FALLS_BACK.keys())
def test_a_damaged_checkpoint_falls_back_on_the_one_before(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    file = tmp_path / "c"
    half_done(file)
    damage(file)
    field = small()
    with pytest.warns(UserWarning, match="going on from .*previous"):
        run = sf.training.Training(field, DATA.sample, 30, config=SMALL, checkpoint=file, every=7)
    assert run.step == 7
    for _ in run:
        pass
    assert same(weights(field), trained())


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_alone_is_refused_in_one_sentence(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    file = tmp_path / "c"
    half_done(file, 7)
    damage(file)
    if not file.exists():
        run = sf.training.Training(
            small(), DATA.sample, 30, config=SMALL, checkpoint=file, every=7
        )
        assert run.step == 0
        return
    with pytest.raises(sf.SdeflowError, match="remove it to start afresh") as caught:
        sf.fit(small(), DATA.sample, 30, config=SMALL, checkpoint=file, every=7)
    assert "\n" not in str(caught.value)


def test_a_file_that_another_process_replaces_is_whole_or_missing(tmp_path: Path) -> None:
    """It was called damaged, or torch raised its own error, if it vanished while it was read."""
    file, ended, said = tmp_path / "f", threading.Event(), set[str]()
    for k in range(2):
        tensor_file.write(tmp_path / str(k), {"a": torch.full((500 + 7 * k,), 1.0 * k)}, {"k": k})

    def replace_it() -> None:
        for k in itertools.cycle(range(2)):
            os.link(tmp_path / str(k), tmp_path / "new")
            os.replace(tmp_path / "new", file)
            os.replace(file, tmp_path / "old")
            if ended.is_set():
                break

    other = threading.Thread(target=replace_it)
    other.start()
    try:
        for _ in range(8000):
            try:
                tensors, about = tensor_file.read(file)
            except sf.SdeflowError as error:
                said.add(str(error))
            else:
                assert len(tensors["a"]) == 500 + 7 * about["k"]
    finally:
        ended.set()
        other.join()
    assert said <= {f"there is no file {file}"}


def test_a_flipped_bit_anywhere_is_detected(tmp_path: Path) -> None:
    """Flip any: the file is refused, with our own error and no other."""
    file = tmp_path / "c"
    half_done(file, 7)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    spots = [*rng.choice(header, 500, replace=False), *rng.integers(header, len(whole), 200)]
    for at in [*range(8), *spots]:
        file.write_bytes(whole)
        flip(file, int(at), int(rng.integers(8)))
        with pytest.raises(sf.SdeflowError):
            tensor_file.read(file)
    for size in [*range(16), *rng.integers(16, len(whole), 30)]:
        file.write_bytes(whole[: int(size)])
        with pytest.raises(sf.SdeflowError):
            tensor_file.read(file)
    file.write_bytes(whole)
    tensor_file.read(file)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"F32"', '"I32"'), ("[2,8]", "[8,2]"), ('"last.weight"', '"lasu.weight"')],
    ids=["type", "shape", "name"],
)
def test_relabelled_tensors_are_refused(tmp_path: Path, old: str, new: str) -> None:
    """The same bytes under another type, shape or name: safetensors reads it, we refuse."""
    file = tmp_path / "f"
    sf.training.save(small(), file)
    whole = file.read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    assert old.encode() in whole[:length]
    file.write_bytes(whole[:length].replace(old.encode(), new.encode()) + whole[length:])
    with safe_open(file, framework="pt") as opened:
        assert len([opened.get_tensor(name) for name in opened.keys()])  # noqa: SIM118
    with pytest.raises(sf.SdeflowError, match="altered after it was written"):
        sf.training.load(file)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c"
    half_done(file)
    before = file.read_bytes()

    def go_on(field: sf.LearnedField | None = None, steps: int = 30, **more: object) -> None:
        more = {"config": SMALL, "checkpoint": file, **more}
        sf.fit(field or small(), more.pop("sample", DATA.sample), steps, **more)

    for run, differs in (
        (lambda: go_on(seed=1), "seed"),
        (lambda: go_on(config=sf.training.TrainingConfig(batch=32, rate=1e-3)), "config"),
        (lambda: go_on(small(seed=1)), "field"),
        (lambda: go_on(replace(small(), process=sf.VP())), "field, times, weighting"),
        (lambda: go_on(weighting=sf.training.min_snr()), "weighting"),
        (lambda: go_on(time_density=sf.training.uniform_time), "times"),
        (lambda: go_on(sample=sf.datasets.ring().sample), "data"),
    ):
        with pytest.raises(sf.SdeflowError, match=rf"another run \(another {differs}\)"):
            run()
    with pytest.raises(sf.SdeflowError, match="14 steps behind it, more than the 10 asked for"):
        go_on(steps=10)
    # A field is no checkpoint.
    sf.training.save(small(), tmp_path / "f")
    with pytest.raises(sf.SdeflowError, match="belongs to another run"):
        go_on(checkpoint=tmp_path / "f")
    assert file.read_bytes() == before


class Crash(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("moment", ["replace", "fsync"])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_while_writing_leaves_a_usable_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, after: bool
) -> None:
    """Stop before or after each call by which files change, go on, and end in the same bits."""
    expected, real = trained(), getattr(os, moment)
    for k in itertools.count(1):
        file, calls = tmp_path / f"{k}" / "c", [0]

        def crash(*given: object, k: int = k, calls: list[int] = calls) -> None:
            calls[0] += 1
            if calls[0] == k and not after:
                raise Crash
            real(*given)
            if calls[0] == k:
                raise Crash

        run = sf.training.Training(
            small(), DATA.sample, 30, config=SMALL, checkpoint=file, every=7
        )
        with monkeypatch.context() as patch:
            patch.setattr(os, moment, crash)
            try:
                for _ in run:
                    pass
            except Crash:
                pass
            else:
                break
        field = small()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = sf.training.Training(
                field, DATA.sample, 30, config=SMALL, checkpoint=file, every=7
            )
        # While one checkpoint is written, the one before it is still there.
        assert again.step >= (run.step - 1) // 7 * 7
        for _ in again:
            pass
        assert same(weights(field), expected), k
    assert k > 5  # five checkpoints, at 7, 14, 21, 28 and 30


# ------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("predicts", "labels"),
    [*((row, 0) for row in ROWS), (None, 3)],
    ids=lambda p: getattr(p, "value", str(p)),
)
def test_a_field_comes_back_bit_for_bit(
    process: sf.processes.Process,
    predicts: sf.fields.Prediction | None,
    labels: int,
    tmp_path: Path,
) -> None:
    network = sf.MLP(width=8, depth=2, waves=3, finest=17.0, labels=labels, seed=4)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    field = sf.LearnedField(process, network, predicts, data_std=0.1 + 0.2 if labels else None)
    sf.training.save(field, tmp_path / "f.safetensors")
    back = sf.training.load(tmp_path / "f.safetensors")
    assert back.process == process
    assert back.predicts is predicts
    assert back.data_std == field.data_std
    assert back.network.config == network.config
    x = randn(40, 2, dtype=torch.float32)
    for t in times_of(process, 3).tolist():
        for label in (None, *range(labels)):
            a, b = (f.given(label) if labels else f for f in (field, back))
            assert torch.equal(a.noise(x, t), b.noise(x, t))
    assert sorted(f.name for f in tmp_path.iterdir()) == ["f.safetensors"]
    # And the file is a function of the field.
    sf.training.save(back, tmp_path / "g.safetensors")
    assert (tmp_path / "f.safetensors").read_bytes() == (tmp_path / "g.safetensors").read_bytes()


def test_field_without_waves_and_with_other_constants_survives_the_file(tmp_path: Path) -> None:
    """No waves: an empty tensor. Constants of a process other than its defaults."""
    field = sf.LearnedField(sf.VE(sigma_max=3.3), sf.MLP(waves=0, width=4, depth=1))
    sf.training.save(field, tmp_path / "f")
    assert sf.training.load(tmp_path / "f").process == sf.VE(sigma_max=3.3)


def test_load_takes_a_network_of_another_class(tmp_path: Path) -> None:
    field = sf.LearnedField(sf.VP(), Wavy())
    with torch.no_grad():
        field.network.a.mul_(2)
    sf.training.save(field, tmp_path / "f")
    with pytest.raises(sf.SdeflowError, match="its network is a Wavy: pass one as network="):
        sf.training.load(tmp_path / "f")
    back = sf.training.load(tmp_path / "f", Wavy())
    assert torch.equal(back.network.a, field.network.a)
    with pytest.raises(sf.SdeflowError, match="does not fit this network"):
        sf.training.load(tmp_path / "f", nn.Linear(2, 2))


def test_transposed_parameter_survives_the_file(tmp_path: Path) -> None:
    """A parameter that is a transposed view is saved as the numbers that it shows."""
    field = sf.LearnedField(sf.VP(), Wavy())
    field.network.a.data = randn(5, 3).T
    sf.training.save(field, tmp_path / "f")
    assert torch.equal(sf.training.load(tmp_path / "f", Wavy()).network.a, field.network.a)


def test_load_executes_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (mark,)

    (tmp_path / "a").write_bytes(pickle.dumps(Evil()))
    torch.save({"w": Evil()}, tmp_path / "b")
    for name in "ab":
        with pytest.raises(sf.SdeflowError, match="damaged or not a file of sdeflow"):
            sf.training.load(tmp_path / name)
        with pytest.raises(sf.SdeflowError, match="remove it to start afresh"):
            sf.fit(small(), DATA.sample, 5, checkpoint=tmp_path / name)
    assert not mark.exists()


def test_files_without_a_field_are_refused(tmp_path: Path) -> None:
    field = small()
    sf.training.save(field, tmp_path / "f")
    for damage, complaint in (
        ("missing", "there is no file"),
        ("truncated", "damaged or not a file of sdeflow"),
        ("a flipped weight", "was altered after it was written"),
    ):
        sf.training.save(field, tmp_path / "g")
        DAMAGES[damage](tmp_path / "g")
        with pytest.raises(sf.SdeflowError, match=complaint) as caught:
            sf.training.load(tmp_path / "g")
        assert str(tmp_path / "g") in str(caught.value)
        assert "\n" not in str(caught.value)
    tensor_file.write(tmp_path / "c", field.network.state_dict(), {"kind": "cloud"})
    with pytest.raises(sf.SdeflowError, match="holds a cloud, not a field"):
        sf.training.load(tmp_path / "c")
    for about in (
        {"kind": "field"},
        {"kind": "field", "field": {**checkpoint.describe(field), "process": {"name": "Warp"}}},
        {"kind": "field", "field": {**checkpoint.describe(field), "predicts": "omens"}},
        {"kind": "field", "field": {**checkpoint.describe(field), "data_std": -1.0}},
    ):
        tensor_file.write(tmp_path / "h", field.network.state_dict(), about)
        with pytest.raises(sf.SdeflowError, match="h does not fit"):
            sf.training.load(tmp_path / "h")


@pytest.mark.parametrize("about", [[], None, "text", 3])
def test_header_that_is_no_object_is_refused(tmp_path: Path, about: object) -> None:
    tensor_file.write(tmp_path / "f", small().network.state_dict(), about)  # type: ignore[arg-type]
    with pytest.raises(sf.SdeflowError, match="damaged or not a file of sdeflow"):
        sf.training.load(tmp_path / "f")
    with pytest.raises(sf.SdeflowError, match="remove it to start afresh"):
        sf.fit(small(), DATA.sample, 5, config=SMALL, checkpoint=tmp_path / "f")


def test_save_and_load_refuse_what_does_not_fit(
    tmp_path: Path,
) -> None:
    with pytest.raises(TypeError, match="only a LearnedField can be saved, got MLP"):
        sf.training.save(small().network, tmp_path / "f")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    sf.training.save(sf.LearnedField(sf.VP(), nn.Linear(2, 2)), tmp_path / "f")
    with pytest.raises(sf.SdeflowError, match="f does not fit this network") as caught:
        sf.training.load(tmp_path / "f", nn.Linear(2, 3))
    assert "\n" not in str(caught.value)


def test_load_reads_the_average_from_the_checkpoint_of_a_training(tmp_path: Path) -> None:
    """Of an unfinished one too: it is the field that the loop had after that step."""
    field = small()
    run = sf.training.Training(
        field, DATA.sample, 9, config=SMALL, checkpoint=tmp_path / "c", every=4
    )
    for _ in range(4):
        next(run)
    back = sf.training.load(tmp_path / "c")
    assert same(weights(back), weights(field))
    assert back.data_std == DATA.std
    assert not back.network.training
    raw = run.network.state_dict()
    assert not torch.equal(raw["last.bias"], back.network.state_dict()["last.bias"])


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self, config: object = None) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
        self.b.weight = self.a.weight
        self.config = config

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.b(torch.tanh(self.a(x)))


def test_tied_weights_are_saved_and_stay_tied(tmp_path: Path) -> None:
    x = randn(5, 2, dtype=torch.float32)
    field = sf.LearnedField(sf.VP(), Tied())
    for steps in (4, 6):
        sf.fit(field, DATA.sample, steps, config=SMALL, checkpoint=tmp_path / "c", every=2)
        sf.training.save(field, tmp_path / "f")
        for name in "cf":
            back = sf.training.load(tmp_path / name, Tied())
            assert back.network.a.weight is back.network.b.weight
            assert torch.equal(back.noise(x, 0.5), field.noise(x, 0.5))


@dataclass
class Shape:
    """The config of a network in the style of Hugging Face."""

    width: int
    dtype: torch.dtype
    weights: object


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (None, None),
        (SimpleNamespace(a=1, dtype=torch.float16), {"a": 1, "dtype": "torch.float16"}),
        (Shape(8, torch.float32, torch.ones(2)),
         {"width": 8, "dtype": "torch.float32", "weights": [1.0, 1.0]}),
        ({"name": "x", 3: (np.float32(0.5), Path("a"))}, {"name": "x", "3": [0.5, "a"]}),
        ({"call": torch.relu, "kind": nn.Linear, "set": {1}, "rows": {"b": None}},
         {"call": "relu", "kind": "Linear", "set": "set", "rows": {"b": None}}),
        ("large", "large"),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_config_of_any_kind_is_saved(config: object, kept: object, tmp_path: Path) -> None:
    """And a training with one goes on: what is kept is the same in another process."""
    field = sf.LearnedField(sf.VP(), Tied(config))
    for steps in (2, 3):
        sf.fit(field, DATA.sample, steps, config=SMALL, checkpoint=tmp_path / "c")
    sf.training.save(field, tmp_path / "f")
    about = tensor_file.read(tmp_path / "f")[1]["field"]["network"]
    assert about == ({"name": "Tied"} if kept is None else {"name": "Tied", "config": kept})
    assert same(weights(sf.training.load(tmp_path / "f", Tied())), weights(field))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_type_of_the_weights_survives_the_file(
    dtype: torch.dtype, default: torch.dtype, tmp_path: Path
) -> None:
    x, network = randn(5, 2), sf.MLP(width=8, depth=2, waves=4).to(dtype)
    field = sf.LearnedField(sf.VP(), network, data_std=2.0, data_mean=f64([1.0, 3.0]))
    sf.fit(field, DATA.sample, 3, config=SMALL, checkpoint=tmp_path / "c")
    sf.training.save(field, tmp_path / "f")
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        for name in "cf":
            back = sf.training.load(tmp_path / name)
            assert back.network.last.weight.dtype == dtype
            assert torch.equal(back.noise(x, 0.5), field.noise(x, 0.5))
    finally:
        torch.set_default_dtype(before)


def test_bound_label_and_batch_survive_the_file(tmp_path: Path) -> None:
    x = randn(3, 2, dtype=torch.float32)
    for label in (2, torch.tensor([0, 3, 1])):
        field = small(labels=3).given(label)
        field.network.last.weight.data.fill_(0.3)
        field = replace(field, batch=64)
        sf.training.save(field, tmp_path / "f")
        back = sf.training.load(tmp_path / "f")
        assert back.batch == 64
        assert torch.equal(back.label, field.label)
        assert torch.equal(back.noise(x, 0.5), field.noise(x, 0.5))


class OwnVP(sf.VP):
    """A process of the user's."""


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    field = small()
    with pytest.raises(TypeError, match="a process of the class OwnVP cannot be saved"):
        sf.training.save(replace(field, process=OwnVP()), tmp_path / "f")
    with pytest.raises(TypeError, match="got GuidedField; save its parts"):
        sf.training.save(sf.GuidedField(field, field, 2.0), tmp_path / "f")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="path must be a path, got int"):
        sf.training.save(field, 3)  # type: ignore[arg-type]
    with pytest.raises(sf.SdeflowError, match="is a folder, not a file; a run is opened by"):
        sf.training.load(tmp_path)
    network = nn.Linear(2, 2)
    network.register_buffer("grid", torch.eye(3).to_sparse())
    sparse = sf.LearnedField(sf.VP(), network)
    with pytest.raises(TypeError, match="'grid' of the network cannot be saved"):
        sf.training.save(sparse, tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_step(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    field = small()
    with pytest.raises(OSError, match="file"):
        sf.fit(field, DATA.sample, 5, config=SMALL, checkpoint=tmp_path / "file" / "c")
    field.network.register_buffer("grid", torch.eye(3).to_sparse())
    before = weights(field)
    with pytest.raises(TypeError, match="grid' of the network cannot be saved"):
        sf.fit(field, DATA.sample, 5, config=SMALL, checkpoint=tmp_path / "c")
    assert all(torch.equal(before[k], v) for k, v in weights(field).items() if k != "grid")
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_another_class_called_mlp_is_not_taken_for_ours(tmp_path: Path) -> None:
    class MLP(Tied):
        pass

    sf.training.save(sf.LearnedField(sf.VP(), MLP()), tmp_path / "f")
    with pytest.raises(sf.SdeflowError, match=r"a .*test_checkpoint\.MLP: pass one"):
        sf.training.load(tmp_path / "f")


def test_checkpoints_of_another_version_are_refused(tmp_path: Path) -> None:
    half_done(tmp_path / "c", 7)
    tensors, about = tensor_file.read(tmp_path / "c")
    tensor_file.write(tmp_path / "c", tensors, {**about, "format": 1})
    with pytest.raises(sf.SdeflowError, match="another version of sdeflow; remove it to start"):
        sf.fit(small(), DATA.sample, 30, config=SMALL, checkpoint=tmp_path / "c")


class Gains(nn.Module):
    """A network of some size, of which a file knows the name alone."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.gain.mean() * x


def test_a_checkpoint_of_another_network_of_the_same_class_is_refused(tmp_path: Path) -> None:
    def go_on(size: int) -> sf.training.Training:
        field = sf.LearnedField(sf.VP(), Gains(size))
        return sf.training.Training(field, DATA.sample, 3, config=SMALL, checkpoint=tmp_path / "c")

    for _ in go_on(3):
        pass
    assert go_on(3).step == 3
    with pytest.raises(sf.SdeflowError, match="weights of another network; remove") as caught:
        go_on(4)
    assert "\n" not in str(caught.value)


def test_the_header_is_plain_json(tmp_path: Path) -> None:
    """Readable without us, by safetensors and json alone."""
    sf.training.save(small(), tmp_path / "f")
    with safe_open(tmp_path / "f", framework="np") as file:
        about = json.loads(file.metadata()["sdeflow"].partition(" ")[2])
    assert about["kind"] == "field"
    assert about["field"]["process"]["name"] == "VE"
    assert about["field"]["predicts"] == "noise"


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    sf.training.save(small(), file)
    before = file.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            sf.training.save(small(seed=1), file)
    assert file.read_bytes() == before
    assert sorted(f.name for f in tmp_path.iterdir()) == ["f"]
    with pytest.raises(OSError, match="f"):  # a file where a folder should be
        sf.training.save(small(), file / "g")
