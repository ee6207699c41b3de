"""Records of claims, the page that shows them, and the command that makes both."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import sdeflow as sf
from benchmarks import __main__ as front
from benchmarks.claims import CLAIMS, Claim, Lab, Verdict, command, records
from benchmarks.claims.claim import GROUPS, PARTS
from benchmarks.claims.page import markdown
from sdeflow import SdeflowError, plot
from tests.benchmarks.toy_claim import toy

ROOT = Path(__file__).resolve().parents[2]


# ------------------------------------------------------------------------------------- the page


def test_page_is_that_of_the_records_and_records_are_those_of_the_claims() -> None:
    """docs/claims.md is made of docs/claims/claims.jsonl, and that of the claims as they stand."""
    by_id = {r.id: r for r in records.read(ROOT / "docs" / "claims" / records.FILE)}
    assert set(by_id) == {c.id for c in CLAIMS}, "run: make claims"
    stale = [c.id for c in CLAIMS if by_id[c.id].digest != c.digest]
    assert not stale, f"run again: make claims ({stale} were changed)"
    ordered = [by_id[c.id] for c in CLAIMS]
    assert (ROOT / "docs" / "claims.md").read_text() == markdown(ordered, "claims/")
    for c, r in zip(CLAIMS, ordered, strict=True):
        texts = (r.says, r.measured, r.correction, r.control, r.source)
        assert (r.title, *texts) == (c.title, *(c.part(name) for name in PARTS))
        assert r.figure is None or (ROOT / "docs" / "claims" / r.figure).is_file()


def test_page_shows_every_check_and_note() -> None:
    record = records.run(toy(4.0), Lab(3))
    page = markdown([record])
    for check in record.checks:
        assert check.name in page
        assert check.expected in page
        assert check.against in page
    for note in record.notes:
        assert note in page
    assert "| 1 of 2 " in page
    assert "**no**" in page
    assert f"made by: {record.made['commit']}" in page


def test_page_explains_letters_verdicts_and_controls_before_the_claims() -> None:
    legend, _, claims = markdown([records.run(toy(4.0), Lab())]).partition("## All claims")
    for letter, subject in GROUPS.items():
        assert re.search(rf"^\| {letter} +\| {re.escape(subject)} *\|$", legend, re.MULTILINE)
    words = ["check", "bound", "sampling floor", "control", *Verdict]
    assert [word for word in words if f"**{word}**" not in legend] == []
    assert "F1" not in legend
    assert "F1" in claims


def test_section_says_what_was_measured_right_after_what_was_said() -> None:
    record = replace(records.run(toy(4.0), Lab()), correction="two and a half.")
    _, _, section = markdown([record]).partition("## F1\n")
    parts = re.findall(r"^- (\w+): (.*)$", section, re.MULTILINE)
    assert parts[:4] == [
        ("said", '"four" (000).'), ("measured", "two and two are added."),
        ("correction", "two and a half."), ("control", "three in the place of two."),
    ]  # fmt: skip


def test_bar_in_a_text_does_not_end_a_cell() -> None:
    record = replace(records.run(toy(4.0), Lab()), title="p(x | y).")
    row = next(s for s in markdown([record]).splitlines() if s.startswith("| [F1]"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert r"p(x \| y)" in row


# -------------------------------------------------------------------------------------- records


def test_records_of_another_process_are_kept(tmp_path: Path) -> None:
    """Both have read the folder before either has written."""
    one, other = toy(4.0), replace(toy(4.0), id="F2")
    first = records.measured([one, replace(one, id="F3")], Lab(0, tmp_path))
    next(first)
    list(records.measured([other], Lab(0, tmp_path)))
    list(first)
    found = [r.id for r in records.read(tmp_path / records.FILE)]
    assert sorted(found) == ["F1", "F2", "F3"]


def test_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is on disk is not measured again, unless the seed or the claim's file is another."""
    seconds, c = [], toy(4.0)

    def measured(c: Claim, seed: int = 0) -> records.Record:
        (record,) = records.measured([c], Lab(seed, tmp_path))
        seconds.append(record.seconds)
        return record

    first, again, other = measured(c), measured(c), measured(c, 1)
    assert asdict(first) == asdict(again)
    assert [r.checks[1].value for r in (first, other)] == [4.0, 5.0]
    changed = replace(c, source="another text")
    assert measured(changed, 1).digest == changed.digest != c.digest
    assert len(set(seconds)) == 3


def test_a_figure_of_another_format_is_drawn_again(tmp_path: Path) -> None:
    def draw(fig: plot.Figure) -> None:
        fig.subplots().plot([0, 1])

    c = toy(4.0)
    drawing = replace(c, measure=lambda lab, x: replace(c.measure(lab, x), draw=draw))
    for suffix in ("png", "svg"):
        (record,) = records.measured([drawing], Lab(0, tmp_path, suffix))
        assert record.figure == f"{c.id}.{suffix}"
        assert (tmp_path / record.figure).is_file()


def test_record_is_one_line_that_reads_back(tmp_path: Path) -> None:
    record, path = records.run(toy(4.0), Lab(1)), tmp_path / records.FILE
    records.write([record], path)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["checks"][0] == {
        "name": "2 + 2", "value": 4.0, "expected": "exactly 4", "against": "arithmetic",
        "holds": True,
    }  # fmt: skip
    assert records.read(path) == [record]
    assert {"commit", "command", "torch", "seed"} <= set(record.made)


def test_network_is_trained_once(tmp_path: Path) -> None:
    calls = []

    def make(seed: int) -> sf.LearnedField:
        calls.append(seed)
        return sf.LearnedField(sf.VP(), sf.MLP(width=4, depth=1, seed=seed))

    lab = Lab(3, tmp_path)
    x = sf.VP().prior(5, 2, 0)
    a, b = (lab.trained("toy", make).noise(x, 0.5) for _ in range(2))
    assert calls == [3]
    assert a.equal(b)
    lab.trained("toy", make, offset=1)
    assert calls == [3, 4]


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda p: records.chosen(CLAIMS, ["S99"]), "no claim 'S99'"),
        (lambda p: records.read(p), "damaged"),
    ],
    ids=["id", "file"],
)
def test_mistakes_are_refused_in_a_sentence(mistake: Callable, words: str, tmp_path: Path) -> None:
    path = tmp_path / records.FILE
    path.write_text('{"id": "S3"}\n')
    with pytest.raises((ValueError, SdeflowError), match=words):
        mistake(path)


# -------------------------------------------------------------------------------------- command


@pytest.fixture
def say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[object, str, str]]:
    """Run `python -m benchmarks` here; its exit code, and what it said on stdout and stderr."""

    def call(*args: object) -> tuple[object, str, str]:
        capsys.readouterr()
        code: object = 0
        monkeypatch.setattr(sys, "argv", ["benchmarks", *(str(a) for a in args)])
        try:
            front.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


def refused(answer: tuple[object, str, str], *words: str) -> bool:
    """Exit code 2, nothing on stdout, one sentence on stderr that has these words."""
    code, out, err = answer
    assert (code, out) == (2, "")
    assert err.startswith("claims: ")
    assert err.count("\n") == 1
    return all(word in err for word in words)


def test_list_prints_every_claim(say: Callable[..., tuple]) -> None:
    code, out, _ = say("claims", "list")
    assert code == 0
    assert re.findall(r"^([FRSMGC]\d+) ", out, re.MULTILINE) == [c.id for c in CLAIMS]
    assert say("claims", "list", "all", "S3")[1] == out
    assert say("claims", "list", "s3")[1].startswith("S3 ")


def test_command_refuses_before_any_work(
    say: Callable[..., tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError

    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(records, "measured", work)
    assert refused(say("claims", "S3", "nope"), "there is no claim 'NOPE'")
    assert refused(say("claims", "list", "S3", "nope"), "there is no claim 'NOPE'")
    assert refused(say("claims", "S3", "--out", tmp_path / "file" / "here"), "file")
    assert refused(say("claims", "S3", "--seed", "-1"), "seed must be at least 0")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / records.FILE).write_text('{"id": "S3"}\n')
    assert refused(say("claims", "S3", "--out", tmp_path / "old"), "is damaged", "remove it")


def test_command_writes_records_and_page(
    say: Callable[..., tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the claims, whatever the order in which they were run."""
    claims = [toy(4.0), replace(toy(4.0), id="F2")]
    monkeypatch.setattr(command, "CLAIMS", claims)
    for name in ("F2", "F1"):
        code, out, _ = say("claims", name, "--out", tmp_path / "here", "--seed", 1)
        assert code == 0
        assert f"{name}   holds: 2 of 2 checks hold" in out
    found = records.read(tmp_path / "here" / records.FILE)
    assert [(r.id, r.seed) for r in found] == [("F2", 1), ("F1", 1)]
    assert (tmp_path / "here.md").read_text() == markdown(found[::-1], "here/")


def test_reader_that_stops_reading_is_no_error() -> None:
    """As in: python -m benchmarks claims list | head -1."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "claims", "list"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(200) == 0
