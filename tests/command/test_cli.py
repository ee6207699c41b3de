"""The command: a wrong input is refused in one sentence, and no file is left half written."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import sdeflow as sf
from sdeflow.command import cli
from sdeflow.experiment import demo, films, folder, run, verify
from sdeflow.experiment.config import Config
from sdeflow.provenance import picture_provenance
from tests.problems import randn

TINY = ("--steps", "30", "--batch", "8", "--width", "8", "--depth", "1")
COMMAND = (sys.executable, "-m", "sdeflow")

Command = Callable[..., tuple[int, str, str]]

# A hardly trained field spreads the cloud to the wall of the check's grid, which warns.
pytestmark = pytest.mark.filterwarnings("ignore:.* of the mass reached the wall:RuntimeWarning")


@pytest.fixture
def sdeflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run the command here; its exit code, and what it said on stdout and stderr."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        with warnings.catch_warnings():  # what is only worth a warning is printed, as for a user
            warnings.simplefilter("default", UserWarning)
            try:
                cli.main([str(a) for a in args])
            except SystemExit as end:
                code = end.code
        return code, *capsys.readouterr()

    return call


def elsewhere(*args: object) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in a process of its own."""
    return subprocess.run(
        [sys.executable, *map(str, args)], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}, timeout=200,
    )  # fmt: skip


def refused(answer: tuple[int, str, str], *words: str) -> bool:
    """Exit code 2, nothing on stdout, one sentence on stderr that has these words."""
    code, out, err = answer
    assert code == 2, answer
    assert out == ""
    err = err.rpartition("\r")[2]  # a progress bar wipes itself out
    assert err.startswith("sdeflow: "), err
    assert err.endswith("\n"), err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err, err
    return True


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for reading only."""
    folder = tmp_path_factory.mktemp("done") / "r"
    torch.set_num_threads(1)
    run.fit(Config(steps=30, batch=8, width=8, depth=1), folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.iterdir()}


# ------------------------------------------------------------------------------- bad input


POINTS = randn(8, 2).numpy()
TEXTS = {
    "nan": "x,y\n1,2\nnan,3\n4,5\n",
    "inf": "1,2\n3,inf\n",
    "one class": "x,y,class\n1,2,cat\n3,4,cat\n",
    "one point": "1,2\n",
    "one point many times": "1,2\n" * 9,
    "empty": "",
    "header alone": "x,y\n",
    "words": "1,2\nthree,four\n",
}
ARRAYS = {
    "npy nan": np.where(np.arange(16).reshape(8, 2) == 7, np.nan, POINTS),
    "npy inf": np.where(np.arange(16).reshape(8, 2) == 10, -np.inf, POINTS),
    "npy rank 3": POINTS[None],
    "npy pickled": np.array([{"a": 1}], dtype=object),
}
BYTES = {
    "npy text": (".npy", b"hello"),
    "bytes": (".csv", bytes(range(256))),
    "a broken picture": (".png", b"\x89PNG\r\n\x1a\n" + b"x" * 40),
    "an unknown suffix": (".xlsx", b"1,2\n3,4\n"),
}
PICTURES = {
    "a white picture": Image.new("L", (8, 8), 255),
    "a clear picture": Image.new("RGBA", (8, 8), (0, 0, 0, 0)),
}


def bad_file(folder: Path, kind: str) -> Path:
    """A file that holds no data which can be read."""
    path = folder / "bad.csv"
    if kind in TEXTS:
        path.write_text(TEXTS[kind])
    elif kind in ARRAYS:
        path = folder / "bad.npy"
        np.save(path, ARRAYS[kind], allow_pickle=True)
    elif kind in BYTES:
        suffix, content = BYTES[kind]
        path = folder / f"bad{suffix}"
        path.write_bytes(content)
    elif kind in PICTURES:
        path = folder / "bad.png"
        PICTURES[kind].save(path)
    elif kind == "a folder":
        path.mkdir()
    return path  # "missing" is left out


BAD = {
    "nan": "NaN", "inf": "infinite", "npy nan": "row 3", "npy inf": "row 5",
    "npy rank 3": "points (m, d), got shape (1, 8, 2)", "npy pickled": "not an array of numbers",
    "npy text": "not an array of numbers", "one class": "has one class only, 'cat'",
    "one point": "two distinct",
    "one point many times": "two distinct", "empty": "is empty", "header alone": "is empty",
    "words": "line 2", "bytes": "text", "missing": "does not exist", "a folder": "is a folder",
    "a white picture": "no dark pixels", "a clear picture": "no dark pixels",
    "a broken picture": "not a picture that can be read", "an unknown suffix": "suffix",
}  # fmt: skip


@pytest.mark.parametrize("verb", ["train", "demo"])
@pytest.mark.parametrize("kind", BAD)
def test_unreadable_data_files_are_refused(
    kind: str, verb: str, sdeflow: Command, tmp_path: Path
) -> None:
    file = bad_file(tmp_path, kind)
    out = tmp_path / "r"
    classes = ("--conditional",) if kind == "one class" else ()
    answer = sdeflow(verb, "--data", file, "--out", out, *TINY, *classes)
    assert refused(answer, BAD[kind], file.name)
    assert not out.exists()


@pytest.mark.parametrize("verb", ["train", "demo"])
@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("--data", "spirall"), "there is no data set 'spirall'; there are spiral"),
        (("--data", ""), "there is no data set"),
        (("--steps", "0"), "steps must be at least 1"),
        (("--steps", "-5"), "steps must be at least 1"),
        (("--batch", "0"), "batch must be at least 1"),
        (("--rate", "0"), "rate must be positive"),
        (("--rate", "nan"), "rate must be positive"),
        (("--rate", "inf"), "rate must be positive"),
        (("--width", "0"), "width must be at least 1"),
        (("--depth", "-1"), "depth must be at least 1"),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--batch", 10**18), "batch must be at most"),
        (("--width", 10**18), "width must be at most"),
        (("--depth", 10**18), "depth must be at most"),
        (("--data", "s_curve", "--conditional"), "has no labels; leave out conditional"),
    ],
)
def test_settings_out_of_range_are_refused(
    verb: str, args: tuple[str, ...], word: str, sdeflow: Command, tmp_path: Path
) -> None:
    assert refused(sdeflow(verb, *TINY, *args, "--out", tmp_path / "r"), word)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("n", "bound"), [(0, "least 2"), (1, "least 2"), (-3, "least 2"), (5001, "most 5000")]
)
def test_demo_particle_numbers_out_of_range_are_refused(
    n: int, bound: str, sdeflow: Command, tmp_path: Path
) -> None:
    answer = sdeflow("demo", *TINY, "--n", n, "--out", tmp_path / "r")
    assert refused(answer, f"n must be at {bound}, got {n}")
    assert not (tmp_path / "r").exists()


def test_refused_demo_leaves_the_existing_run_unchanged(sdeflow: Command, tmp_path: Path) -> None:
    assert sdeflow("train", *TINY, "--out", tmp_path / "r")[0] == 0
    before = contents(tmp_path / "r")
    for wrong in (("--data", "spirall"), ("--steps", "0"), ("--n", "0"), ("--n", 6000)):
        assert refused(sdeflow("demo", *TINY, *wrong, "--out", tmp_path / "r"))
        assert contents(tmp_path / "r") == before


def test_calibrated_steps_are_kept_and_sampled_with(
    sdeflow: Command, done: Path, tmp_path: Path
) -> None:
    """They are fitted once; another number of steps is refused with the command that makes it."""
    place = shutil.copytree(done, tmp_path / "r")
    code, out, _ = sdeflow("calibrate", place, "--steps", 4, "--pilot", 32)
    assert code == 0
    assert all(name in out for name in ("default recipe", "safe recipe", "fitted, log SNR"))
    chosen = re.search("chosen: (.*), after", out)
    assert chosen is not None
    use = ("sample", place, "--n", 20, "--method", "calibrated", "--overwrite")
    code, out, err = sdeflow(*use, "--steps", 4)
    assert code == 0
    assert out.strip() == str(place / "cloud.csv")
    assert f"4 steps, {chosen[1]}: error" in err
    assert refused(sdeflow(*use, "--steps", 4, "--eta", 1), "eta = 0")
    assert refused(sdeflow(*use), f"sdeflow calibrate {place} --steps 20")


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("--n", "0"), "n must be at least 1"),
        (("--n", "-7"), "n must be at least 1"),
        (("--steps", "0"), "steps must be at least 1"),
        (("--steps", "0", "--eta", "0"), "steps must be at least 1"),
        (("--eta", "-1"), "eta must be zero or more"),
        (("--eta", "nan"), "eta must be zero or more"),
        (("--eta", "inf"), "eta must be zero or more"),
        (("--method", "hune", "--eta", "1"), "unknown SDE method 'hune'"),
        (("--method", "hune", "--eta", "0"), "unknown ODE method 'hune'"),
        (("--method", "dopri5", "--eta", "1"), "is an ODE method; use it with --eta 0"),
        (("--method", "heun2", "--eta", "1"), "is an ODE method; use it with --eta 0"),
        (("--method", "srk", "--eta", "0"), "unknown ODE method 'srk'"),
        (("--method", "reversible_heun", "--eta", "0"), "unknown ODE method"),
        (("--steps", "0", "--eta", "0", "--method", "dopri5"), "steps must be at least 1"),
        (("--save", "0"), "save must be at least 1"),
        (("--save", "1000"), "asks for more states"),
        (("--n", 10**18), ""),  # no machine holds them; in whose words does not matter
        (("--n", 10**40), ""),
        (("--steps", 10**18), ""),
        (("--steps", 10**40), ""),
        (("--eta", 1e308), ""),
        (("--eta", 1e30), ""),
        (("--seed", "-1"), "seed must be at least 0"),
        (("--class", "0"), "trained without classes; leave out the class"),
        (("--class", "all"), "trained without classes; leave out the class"),
        (("--scale", "2"), "this cloud has none; leave out the scale"),
        (("--scale", "nan"), "scale must be finite"),
        (("--interval", "0.2", "0.8"), "give a scale"),
        (("--out", "cloud.txt"), "out must end in .csv or .npz"),
        (("--against", "a hat"), "--against is a text"),
    ],
)
def test_sample_arguments_out_of_range_are_refused(
    args: tuple[str, ...], word: str, sdeflow: Command, done: Path
) -> None:
    before = contents(done)
    assert refused(sdeflow("sample", done, "--n", "5", "--steps", "4", *args), word)
    assert contents(done) == before


def test_unknown_classes_are_refused(sdeflow: Command, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert sdeflow("train", *TINY, "--conditional", "--out", folder)[0] == 0
    use = ("sample", folder, "--n", 5, "--steps", 4)
    for which in (-1, 0, 3, 10**30, "Dog", ""):  # a number is no index
        answer = sdeflow(*use, f"--class={which}")
        assert refused(answer, f"no class '{which}'; the classes are person, dog, cat")
    assert refused(sdeflow(*use, "--scale", 0, "--class", "dog"), "scale 0 is the whole cloud")
    assert refused(sdeflow(*use, "--scale", 2, "--interval", 0.8, 0.2), "two rising noise levels")
    assert not (folder / "cloud.csv").exists()
    for which in ("person", "dog", "cat"):
        assert sdeflow(*use, "--class", which, "--overwrite")[0] == 0
    fit = ("calibrate", folder, "--steps", 2, "--pilot", 16, "--class")
    assert refused(sdeflow(*fit, "cow"), "no class 'cow'")
    assert refused(sdeflow(*fit, "all"), "fitted to one class or to the whole cloud")
    assert sdeflow(*fit, "dog")[0] == 0
    use = ("sample", folder, "--n", 5, "--method", "calibrated", "--steps", 2, "--overwrite")
    assert sdeflow(*use, "--class", "dog")[0] == 0
    assert refused(sdeflow(*use, "--class", "cat"), f"calibrate {folder} --steps 2 --class cat")
    assert refused(sdeflow(*use, "--class", "all"), "name one class, or none")
    assert refused(sdeflow(*use, "--class", "dog", "--scale", 2), "fitted without guidance")
    assert refused(sdeflow(*use), f"calibrate {folder} --steps 2")


def test_missing_and_unfinished_runs_are_refused(sdeflow: Command, tmp_path: Path) -> None:
    for verb in ("sample", "info"):
        assert refused(
            sdeflow(verb, tmp_path / "none"), "holds no run; make one with: sdeflow train"
        )
        assert not (tmp_path / "none").exists()
    folder = tmp_path / "r"
    assert sdeflow("train", *TINY, "--out", folder)[0] == 0
    (folder / "field.safetensors").unlink()
    before = contents(folder)
    assert refused(
        sdeflow("sample", folder, "--n", 5), "is not finished; continue with: sdeflow train"
    )
    assert contents(folder) == before
    assert "not finished, 30 of 30 steps" in sdeflow("info", folder)[1]


def test_damaged_files_of_a_run_are_refused(sdeflow: Command, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert sdeflow("train", *TINY, "--out", folder)[0] == 0
    whole = contents(folder)
    for name, damaged, word in (
        ("field.safetensors", whole["field.safetensors"][:-9], "damaged or not a file of sdeflow"),
        ("field.safetensors", whole["field.safetensors"][:-9] + b"otherdata", "was altered"),
        ("field.safetensors", b"", "damaged or not a file of sdeflow"),
        ("field.safetensors", whole["checkpoint.safetensors"], "is not of the run"),
        ("config.json", b"{", "is damaged"),
        ("config.json", b"\xff\xfe", "is damaged"),
        ("config.json", b'{"process": "Vp"}', "is damaged"),
        ("config.json", b'{"process": null}', "is damaged"),
    ):
        (folder / name).write_bytes(damaged)
        before = contents(folder)
        assert refused(sdeflow("sample", folder, "--n", 5, "--steps", 3), name, word)
        assert contents(folder) == before
        (folder / name).write_bytes(whole[name])
    assert sdeflow("sample", folder, "--n", 5, "--steps", 3)[0] == 0


def test_training_in_the_folder_of_another_run_is_refused(sdeflow: Command, done: Path) -> None:
    before = contents(done)
    answer = sdeflow("train", *TINY, "--width", "9", "--out", done)
    assert refused(answer, "holds another run (another width); choose another folder or remove it")
    assert contents(done) == before


def test_unwritable_output_folders_are_refused(sdeflow: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for verb in ("train", "demo"):
        for out in (tmp_path / "file", tmp_path / "file" / "r", tmp_path / ("x" * 300)):
            assert refused(sdeflow(verb, *TINY, "--out", out))
    assert [f.name for f in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_unparsable_arguments_end_with_exit_code_2(sdeflow: Command, tmp_path: Path) -> None:
    """tyro's own words, in a box; no traceback, nothing done."""
    for args in (
        (), ("fly",), ("train", "--steps", "many"), ("train", "--process", "Warp"),
        ("sample",), ("train", "--predicts", "omens"), ("train", "--stepps", "5"),
    ):  # fmt: skip
        code, _, err = sdeflow(
            *args, *(("--out", tmp_path / "r") if args[:1] == ("train",) else ())
        )
        assert code == 2
        assert "Traceback" not in err
    assert not (tmp_path / "r").exists()
    code, out, _ = sdeflow("--help")
    assert code == 0
    assert "every cloud comes with a check" in out


def test_importing_the_command_does_not_load_matplotlib() -> None:
    """So that --help answers soon."""
    code = "import sys, sdeflow.command.cli; sys.exit('matplotlib' in sys.modules)"
    assert elsewhere("-c", code).returncode == 0


@pytest.mark.parametrize("verb", ["train", "sample"])
def test_python_m_runs_the_command(verb: str, tmp_path: Path) -> None:
    """In a process of its own, where pytest catches nothing: a sentence and no folder."""
    (tmp_path / "bad.csv").write_text("1,2\nnan,3\n")
    answer = {
        "train": ("--data", tmp_path / "bad.csv", "--out", tmp_path / "r"),
        "sample": (tmp_path / "r", "--n", 5),
    }[verb]
    got = elsewhere("-m", "sdeflow", verb, *answer)
    words = ("NaN", "bad.csv") if verb == "train" else ("holds no run",)
    assert refused((got.returncode, got.stdout, got.stderr), *words)
    assert [f.name for f in tmp_path.iterdir()] == ["bad.csv"]


# --------------------------------------------------------------------------- killed and resumed


@pytest.mark.timeout(400)
def test_killed_and_resumed_run_ends_in_the_same_bits(sdeflow: Command, tmp_path: Path) -> None:
    """SIGKILL at random moments of training and writing; then the field is the same file."""
    # Checkpoints every 20 steps keep writing as likely a moment as any.
    args = ("train", "--steps", 200, "--batch", 32, "--width", 64, "--depth", 2, "--data", "ring")
    assert sdeflow(*args, "--out", tmp_path / "whole")[0] == 0
    whole = (tmp_path / "whole" / "field.safetensors").read_bytes()
    folder, rng, killed = tmp_path / "killed", random.Random(3), []
    field, checkpoint = folder / "field.safetensors", folder / "checkpoint.safetensors"
    words = [*COMMAND, *map(str, args), "--out", str(folder)]
    for _ in range(3):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = subprocess.Popen(
            words, env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None and not (
            checkpoint.exists() and checkpoint.stat().st_mtime_ns > before
        ):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        killed.append(process.wait() == -signal.SIGKILL and not field.exists())
    assert any(killed), "every run was over before it was killed"
    assert sdeflow(*args, "--out", folder)[0] == 0
    assert field.read_bytes() == whole
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "missing"])
def test_run_with_a_damaged_checkpoint_ends_in_the_same_bits(
    damage: str, sdeflow: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "r"
    assert sdeflow("train", *TINY, "--out", folder)[0] == 0
    field, file = folder / "field.safetensors", folder / "checkpoint.safetensors"
    whole, data = field.read_bytes(), file.read_bytes()
    field.unlink()
    if damage == "missing":
        file.unlink()
    else:
        cut = {"truncated": data[: len(data) // 2], "altered": data[:-4] + b"evil", "empty": b""}
        file.write_bytes(cut[damage])
    code, _, err = sdeflow("train", *TINY, "--out", folder)
    assert code == 0
    assert "going on from" in err
    said = [line for line in err.splitlines() if line.startswith("sdeflow: ")]
    assert len(said) == 1
    assert field.read_bytes() == whole
    # And with both gone wrong, one sentence says what to do.
    field.unlink()
    file.write_bytes(b"junk")
    (folder / "checkpoint.safetensors.previous").unlink()
    assert refused(sdeflow("train", *TINY, "--out", folder), "remove it to start afresh")
    file.unlink()
    assert sdeflow("train", *TINY, "--out", folder)[0] == 0
    assert field.read_bytes() == whole


def test_keyboard_interrupt_ends_with_one_line(
    sdeflow: Command, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit", stop)
    code, _, err = sdeflow("train", *TINY, "--out", tmp_path / "r")
    assert code == 130
    assert err == "sdeflow: stopped; the same command continues\n"
    # A cloud does not go on: it starts anew.
    monkeypatch.setattr(run, "sample", stop)
    assert sdeflow("sample", done) == (130, "", "sdeflow: stopped\n")


def test_termination_ends_with_one_line_and_its_own_code(
    sdeflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run, "fit", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    code, _, err = sdeflow("train", *TINY, "--out", tmp_path / "r")
    assert code == 143
    assert err == "sdeflow: stopped; the same command continues\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_closed_output_pipe_is_no_error() -> None:
    """As in: sdeflow info | head -1."""
    with subprocess.Popen(
        [*COMMAND, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(200) == 0


def test_check_sizes_are_refused_before_the_work(
    sdeflow: Command, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(verify, "evolve", work)
    monkeypatch.setattr(verify, "setting_of", work)
    for args, words in (
        (("--chain", "0"), "chain must be at least 1"),
        (("--steps", "0"), "steps must be at least 1"),
        (("--cells", 10**9), "cells must be at most 2048"),
        (("--cells", 8), "cells must be at least 32"),
    ):
        assert refused(sdeflow("check", done, *args), words)


def test_refusal_is_one_line(sdeflow: Command, tmp_path: Path) -> None:
    """Also where a name holds a line's end."""
    answer = sdeflow("train", *TINY, "--data", "a\nb.csv", "--out", tmp_path / "r")
    assert refused(answer, "a b.csv does not exist; check the path")


def test_torch_stack_is_cut_from_a_refusal(
    sdeflow: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def talk(*_: object, **__: object) -> None:
        raise RuntimeError("too\nlarge\nframe #0: in libtorch")

    monkeypatch.setattr(run, "fit", talk)
    assert refused(sdeflow("train", *TINY, "--out", tmp_path / "r"), "sdeflow: too large\n")


# ------------------------------------------------------------------------------ any argument


def junk() -> st.SearchStrategy[str]:
    """What is typed by mistake. Sizes are tiny or beyond any machine, not between."""
    return st.one_of(
        st.text(max_size=8),
        st.integers(-3, 12).map(str),
        st.sampled_from([-(10**40), -(2**63) - 1, 2**63, 2**64, 10**18, 10**40]).map(str),
        st.sampled_from(
            ["nan", "inf", "-inf", "-0.0", "1e-320", "1e308", "0x10", "1_0", "½", "٣"]
        ),
        st.floats(0, 2).map(str),
    )


OPTIONS = {
    "train": ("--data", "--process", "--predicts", "--conditional", "--steps", "--batch",
              "--rate", "--width", "--depth", "--seed"),
    "demo": ("--data", "--n", "--steps", "--batch", "--rate", "--width", "--depth", "--seed"),
    "sample": ("--n", "--method", "--steps", "--eta", "--class", "--save", "--seed", "--scale"),
}  # fmt: skip


@settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_random_arguments_end_with_exit_code_0_or_2(
    data: st.DataObject,
    sdeflow: Command,
    tmp_path_factory: pytest.TempPathFactory,
    done: Path,
    coarse: None,
) -> None:
    """Exit code 0, 1 or 2, whatever is typed; and nothing half-written."""
    verb = data.draw(st.sampled_from(["train", "sample", "demo"]))
    changed = data.draw(
        st.dictionaries(st.sampled_from(OPTIONS[verb]), junk(), min_size=1, max_size=2)
    )
    out = tmp_path_factory.mktemp("any") / "r"
    typed = [word for pair in changed.items() for word in pair]
    if verb == "sample":
        args = ["sample", done, "--n", "5", "--steps", "4", *typed]
    else:
        steps = changed.get("--steps", "0")
        if verb == "demo" and "--steps" not in changed:
            typed += ["--steps", "0"]  # a whole demo is not for a hundred examples
        elif len(steps) > 2:
            return  # a long run is no mistake
        args = [verb, *TINY, "--steps", "3", *typed, "--out", out]
    code, _, err = sdeflow(*args)
    assert code in (0, 1, 2), (args, err)
    assert "Traceback" not in err
    for there in (out, done):
        assert not there.exists() or not [f for f in there.iterdir() if ".part" in f.name]
    if code == 2 and verb != "sample" and "the loss is" not in err:
        assert not out.exists(), args


# ------------------------------------------------------------------------------ what it leaves


def user_file(folder: Path, kind: str) -> Path:
    """Somebody's own points, in units of their own."""
    points = randn(40, 2, seed=6).numpy() * 5 + 1000
    path = folder / f"mine.{kind}"
    match kind:
        case "csv":
            np.savetxt(path, points, delimiter=",", header="x,y", comments="")
        case "npy":
            np.save(path, points)
        case "png":
            grey = np.full((12, 16), 255, dtype=np.uint8)
            grey[3:9, 4:12] = 0
            Image.fromarray(grey).save(path)
    return path


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks on a coarse grid: these tests look at what a demo leaves, not at its numbers."""
    sizes = {"n": 1000, "cells": 32, "steps": 40, "chain": 16}
    monkeypatch.setattr(verify.check, "__kwdefaults__", {**verify.check.__kwdefaults__, **sizes})


@pytest.mark.parametrize("kind", ["csv", "npy", "png"])
def test_demo_on_a_file_writes_every_file_of_a_run(
    kind: str, sdeflow: Command, tmp_path: Path, coarse: None
) -> None:
    file, out = user_file(tmp_path, kind), tmp_path / "r"
    suffix = "png" if kind == "png" else "pdf"
    args = ("demo", "--steps", 50, "--n", 50, "--width", 16, "--data", file, "--out", out,
            "--format", suffix)  # fmt: skip
    code, said, err = sdeflow(*args)
    assert code in (0, 1), err
    agree = json.loads((out / "check.json").read_text())["agree"]
    assert code == (0 if agree else 1)
    assert "| sampler " in said
    others = {
        f"{name}.{s}" for name in ("figure", "check") for s in {"png", "pdf", "svg"} - {suffix}
    }
    assert set(contents(out)) == set(folder.FILES) - {"page.html", "cloud.png"} - others
    report = json.loads((out / "report.json").read_text())
    assert (out / "report.md").read_text() in said + "\n"
    assert report["data"] == str(file)
    assert report["particles"] == 50
    assert len(report["rows"]) == len(demo.SAMPLERS)
    assert "loss_irreducible" in report  # points and pictures alike have an exact field
    drawn = picture_provenance(out / f"figure.{suffix}")
    if suffix == "png":
        with Image.open(out / "figure.png") as picture:
            assert min(picture.size) > 300
    with np.load(out / "cloud.npz") as stored:
        sampled = json.loads(str(stored["made"]))
        cloud = stored["x"][-1]
    config = json.loads((out / "config.json").read_text())["made"]
    for made in (report["made"], config, sampled, drawn):
        assert {"command", "commit", "python", "torch", "torchsde", "torchdiffeq", "sdeflow",
                "device", "threads", "dtype", "seed"} <= set(made)  # fmt: skip
        assert str(made["seed"]) == "0"
        assert str(made["threads"]) == "1"
    if kind != "png":
        assert np.abs(cloud.mean(0) - 1000).max() < 5
        assert 1 < cloud.std() < 25
    else:
        assert np.abs(cloud).mean() < 1
    assert not [f for f in out.iterdir() if ".part" in f.name]


def test_demo_is_a_function_of_its_config_and_replaces_another(
    sdeflow: Command, tmp_path: Path, coarse: None
) -> None:
    def demo(seed: int) -> dict[str, bytes]:
        assert sdeflow("demo", *TINY, "--n", 2, "--seed", seed, "--out", tmp_path)[0] in (0, 1)
        return contents(tmp_path)

    first = demo(0)
    again = demo(0)
    assert again.keys() == first.keys()
    kept = ("field.safetensors", "checkpoint.safetensors", "cloud.csv", "metrics.jsonl")
    assert all(again[name] == first[name] for name in kept)
    numbers = [json.loads(c["report.json"]) for c in (first, again)]
    for key in ("sampling_floor", "sampling_floor_sd", "loss", "loss_irreducible", "loss_excess"):
        assert numbers[0][key] == numbers[1][key]
    for a, b in zip(*(r["rows"] for r in numbers), strict=True):
        assert (a["learned"], a["exact"], a["nfe"]) == (b["learned"], b["exact"], b["nfe"])
    (tmp_path / "mine.txt").write_text("mine")
    other = demo(1)
    assert other.pop("mine.txt") == b"mine"
    assert other.keys() == first.keys()
    assert all(other[name] != first[name] for name in kept)


@pytest.mark.parametrize(
    "args", [("--eta", 1), ("--eta", 0), ("--eta", 0.5, "--method", "euler"),
             ("--eta", 0, "--method", "dopri5"), ("--eta", 0, "--method", "rk4")],
)  # fmt: skip
def test_sample_writes_its_cloud_and_prints_the_path(
    args: tuple, sdeflow: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "r"
    assert sdeflow("train", *TINY, "--out", folder)[1].strip().endswith("field.safetensors")
    code, out, _ = sdeflow("sample", folder, "--n", 30, "--steps", 10, "--save", 4, *args)
    assert code == 0
    assert Path(out.strip()) == folder / "cloud.csv"
    cloud = sf.datasets.from_file(out.strip()).distribution.points
    assert cloud.shape == (30, 2)
    with np.load(folder / "cloud.npz") as stored:
        assert stored["x"].shape == (4, 30, 2)
        assert np.allclose(stored["x"][-1], cloud, rtol=1e-6, atol=1e-6)
        assert (np.diff(stored["t"]) < 0).all()


def test_info_prints_versions_data_sets_and_the_run(sdeflow: Command, done: Path) -> None:
    code, out, err = sdeflow("info")
    assert (code, err) == (0, "")
    assert "torchsde" in out
    assert all(name in out for name in sf.datasets.NAMES)
    code, out, _ = sdeflow("info", done)
    assert code == 0
    about = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert about["training"] == "finished"
    assert about["steps"] == "30"
    assert about["loss"].endswith(" at step 30")
    assert "field.safetensors" in about["files"].split(", ")
    assert not any(mark in out for mark in '{}[]"')


def test_provenance_prints_what_made_a_picture(sdeflow: Command, tmp_path: Path) -> None:
    for suffix in ("png", "pdf", "svg"):
        made = {"command": "draw (it)", "seed": 5}
        sf.plot.write(sf.plot.Figure(), tmp_path / f"f.{suffix}", made)
        code, out, _ = sdeflow("provenance", tmp_path / f"f.{suffix}")
        lines = dict(line.split(maxsplit=1) for line in out.splitlines())
        assert code == 0
        assert (lines["command"], lines["seed"]) == ("draw (it)", "5")
        assert lines["commit"] == sf.provenance.commit()
    assert refused(sdeflow("provenance", __file__), "does not say what made it")
    assert refused(sdeflow("provenance", tmp_path / "no.pdf"), "No such file")


def test_sample_films_every_step(sdeflow: Command, tmp_path: Path, done: Path) -> None:
    """In the units in which the cloud keeps its size; a mistake is refused before the work."""
    copy, film = tmp_path / "r", tmp_path / "new" / "f.gif"
    shutil.copytree(done, copy, ignore=shutil.ignore_patterns("cloud.*"))
    before = contents(copy)
    assert refused(sdeflow("sample", copy, "--film", tmp_path / "f.avi"), ".gif or .mp4")
    assert refused(sdeflow("sample", copy, "--film", film, "--save", 1), "two states or more")
    assert contents(copy) == before
    answer = sdeflow("sample", copy, "--n", 20, "--steps", 3, "--film", film)
    assert answer == (0, f"{copy / 'cloud.csv'}\n", "")
    with Image.open(film) as picture, np.load(copy / "cloud.npz") as kept:
        assert picture.n_frames == len(kept["t"]) == 4
    assert re.search(r"^n +20$", sdeflow("provenance", copy / "cloud.npz")[1], re.MULTILINE)
    assert re.search(r"^seed +0$", sdeflow("provenance", film)[1], re.MULTILINE)


def test_demo_films_both_ways(
    tmp_path: Path, done: Path, monkeypatch: pytest.MonkeyPatch, sdeflow: Command
) -> None:
    """All particles are in the picture at all times, though noise is ten times as wide as data."""
    seen: list = []
    monkeypatch.setattr(films, "FRAMES", 3)
    monkeypatch.setattr(films, "STEPS", 12)
    monkeypatch.setattr(films, "film", lambda paths, **rest: seen.append((paths, rest)))
    films.film_demo(done, tmp_path / "f.gif")
    (there, back), rest = seen[0]
    process = sf.VE()
    assert torch.allclose(there.t, back.t.flip(0))
    assert there.t[[0, -1]].tolist() == [process.t_min, process.t_max]
    for path in (there, back):
        assert path.x.shape == (3, 1000, 2)
    assert ((there.x.std((1, 2)) - 1).abs() < 0.1).all()
    assert (back.x[0].std() - 1).abs() < 0.1
    learned = run.reopen(done).field
    x = randn(5, 2).float()
    assert torch.equal(rest["field"](x, process.t_max), learned.score(x * 101**0.5, 1.0))
    out = tmp_path / "demo"
    assert refused(sdeflow("demo", *TINY, "--out", out, "--film", "f.png"), ".gif or .mp4")
    assert not out.exists()


def test_version_is_printed(sdeflow: Command) -> None:
    assert sdeflow("--version") == (0, f"sdeflow {sf.__version__}\n", "")


def test_exit_code_says_whether_the_check_passed(
    sdeflow: Command, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "check.md").write_text("the report")
    for agrees in (True, False):
        found = SimpleNamespace(passed=lambda agrees=agrees: agrees)
        monkeypatch.setattr(verify, "check", lambda *_, found=found, **__: found)
        code, out, _ = sdeflow("check", tmp_path)
        assert code == (0 if agrees else 1)
        assert out.startswith("the report\n")

    def refuse(*_: object, **__: object) -> None:
        raise sf.SdeflowError("a cell is too wide; take more cells")

    monkeypatch.setattr(verify, "check", refuse)
    monkeypatch.setattr(demo, "demo", lambda *_, **__: "measured")
    assert refused(sdeflow("check", done), "sdeflow: a cell is too wide; take more cells")
    code, out, err = sdeflow("demo", *TINY, "--out", tmp_path / "d")
    assert code == 1
    assert out.startswith("measured\n")
    again = f"sdeflow check {tmp_path / 'd'}"
    assert err == f"sdeflow: no check: a cell is too wide; take more cells, with: {again}\n"


def test_places_where_nothing_can_be_written_are_refused(
    sdeflow: Command, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the work."""
    file = tmp_path / "file"
    file.touch()
    for verb in ("sample", "info", "check"):
        assert refused(sdeflow(verb, file), "file is a file, not the folder of a run; name a fol")
    for verb in ("train", "demo"):
        answer = sdeflow(verb, *TINY, "--out", file)
        assert refused(answer, "file is a file, not the folder of a run; name a folder")
        answer = sdeflow(verb, *TINY, "--out", file / "r")
        assert refused(answer, "file/r cannot be read or written: Not a directory")

    def work(*_: object, **__: object) -> None:
        raise AssertionError

    def full(path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(run, "_drawn", work)
    monkeypatch.setattr(run, "check_writable", full)
    monkeypatch.setattr(verify, "verify", work)
    monkeypatch.setattr(verify, "check_writable", full)
    for words, name in ((("sample", "--overwrite"), "cloud.csv"), (("check",), "check.json")):
        complaint = f"{name} cannot be read or written: Read-only file system"
        assert refused(sdeflow(words[0], done, *words[1:]), complaint)


def test_progress_is_shown_on_a_terminal_only(sdeflow: Command, tmp_path: Path) -> None:
    """A file that keeps what was said has no bars in it."""
    for args in (
        ("train", *TINY, "--out", tmp_path / "r"),
        ("sample", tmp_path / "r", "--n", 5, "--steps", 4),
    ):
        code, _, err = sdeflow(*args)
        assert (code, err) == (0, "")


def test_train_goes_on_with_more_steps_and_says_how(sdeflow: Command, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert sdeflow("train", *TINY, "--out", folder)[0] == 0
    args = ("train", "--steps", "40", *TINY[2:], "--out", folder)
    assert sdeflow(*args)[0] == 0
    assert "finished" in sdeflow("info", folder)[1]
    (folder / "field.safetensors").unlink()
    answer = sdeflow("sample", folder)
    assert refused(answer, "continue with: sdeflow train --steps 40 --batch 8 --width 8 --depth 1")
    assert sdeflow(*answer[2].split("with: sdeflow ")[1].split())[0] == 0


def test_number_of_threads_comes_from_the_environment(
    sdeflow: Command, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given_, threads in (
        ("2", 2), ("", 1), ("0", 1), ("many", 1), ("2,1", 2), ("99999999999", 1), ("-2", 1),
    ):  # fmt: skip
        monkeypatch.setenv("OMP_NUM_THREADS", given_)
        assert sdeflow("info", done)[0] == 0
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
