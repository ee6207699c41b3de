"""The ledger: every claim says what was said, measures it, and can fail."""

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import sdeflow as sf
from benchmarks.claims import CLAIMS, Claim, Finding, Lab, Ruling, ledger
from sdeflow import SdeflowError

ROOT = Path(__file__).resolve().parents[2]
QUICK = [c for c in CLAIMS if not c.slow]
SLOW = [c for c in CLAIMS if c.slow]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One laboratory for all, so that networks are trained once."""
    return Lab(0, tmp_path_factory.mktemp("claims"))


def check(c: Claim, lab: Lab) -> None:
    """The true subject and the broken one get different verdicts; the row's number is where the
    row expects it, if the claim holds.
    """
    record = c.run(lab)
    broken = c.measure(lab, c.broken)
    print(
        c.id, record.verdict, record.value, record.floor, "| broken:", c.rule(broken), broken.value
    )
    assert c.rule(broken) != record.verdict
    size = {"at most": record.floor - abs(record.value), "at least": record.value - record.floor}
    assert record.verdict is Ruling.FAILS or size.get(record.sense, 0.0) >= 0


@pytest.mark.parametrize("c", QUICK, ids=lambda c: c.id)
def test_a_claim_fails_when_its_subject_is_broken(c: Claim, lab: Lab) -> None:
    check(c, lab)


@pytest.mark.slow  # trains networks
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("c", SLOW, ids=lambda c: c.id)
def test_a_claim_about_a_network_fails_when_its_subject_is_broken(c: Claim, lab: Lab) -> None:
    check(c, lab)


@pytest.mark.parametrize("c", CLAIMS, ids=lambda c: c.id)
def test_a_claim_says_what_was_said_and_where(c: Claim) -> None:
    assert re.fullmatch(r"[FRSMG]\d{1,2}", c.id)
    assert c.title.endswith(".")
    assert '"' in c.part("Says")
    assert c.part("Source")


ROWS = (
    [f"F{i}" for i in range(1, 9)]
    + [f"R{i}" for i in range(1, 18)]
    + [f"S{i}" for i in (*range(1, 11), 13, 14)]
    + [f"M{i}" for i in range(1, 13)]
    + [f"G{i}" for i in range(1, 11)]
)


def test_every_row_of_the_list_is_a_claim() -> None:
    assert [c.id for c in CLAIMS] == ROWS


# ------------------------------------------------------------------------------------- the page


def test_the_page_is_current() -> None:
    """docs/claims.md is made of docs/claims/claims.jsonl, and that of the claims as they stand."""
    records = ledger.read(ROOT / "docs" / "claims" / "claims.jsonl")
    by_id = {r.id: r for r in records}
    assert set(by_id) == set(ROWS), "run: make claims"
    stale = [c.id for c in CLAIMS if by_id[c.id].digest != c.digest]
    assert not stale, f"run again: make claims ({stale} were changed)"
    ordered = [by_id[c.id] for c in CLAIMS]
    assert (ROOT / "docs" / "claims.md").read_text() == ledger.markdown(ordered, "claims/")
    for r in ordered:
        assert r.figure is None or (ROOT / "docs" / "claims" / r.figure).is_file()


# ----------------------------------------------------------------------------------- the ledger


def toy(answer: float) -> Claim:
    """A claim that two and two are four."""

    def f1(lab: Lab, two: float = 2.0) -> Finding:
        """Two and two are four.

        Says: "four" (000).
        Source: arithmetic.
        """
        return Finding("2 + 2", 2 + two + lab.seed, "about", answer, "truth", 2 + two == answer)

    return ledger.claim(broken=3.0)(f1)


def test_a_docstring_is_taken_apart() -> None:
    c = toy(4.0)
    assert (c.id, c.title) == ("F1", "Two and two are four.")
    assert (c.part("Says"), c.part("Correction"), c.part("Source")) == (
        '"four" (000).', "", "arithmetic.",
    )  # fmt: skip


def test_a_verdict_is_what_was_measured_and_whether_the_sentence_needed_help() -> None:
    c = toy(4.0)
    assert c.rule(c.measure(Lab())) is Ruling.HOLDS
    assert c.rule(c.measure(Lab(), c.broken)) is Ruling.FAILS

    def f2(lab: Lab, two: float = 2.0) -> Finding:
        """Two.

        Correction: two and a half.
        """
        return Finding("", 2.0, "about", 2.0, "", True)

    assert ledger.claim(broken=0.0)(f2).rule(f2(Lab())) is Ruling.CORRECTED


def test_a_table_goes_on_where_it_was(tmp_path: Path) -> None:
    """What is on disk is not measured again, unless the seed or the claim's text is another."""
    runs = []
    counted = replace(toy(4.0), measure=toy(4.0).measure)

    def measured(c: Claim, seed: int = 0) -> ledger.Record:
        (record,) = ledger.measured([c], Lab(seed, tmp_path))
        runs.append(record.seconds)
        return record

    first, again, other = measured(counted), measured(counted), measured(counted, 1)
    assert asdict(first) == asdict(again)
    assert (first.value, other.value) == (4.0, 5.0)
    path = tmp_path / "claims.jsonl"
    path.write_text(path.read_text().replace(other.digest, "0" * 12))
    assert measured(counted, 1).digest == other.digest
    assert len(set(runs)) == 3


def test_a_bar_in_a_text_does_not_end_a_cell() -> None:
    record = replace(toy(4.0).run(Lab()), what="p(x | y)")
    row = next(s for s in ledger.markdown([record]).splitlines() if s.startswith("| [F1]"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert r"p(x \| y)" in row


def test_a_network_is_trained_once(tmp_path: Path) -> None:
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
        (lambda p: ledger.chosen(CLAIMS, ["S99"]), "no claim 'S99'"),
        (lambda p: ledger.read(p), "damaged"),
    ],
    ids=["id", "file"],
)
def test_mistakes_are_refused_in_a_sentence(mistake: Callable, words: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text('{"id": "S3"}\n')
    with pytest.raises((ValueError, SdeflowError), match=words):
        mistake(path)


def test_a_claim_is_a_function_of_its_seed() -> None:
    """Bit for bit, for one claim of each group that is quick."""
    for name in ("F6", "R12", "S3", "M3", "G2"):
        (c,) = ledger.chosen(CLAIMS, [name.lower()])
        a, b = (c.measure(Lab(7)) for _ in range(2))
        assert (a.value, a.also) == (b.value, b.also)
