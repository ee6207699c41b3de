"""The claims: each says what was said, measures it by named checks, and can fail."""

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
from benchmarks.claims import CLAIMS, Check, Claim, Finding, Lab, Verdict, command, records
from benchmarks.claims.claim import about, above, at_least, at_most, below, between
from benchmarks.claims.page import markdown
from sdeflow import SdeflowError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "claims"
QUICK = [c for c in CLAIMS if not c.slow]
SLOW = [c for c in CLAIMS if c.slow]
IDS = (
    [f"F{i}" for i in range(1, 9)]
    + [f"R{i}" for i in range(1, 18)]
    + [f"S{i}" for i in (*range(1, 11), 13, 14)]
    + [f"M{i}" for i in range(1, 13)]
    + [f"G{i}" for i in range(1, 11)]
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One laboratory for all, so that networks are trained once."""
    return Lab(0, tmp_path_factory.mktemp("claims"))


def answers(finding: Finding) -> dict[str, bool]:
    """Whether each check holds, by its name."""
    assert len({c.name for c in finding.checks}) == len(finding.checks) > 0
    return {c.name: c.holds for c in finding.checks}


def assert_broken_subject_is_seen(c: Claim, lab: Lab) -> None:
    """A named check that holds for the true subject fails for the broken one.

    Where what was said does not hold, the broken subject is what was said: a failed check holds.
    """
    record = records.run(c, lab)
    true = {check.name: check.holds for check in record.checks}
    finding = c.measure(lab, c.broken)
    broken = answers(finding)
    assert true.keys() == broken.keys()
    assert len(true) == len(record.checks)
    turned = [name for name in true if true[name] != broken[name]]
    print(c.id, record.verdict, "| broken:", c.verdict(finding), "| turned:", "; ".join(turned))
    assert turned
    assert c.verdict(finding) != record.verdict


@pytest.mark.parametrize("c", QUICK, ids=lambda c: c.id)
def test_claim_fails_a_named_check_on_its_broken_subject(c: Claim, lab: Lab) -> None:
    assert_broken_subject_is_seen(c, lab)


@pytest.mark.slow  # trains networks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("c", SLOW, ids=lambda c: c.id)
def test_trained_claim_fails_a_named_check_on_its_broken_subject(c: Claim, lab: Lab) -> None:
    assert_broken_subject_is_seen(c, lab)


@pytest.mark.parametrize("c", CLAIMS, ids=lambda c: c.id)
def test_claim_states_title_quotation_and_source(c: Claim) -> None:
    assert re.fullmatch(r"[FRSMG]\d{1,2}", c.id)
    assert c.title.endswith(".")
    assert '"' in c.part("Says")
    assert c.part("Source")


def test_claim_ids_are_complete_and_in_order() -> None:
    assert [c.id for c in CLAIMS] == IDS


def test_claim_file_is_at_most_eighty_lines() -> None:
    files = [p for p in FOLDER.glob("*.py") if re.match(r"[frsmg]\d+_", p.name)]
    assert len(files) == len(IDS)
    for file in files:
        assert len(file.read_text().splitlines()) <= 80, file.name


def test_two_claims_do_not_hold_as_said() -> None:
    found = records.read(ROOT / "docs" / "claims" / records.FILE)
    assert [r.id for r in found if r.verdict is Verdict.FAILS] == ["F7", "G7"]


# ------------------------------------------------------------------------------------- the page


def test_page_is_that_of_the_records_and_records_are_those_of_the_claims() -> None:
    """docs/claims.md is made of docs/claims/claims.jsonl, and that of the claims as they stand."""
    by_id = {r.id: r for r in records.read(ROOT / "docs" / "claims" / records.FILE)}
    assert set(by_id) == set(IDS), "run: make claims"
    stale = [c.id for c in CLAIMS if by_id[c.id].digest != c.digest]
    assert not stale, f"run again: make claims ({stale} were changed)"
    ordered = [by_id[c.id] for c in CLAIMS]
    assert (ROOT / "docs" / "claims.md").read_text() == markdown(ordered, "claims/")
    for c, r in zip(CLAIMS, ordered, strict=True):
        assert (r.title, r.says, r.correction, r.source) == (
            c.title, c.part("Says"), c.part("Correction"), c.part("Source"),
        )  # fmt: skip
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


def test_bar_in_a_text_does_not_end_a_cell() -> None:
    record = replace(records.run(toy(4.0), Lab()), title="p(x | y).")
    row = next(s for s in markdown([record]).splitlines() if s.startswith("| [F1]"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 5
    assert r"p(x \| y)" in row


# ---------------------------------------------------------------------------- checks and bounds


def test_bounds_hold_where_they_say() -> None:
    for bound, inside, outside, text in (
        (about(1.0, 0.25), (0.75, 1.0, 1.25), (0.74, 1.26), "1 +- 0.25"),
        (about(0.0, 0.0), (0.0,), (1e-300, -1e-300), "exactly 0"),
        (at_most(0.1), (0.1, -5.0), (0.11,), "at most 0.1"),
        (at_least(3.0), (3.0, 7.0), (2.99, -4.0), "at least 3"),
        (below(0.1), (0.0999, -5.0), (0.1,), "below 0.1"),
        (above(3.0), (3.01,), (3.0,), "above 3"),
        (between(1.0, 2.0), (1.0, 2.0), (0.9, 2.1), "between 1 and 2"),
    ):
        assert str(bound) == text
        assert all(bound.holds(value) for value in inside), text
        assert not any(bound.holds(value) for value in (*outside, float("nan"))), text


def toy(answer: float, doc: str = 'Two and two are four.\n\nSays: "four" (000).') -> Claim:
    """A claim that two and two are four; the second check depends on the seed."""

    def measure(lab: Lab, two: float) -> Finding:
        total = 2 + two
        return Finding(
            [
                Check("2 + 2", total, about(answer, 0.0), "arithmetic"),
                Check("2 + 2 + seed", total + lab.seed, at_most(5.0), "arithmetic, too"),
            ],
            notes={"seed": float(lab.seed)},
        )

    return Claim("F1", f"{doc}\nSource: arithmetic.\n", measure, 2.0, 3.0, False, "text")


def test_docstring_is_taken_apart() -> None:
    c = toy(4.0)
    assert (c.id, c.title) == ("F1", "Two and two are four.")
    assert (c.part("Says"), c.part("Correction"), c.part("Source")) == (
        '"four" (000).', "", "arithmetic.",
    )  # fmt: skip


def test_verdict_follows_all_checks_and_the_correction() -> None:
    c = toy(4.0)
    assert c.verdict(c.measure(Lab(), c.subject)) is Verdict.HOLDS
    assert c.verdict(c.measure(Lab(), c.broken)) is Verdict.FAILS
    assert c.verdict(c.measure(Lab(2), c.subject)) is Verdict.FAILS  # only the second check fails
    corrected = toy(4.0, "Two.\n\nCorrection: two and a half.")
    assert corrected.verdict(corrected.measure(Lab(), 2.0)) is Verdict.CORRECTED


def test_claim_reproduces_its_numbers_from_its_seed() -> None:
    """Bit for bit, for one claim of each group that is quick."""
    for c in records.chosen(CLAIMS, ["f6", "r12", "s3", "m3", "g2"]):
        a, b = (c.measure(Lab(7), c.subject) for _ in range(2))
        assert (a.checks, a.notes) == (b.checks, b.notes)


# -------------------------------------------------------------------------------------- records


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
    with pytest.raises(SdeflowError, match=words):
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
    assert re.findall(r"^([FRSMG]\d+) ", out, re.MULTILINE) == [c.id for c in CLAIMS]
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
