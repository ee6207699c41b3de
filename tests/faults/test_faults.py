"""A full disk, a folder that cannot be written, signals, and two processes in one folder.

After each of them the files are whole, the message is one sentence, and the same command ends in
the bits of a run without a fault.
"""

import os
import re
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.faults.forked import Forked, Work, preload
from tests.faults.test_kills import begin, whole
from tests.faults.units import COMMANDS, TRAIN, TRAINED, UNITS, benchmark, digests, sdeflow

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
Tally = Callable[[str, Counter[str]], None]
COMMAND = re.compile(r'(cli|__main__)\.py"')  # a file of a command, in a traceback
SENTENCE = re.compile(r"(sdeflow|benchmarks|claims): [^\n]+\n")


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    preload()


def one_sentence(said: str) -> str:
    """The last line of what was said, which must be a sentence of ours and no traceback."""
    assert "Traceback" not in said, said
    assert "Errno" not in said, said
    last = said.rpartition("\r")[2].splitlines(keepends=True)[-1]
    assert SENTENCE.fullmatch(last), said
    return last


def limited(work: Work, size: int) -> None:
    """Do the work where no file may grow above a size, as on a full disk.

    What it says goes through a pipe to a process without that limit.
    """
    end, into = os.pipe()
    scribe = os.fork()
    if scribe == 0:
        os.close(into)
        while words := os.read(end, 4096):
            os.write(1, words)
        os._exit(0)
    os.close(end)
    for number in (1, 2):
        os.dup2(into, number)
    os.close(into)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        work()
    except Exception:
        traceback.print_exc()
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.close(number)
        os.waitpid(scribe, 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_loses_nothing(name: str, tmp_path: Path, tally: Tally) -> None:
    """Every file of the unit is in turn the one that does not fit."""
    unit, count = UNITS[name], Counter[str]()
    expected, _, _ = whole(unit, tmp_path / "whole")
    files = [f for f in (tmp_path / "whole").rglob("*") if f.is_file()]
    sizes = sorted({f.stat().st_size for f in files})
    for k, size in enumerate([0, *(s - 1 for s in sizes)]):
        folder = tmp_path / f"full{k}"
        begin(unit, folder)
        before = unit.done(folder)
        with Forked(partial(limited, unit.work, size), folder, -1) as child:
            code = child.wait()
            said = child.words()
        count["cases"] += 1
        assert before <= unit.done(folder)
        assert not list(folder.rglob("*.part")), size
        assert "Traceback" not in said, said
        if code in (0, 1):
            count["were done all the same"] += 1
            continue
        assert code == 2, said
        assert "cannot be read or written: " in one_sentence(said), said
        with Forked(unit.work, folder, -1) as child:
            child.check_done()
        assert dict(unit.results(folder)) == expected
        count["refused and continued"] += 1
    tally(f"full disks of {name}", count)


@pytest.mark.parametrize(
    "work",
    [
        TRAINED,
        partial(sdeflow, "demo", *TRAIN[1:]),
        partial(sdeflow, "unclip", "--out", "r"),
        partial(sdeflow, "train", *TRAIN[1:-1], "/proc/r"),
        partial(sdeflow, "train", *TRAIN[1:-1], "r/below"),
        partial(benchmark, "claims", "M1", "--out", "r"),
        partial(benchmark, "claims", "M1", "--out", "r/below"),
        partial(benchmark, "claims", "M1", "--out", "/proc/r"),
        partial(benchmark, "solvers", "--quick", "--part", "endpoint", "--problem", "two modes",
                "--calls", "4", "--out", "r/below/rows.jsonl"),
    ],
)  # fmt: skip
def test_folder_that_cannot_be_written_is_refused(work: Work, tmp_path: Path) -> None:
    """Root may write anywhere but below a file and in /proc."""
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "r").write_text("a file")
    with Forked(work, tmp_path / "w", -1) as child:
        code, said = child.wait(), child.words()
    assert code == 2, said
    one_sentence(said)
    assert (tmp_path / "w" / "r").read_text() == "a file"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_ends_with_one_line_and_keeps_the_state(
    name: str, kind: signal.Signals, tmp_path: Path, tally: Tally
) -> None:
    unit, count = UNITS[name], Counter[str]()
    expected, seconds, _ = whole(unit, tmp_path / "whole")
    for k, share in enumerate((0.15, 0.4, 0.65, 0.9)):
        folder = tmp_path / f"stopped{k}"
        begin(unit, folder)
        with Forked(unit.work, folder, -1) as child:
            child.signal_after(share * seconds, kind)
            code, said = child.wait(), child.words()
        count["cases"] += 1
        assert not list(folder.rglob("*.part"))
        if code == 1 and "KeyboardInterrupt" in said and not COMMAND.search(said):
            count["came before the command began"] += 1
        elif code in (0, 1):
            assert "Traceback" not in said, said
            count["ended before the signal"] += 1
        elif code == -kind == -signal.SIGTERM:
            count["came before the command began"] += 1
        else:
            assert code == 128 + kind, said
            assert " stopped" in one_sentence(said)
        with Forked(unit.work, folder, -1) as child:
            child.check_done()
        assert dict(unit.results(folder)) == expected
    tally(f"{kind.name} in {name}", count)


def test_two_trainings_in_one_folder(tmp_path: Path, tally: Tally) -> None:
    """One is refused in a sentence, or does the same once more; the result is that of one."""
    longer = ["2000" if word == "300" else word for word in TRAIN]  # than its start
    unit, count = replace(UNITS["train"], work=partial(sdeflow, *longer)), Counter[str]()
    expected, seconds, _ = whole(unit, tmp_path / "whole")
    for k in range(10):
        folder = tmp_path / f"two{k}"
        with Forked(unit.work, folder, -1) as one:
            one.signal_after(0.08 * k * seconds, signal.SIGCONT)
            with Forked(unit.work, folder, -1) as other:
                codes = (one.wait(), other.wait())
                said = (one if codes[0] else other).words()
        assert sorted(codes) in ([0, 0], [0, 2]), said
        count["cases"] += 1
        if any(codes):
            assert "another process works in r; wait until it ends" in one_sentence(said)
            count["refused"] += 1
        assert dict(unit.results(folder)) == expected
    assert count["refused"] > 2
    tally("two trainings at once", count)


def test_two_processes_share_the_claims(tmp_path: Path) -> None:
    """Records of both are kept."""
    for which in (("F4", "F7", "S14"), ("M1", "M3", "S5")):
        child = Forked(partial(benchmark, "claims", *which, "--out", "r"), tmp_path / "w", -1)
        if which[0] == "F4":
            first = child
    with first, child:
        assert (first.wait(), child.wait()) == (0, 0), child.words()
    text = (tmp_path / "w" / "r" / "claims.jsonl").read_text()
    found = {line.split('"')[3] for line in text.splitlines()}
    assert found == {"F4", "F7", "S14", "M1", "M3", "S5"}


def test_samples_of_two_processes_are_those_of_the_faster(tmp_path: Path) -> None:
    """The other is refused, since a cloud of other settings is never overwritten in silence."""
    unit = UNITS["sample"]
    draw = ("sample", "r", "--n", "2000", "--seed")
    wanted = []
    for seed in "01":
        begin(unit, tmp_path / seed)
        with Forked(partial(sdeflow, *draw, seed), tmp_path / seed, -1) as child:
            assert child.wait() == 0
        wanted.append(digests(tmp_path / seed, "r/cloud.csv"))
    for k in range(6):
        begin(unit, tmp_path / f"both{k}")
        with (
            Forked(partial(sdeflow, *draw, "0"), tmp_path / f"both{k}", -1) as one,
            Forked(partial(sdeflow, *draw, "1"), tmp_path / f"both{k}", -1) as other,
        ):
            codes = (one.wait(), other.wait())
            said = (one if codes[0] else other).words()
        assert sorted(codes) == [0, 2], said
        assert "cloud.csv is there already" in one_sentence(said)
        assert digests(tmp_path / f"both{k}", "r/cloud.csv") == wanted[codes.index(0)]
        assert not list((tmp_path / f"both{k}").rglob("*.part"))
