"""A session with the command: train, sample, check, look, change settings, damage files, repeat.

Whatever is done in whatever order: the exit code is 0, 1 or 2, a refusal is one sentence, no file
is half written, and a training that says that it is done has the bits of one without damage.
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_sessions

from sdeflow.command import cli
from tests.faults.damage import Damage, damaged, damages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
SESSIONS, ACTS = 200, 40
COUNT = Counter[str]()
FRESH: dict[tuple[str, ...], bytes] = {}
"""The field of a run without damage, for each of the settings."""
TINY = ("--batch", "8", "--width", "8", "--depth", "1")
FOLDERS = ("a", "b")


def command(*args: object) -> tuple[int, str, str]:
    """The exit code of the command, and what it says."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    before = sys.argv
    sys.argv = ["sdeflow", *map(str, args)]
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        try:
            cli.main([str(a) for a in args])
        except SystemExit as end:
            code = int(end.code or 0)
    sys.argv = before
    return code, out.getvalue(), err.getvalue()


class Session(RuleBasedStateMachine):
    """Two folders of runs and a file of points."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="session-"))
        self.trained: dict[str, set[tuple[str, ...]]] = {name: set() for name in FOLDERS}

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    def did(self, *args: object) -> int:
        """Run the command and judge what it says."""
        COUNT["cases"] += 1
        code, out, err = command(*args)
        assert code in (0, 1, 2), (args, out, err)
        assert "Traceback" not in err
        assert not list(self.place.rglob("*.part")), args
        if code == 2:
            last = [line for line in err.rpartition("\r")[2].splitlines() if line]
            assert last[-1].startswith("sdeflow: "), (args, err)
            assert len(last[-1]) < 500, last
            assert "Errno" not in err, err
            assert not re.search(r"object at 0x|tensor\(", err), err
        COUNT["refused" if code == 2 else "done"] += 1
        return code

    @initialize()
    def begin(self) -> None:
        self.points()
        self.train("a", "ring", "0", "20", ())

    def points(self) -> None:
        """Write the file of points."""
        x = np.random.default_rng(1).normal(size=(20, 2))
        np.savetxt(self.place / "points.csv", x, delimiter=",", header="x,y", comments="")

    @rule(
        name=st.sampled_from(FOLDERS),
        data=st.sampled_from(["ring"] * 8 + ["points.csv"] * 2 + ["none"]),
        seed=st.sampled_from(["0"] * 8 + ["1"]), steps=st.sampled_from(["20"] * 8 + ["30"]),
        conditional=st.sampled_from([()] * 4 + [("--conditional",)]),
    )  # fmt: skip
    def train(
        self, name: str, data: str, seed: str, steps: str, conditional: tuple[str, ...]
    ) -> None:
        file = self.place / data
        chosen = ("--data", str(file) if file.exists() else data, "--seed", seed, *conditional)
        folder = self.place / name
        if self.did("train", *chosen, "--steps", steps, *TINY, "--out", folder) == 0:
            self.trained[name].add((steps, *chosen))
            if len(self.trained[name]) == 1 and data == "ring":
                self.same(chosen, steps, folder)

    def same(self, chosen: tuple[str, ...], steps: str, folder: Path) -> None:
        """The field is that of a run without damage."""
        key = (*chosen, steps)
        if key not in FRESH:
            where = self.place / "fresh"
            assert command("train", *chosen, "--steps", steps, *TINY, "--out", where)[0] == 0
            FRESH[key] = (where / "field.safetensors").read_bytes()
            shutil.rmtree(where)
        assert (folder / "field.safetensors").read_bytes() == FRESH[key]
        COUNT["fields compared"] += 1

    def known(self) -> bool:
        return any(self.trained.values())

    @precondition(known)
    @rule(
        name=st.sampled_from(FOLDERS), n=st.sampled_from(["5", "1", "0"]),
        method=st.sampled_from(["multistep", "heun", "calibrated", "dopri5", "srk", "nothing"]),
        more=st.sampled_from(
            [(), (), ("--eta", "0"), ("--class", "mode 1"), ("--save", "3"), ("--eta", "-1")]
        ),
        over=st.sampled_from([("--overwrite",)] * 3 + [()]),
    )  # fmt: skip
    def sample(
        self, name: str, n: str, method: str, more: tuple[str, ...], over: tuple[str, ...]
    ) -> None:
        folder, how = self.place / name, ("--n", n, "--steps", "3", "--method", method)
        if self.did("sample", folder, *how, *more, *over) == 0:
            x = np.loadtxt(folder / "cloud.csv", delimiter=",", skiprows=1, usecols=(0, 1))
            assert np.isfinite(x).all()

    @precondition(known)
    @rule(name=st.sampled_from(FOLDERS), steps=st.sampled_from(["3", "2", "0"]),
          more=st.sampled_from([(), ("--class", "mode 0")]))  # fmt: skip
    def calibrate(self, name: str, steps: str, more: tuple[str, ...]) -> None:
        self.did("calibrate", self.place / name, "--steps", steps, "--pilot", "16", *more)

    @precondition(known)
    @rule(name=st.sampled_from(FOLDERS), often=st.integers(0, 4))
    def check(self, name: str, often: int) -> None:
        if often == 0:
            sizes = ("--n", "1000", "--cells", "32", "--steps", "20", "--chain", "4")
            self.did("check", self.place / name, *sizes)

    @rule(name=st.sampled_from(FOLDERS))
    def info(self, name: str) -> None:
        self.did("info", self.place / name)

    @precondition(known)
    @rule(name=st.sampled_from(FOLDERS), n=st.sampled_from(["5", "0"]))
    def view(self, name: str, n: str) -> None:
        self.did("view", self.place / name, "--no-density", "--n", n, "--frames", "4")

    @precondition(known)
    @rule(data=st.data())
    def provenance(self, data: st.DataObject) -> None:
        self.did("provenance", data.draw(st.sampled_from(self.files())))

    def files(self) -> list[Path]:
        return sorted(f for f in self.place.rglob("*") if f.is_file())

    @rule(data=st.data(), how=damages(), rarely=st.integers(0, 2))
    def damage(self, data: st.DataObject, how: list[Damage], rarely: int) -> None:
        if rarely:
            return
        file = data.draw(st.sampled_from(self.files()))
        file.write_bytes(damaged(file.read_bytes(), how))

    @rule(data=st.data(), rarely=st.integers(0, 2))
    def delete(self, data: st.DataObject, rarely: int) -> None:
        if rarely:
            return
        file = data.draw(st.sampled_from(self.files()))
        file.unlink()
        if file.name == "points.csv":
            self.points()

    @rule(name=st.sampled_from(FOLDERS))
    def begin_anew(self, name: str) -> None:
        shutil.rmtree(self.place / name, ignore_errors=True)
        self.trained[name].clear()


def test_sessions(
    tally: Callable[[str, Counter[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_sessions(
        Session,
        settings=settings(
            max_examples=SESSIONS, stateful_step_count=ACTS, deadline=None,
            phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    tally("acts in sessions of the command", COUNT)
